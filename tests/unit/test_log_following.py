"""Who follows a log in a kept trace leaves a handful of spans, however long it goes on."""

from dataclasses import replace
from typing import cast

from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from trialbus.adapters.opentelemetry.tracing import SdkTracing
from trialbus.contracts.collections import RUNS, TRIALS
from trialbus.contracts.documents import RUN
from trialbus.contracts.documents import TRIAL as TRIAL_CODEC
from trialbus.contracts.logs import LogReply
from trialbus.kernel.run import Run, RunPhase
from trialbus.kernel.traces import TraceContext
from trialbus.kernel.trial import Trial, TrialPhase
from trialbus.ports.bus import Bus, Request
from trialbus.runtime.store_and_bus import ObservedBus, ObservedStore
from trialbus.testkit.still_world import UID, HastyClock, StillWorld, experiment
from trialbus_gateway.app.logs import Logs

CALLER = TraceContext(trace_id="a" * 32, span_id="1" * 16)
POLLS = 50
TRIAL = Trial(
    id=f"{UID}.0",
    uid=UID,
    version=1,
    namespace="team",
    experiment="tune",
    index=0,
    name="tune-a",
    phase=TrialPhase.CREATED,
    assignments=(),
    conditions=(),
    created_at=0.0,
)
RUNNING = Run(
    id=f"{UID}.0.1",
    uid=UID,
    index=0,
    attempt=1,
    version=1,
    namespace="team",
    experiment="tune",
    trial="tune-a",
    phase=RunPhase.RUNNING,
    host="h",
    boot_id="",
    created_at=1.0,
)


class SlowWorld(HastyClock):
    """The run begins after many polls."""

    world: StillWorld
    polls = 0

    async def sleep(self, delay_s: float) -> None:
        self.polls += 1
        if self.polls == POLLS:
            await self.world.insert(RUNS.name, RUN.encode(RUNNING))
        await super().sleep(delay_s)


class QuietRun:
    """A launcher whose run says a word at its end only, after many questions."""

    asked = 0

    async def request(self, _: Request, *, timeout_s: float) -> bytes:
        del timeout_s
        self.asked += 1
        ended = self.asked == POLLS
        return LogReply(text="word" if ended else "", ended=ended).to_bytes()


async def test_following_a_log_grows_no_trace() -> None:
    clock = SlowWorld()
    world = StillWorld(clock=clock)
    clock.world = world
    await world.prepare(experiment(1))
    await world.insert(TRIALS.name, TRIAL_CODEC.encode(TRIAL))
    exporter, quiet, parts = InMemorySpanExporter(), QuietRun(), world.parts()
    tracing = SdkTracing("gateway", SimpleSpanProcessor(exporter), ratio=1.0)
    parts.telemetry.tracing = tracing
    seen = replace(
        parts,
        bus=ObservedBus(cast(Bus, quiet), parts.telemetry, clock),
        store=ObservedStore(parts.store, parts.telemetry, clock),
    )
    text, within = "", set[str | None]()
    with tracing.span("GET log", parent=CALLER):
        async for piece in Logs(seen).read(TRIAL, follow=True, tail=None):
            text += piece
            within.add(tracing.kept_trace())
    assert (text, quiet.asked, clock.polls >= POLLS) == ("word", POLLS, True)
    # What is first looked at and asked is in the trace, and so is what the reader does.
    assert within == {CALLER.trace_id}
    assert 1 <= len(exporter.get_finished_spans()) <= 6
