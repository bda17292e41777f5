"""Groups whose members go on by themselves: each keeps to its own trace."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from trialbus.adapters.opentelemetry.tracing import SdkTracing
from trialbus.contracts.envelope import encode_event
from trialbus.kernel.events import Event
from trialbus.kernel.traces import TraceContext, experiment_span
from trialbus.runtime.hints import HintLoop
from trialbus.runtime.parts import Beside, Parts, Reactor
from trialbus.testkit.memory_queues import Fate
from trialbus.testkit.still_world import HastyClock, StillWorld
from trialbus.testkit.waits import until

A = TraceContext(trace_id="a" * 32, span_id="1" * 16)
B = TraceContext(trace_id="b" * 32, span_id="2" * 16)


def traced_parts(world: StillWorld) -> tuple[Parts, InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    parts = world.parts()
    parts.telemetry.tracing = SdkTracing("suggestion", SimpleSpanProcessor(exporter), ratio=1.0)
    return parts, exporter


def parent_of(span: ReadableSpan) -> str:
    assert span.parent is not None
    return f"{span.parent.span_id:016x}"


class Slow:
    """Goes on beside its group, and looks into the store, once it is let."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.gate = asyncio.Event()
        self.seen: dict[str, TraceContext | None] = {}

    async def react(self, uids: Sequence[str]) -> Mapping[str, Exception | Beside]:
        self.seen["group"] = self.parts.telemetry.tracing.current()
        return {uid: self._beside(uid) for uid in uids if uid.startswith("slow")}

    def _beside(self, uid: str) -> Beside:
        async def work() -> None:
            await self.gate.wait()
            self.seen[uid] = self.parts.telemetry.tracing.current()

        return Beside(work=work)

    async def sweep(self) -> Sequence[str]:
        return ()

    @property
    def loop(self) -> HintLoop:
        reactor = Reactor(
            listens=("suggestion.requested",), react=self.react, sweep=self.sweep, max_groups=1
        )
        return HintLoop("suggestion", reactor, self.parts)


def hint(uid: str, context: TraceContext | None) -> Event:
    return Event(
        id=f"{uid}/1",
        type="suggestion.requested",
        uid=uid,
        namespace="team",
        experiment="tune",
        at=1000.0,
        traceparent=None if context is None else str(context),
    )


async def test_what_goes_on_beside_its_group_is_in_a_span_of_its_own() -> None:
    world = StillWorld(clock=HastyClock())
    parts, exporter = traced_parts(world)
    slow = Slow(parts)
    for event in (hint("fast", A), hint("slow-b", B), hint("slow-none", None)):
        world.bus.accept(encode_event(event), Fate())
    running = asyncio.ensure_future(slow.loop.run())
    await until(lambda: "group" in slow.seen, "the group")
    slow.gate.set()
    await until(lambda: {"slow-b", "slow-none"} <= slow.seen.keys(), "those beside")
    await until(lambda: len(exporter.get_finished_spans()) >= 2, "their spans")
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    own = slow.seen["slow-b"]
    assert own is not None and own.trace_id == B.trace_id
    # The group that it came with is of other experiments.
    assert slow.seen["slow-none"] is None
    parents = {parent_of(span) for span in exporter.get_finished_spans()}
    assert experiment_span(B, "slow-b").span_id in parents
    assert all(span.name == "handle suggestion" for span in exporter.get_finished_spans())


async def test_who_nudges_in_a_trace_is_the_one_that_the_look_is_linked_to() -> None:
    world = StillWorld(clock=HastyClock())
    parts, exporter = traced_parts(world)
    slow = Slow(parts)
    loop = slow.loop
    running = asyncio.ensure_future(loop.run())
    with parts.telemetry.tracing.span("command", parent=A):
        here = parts.telemetry.tracing.current()
        loop.add(["u1"])
    await until(lambda: len(exporter.get_finished_spans()) == 2, "the look")
    loop.add(["u2"])
    slow.seen.clear()
    await until(lambda: "group" in slow.seen, "another look")
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    [_, look] = exporter.get_finished_spans()
    assert parent_of(look) == experiment_span(A, "u1").span_id
    assert here is not None
    assert [f"{it.context.span_id:016x}" for it in look.links] == [here.span_id]
    assert slow.seen["group"] is None
    assert replace(here, span_id=A.span_id) == A
