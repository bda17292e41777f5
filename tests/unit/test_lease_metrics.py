"""What the trial launcher tells of workers' trials: given, ended, lost, held."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from trialbus.adapters.opentelemetry.tracing import SdkTracing
from trialbus.contracts import subjects
from trialbus.contracts.collections import ANSWERS, EXPERIMENTS, RUNS
from trialbus.contracts.documents import ANSWER, EXPERIMENT, RUN
from trialbus.contracts.envelope import Body
from trialbus.contracts.work import (
    Ask,
    GivenTrial,
    HeldTrial,
    Release,
    Result,
    Tell,
    WorkReply,
    WorkVerb,
)
from trialbus.kernel.experiment import OpenState, OpenTrial
from trialbus.kernel.ids import answer_id
from trialbus.kernel.run import StopReason
from trialbus.kernel.spec import TrialsBy
from trialbus.kernel.suggestion import Answer, LookAhead
from trialbus.kernel.traces import TraceContext
from trialbus.ports.bus import Request
from trialbus.ports.store import Write
from trialbus.runtime import metrics
from trialbus.runtime.parts import Parts
from trialbus.testkit.experiment_states import experiment, spec
from trialbus.testkit.still_world import HastyClock, StillWorld
from trialbus.testkit.told_metrics import exemplar_traces, told, told_seconds
from trialbus.testkit.waits import until
from trialbus_trial_launcher.app.leasing.leasing import Leasing

OPEN, UID = 5, "11111111-1111-4111-8111-111111111111"
# The clock stands at 1000.
OPENED_AT = 990.0


@pytest.fixture
async def world() -> StillWorld:
    world = StillWorld(clock=HastyClock())
    opened = OpenTrial(attempt=1, state=OpenState.ACTIVE, request=1, opened_at=OPENED_AT)
    state = experiment(
        spec(trials_by=TrialsBy.WORKERS),
        id=UID,
        version=1,
        open={str(index): opened for index in range(OPEN)},
    )
    await world.prepare(state)
    answer = Answer(
        id=answer_id(UID, 1),
        uid=UID,
        version=1,
        number=1,
        first=0,
        watermark=0,
        seed=1,
        points=tuple((f"0.{index}",) for index in range(OPEN)),
        exhausted=False,
        look_ahead=LookAhead.FREE,
        refused=None,
        answered_at=0.0,
        took_s=0.0,
    )
    await world.insert(ANSWERS.name, ANSWER.encode(answer))
    return world


async def say(leasing: Leasing, verb: WorkVerb, body: Body) -> WorkReply:
    subject = subjects.command("ns", "exp", verb.value)
    [answer] = await leasing.respond([Request(subject=subject, data=body.to_bytes())])
    data = answer if isinstance(answer, bytes) or answer is None else await answer
    assert data is not None
    return WorkReply.from_bytes(data)


async def ask(leasing: Leasing, id_: str, count: int, lease: float = 60.0) -> Sequence[GivenTrial]:
    return (await say(leasing, WorkVerb.ASK, Ask(id=id_, count=count, lease=lease))).trials


def end_of(trial: GivenTrial, state: str = "succeeded") -> Tell:
    result = Result(
        trial=trial.trial,
        attempt=trial.attempt,
        state=state,  # type: ignore[arg-type]
        metrics={"loss": 0.5},
        reported=False,
    )
    return Tell(results=(result,))


def ends(parts: Parts) -> dict[str, float]:
    found = {
        it: told(parts.telemetry, metrics.RUNS_ENDED, place="worker", outcome=it)
        for it in ("succeeded", "failed", "stopped", "lost")
    }
    return {key: count for key, count in found.items() if count}


async def test_a_trial_is_launched_when_it_is_given_and_a_repeat_gives_nothing(
    world: StillWorld,
) -> None:
    parts = world.parts()
    leasing = Leasing(parts, "/c")
    given = await ask(leasing, "a", 2)
    assert await ask(leasing, "a", 2) == given
    assert told(parts.telemetry, metrics.LAUNCHED, place="worker") == 2
    waited_s = told_seconds(parts.telemetry, metrics.LAUNCHED, place="worker")
    assert waited_s == pytest.approx(2 * (world.clock.now() - OPENED_AT), abs=1.0)


@pytest.mark.parametrize("trace_id", ["b" * 32, None])
async def test_a_launch_is_an_exemplar_of_its_own_experiments_trace(
    world: StillWorld, trace_id: str | None
) -> None:
    """The span that it is given in is that of all who ask at the same time."""
    own = None if trace_id is None else str(TraceContext(trace_id=trace_id, span_id="2" * 16))
    [document] = world.store.documents(EXPERIMENTS.name)
    await world.put(replace(EXPERIMENT.decode(document), traceparent=own))
    parts = world.parts()
    tracing = SdkTracing("trial_launcher", SimpleSpanProcessor(InMemorySpanExporter()), ratio=1.0)
    parts.telemetry.tracing = tracing
    with tracing.span("answer cmd", parent=TraceContext(trace_id="a" * 32, span_id="1" * 16)):
        await ask(Leasing(parts, "/c"), "a", 2)
    assert told(parts.telemetry, metrics.LAUNCHED, place="worker") == 2
    found = exemplar_traces(parts.telemetry, metrics.LAUNCHED)
    assert found == ({trace_id} if trace_id else set())


async def test_ends_are_counted_once_by_what_they_were(world: StillWorld) -> None:
    parts = world.parts()
    leasing = Leasing(parts, "/c")
    good, bad, back = await ask(leasing, "a", 3)
    for _ in range(2):
        await say(leasing, WorkVerb.TELL, end_of(good))
        await say(leasing, WorkVerb.TELL, end_of(bad, "failed"))
        held = HeldTrial(trial=back.trial, attempt=back.attempt)
        await say(leasing, WorkVerb.RELEASE, Release(trials=(held,)))
    assert ends(parts) == {"succeeded": 1, "failed": 1, "stopped": 1}
    assert told(parts.telemetry, metrics.LEASE_LOSSES) == 0


async def test_what_the_experiment_stops_is_told_as_stopped_also_if_nobody_had_it(
    world: StillWorld,
) -> None:
    parts = world.parts()
    leasing = Leasing(parts, "/c")
    await ask(leasing, "a", 1)
    stop = StopReason.EXPERIMENT_STOPPED.value
    base = world.store.documents(EXPERIMENTS.name)[0]
    opened = {
        index: {**trial, "stop": stop} for index, trial in base["open"].items() if index in "01"
    }
    document = {**base, "version": base["version"] + 1, "open": opened}
    EXPERIMENT.decode(document)
    writes = [Write(base=base, document=document)]
    await world.store.client("test").commit(EXPERIMENTS.name, writes)
    await leasing.look([UID])
    await leasing.look([UID])
    assert ends(parts) == {"stopped": 2}


async def test_silent_workers_lose_their_trials_and_every_replica_tells_those_that_are_held(
    world: StillWorld,
) -> None:
    one, two = world.parts("one"), world.parts("two")
    leasing = Leasing(one, "/c")
    await ask(leasing, "short", 2, lease=5.0)
    await ask(leasing, "long", 1, lease=1000.0)

    def held() -> list[float]:
        return [told(it.telemetry, metrics.LEASES) for it in (one, two)]

    of_both = (*leasing.tasks, *Leasing(two, "/c").tasks)
    tasks = [asyncio.ensure_future(it()) for it in of_both]
    # Its clock runs as fast as they sleep.
    await until(lambda: held() == [1, 1], "two are lost, one is held")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    losses = [told(it.telemetry, metrics.LEASE_LOSSES) for it in (one, two)]
    assert sum(losses) == 2
    assert [sum(ends(it).values()) for it in (one, two)] == losses
    found = [RUN.decode(it) for it in world.store.documents(RUNS.name)]
    assert sum(not run.ended for run in found) == 1


def test_without_metrics_nobody_counts_the_leases(world: StillWorld) -> None:
    parts = world.parts()
    off = replace(parts, settings=parts.settings.model_copy(update={"metrics": False}))
    assert len(Leasing(off, "/c").tasks) == len(Leasing(parts, "/c").tasks) - 1
