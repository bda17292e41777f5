"""What the suggestion service tells: each request once, by whose answer is stored; what algorithms
compute, by point."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from trialbus.adapters.opentelemetry.tracing import SdkTracing
from trialbus.kernel.errors import Problem, Refused, Transient
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.proposals import Proposal, ProposalRequest, Study
from trialbus.kernel.spec import AlgorithmSpec
from trialbus.kernel.suggestion import PointsRequest
from trialbus.kernel.traces import TraceContext
from trialbus.ports.compute import HistorySource
from trialbus.ports.store import Outcome, Write
from trialbus.runtime import metrics
from trialbus.runtime.catalogue import installed_catalogue
from trialbus.runtime.metric import Metric
from trialbus.runtime.telemetry import Telemetry
from trialbus.testkit.still_world import UID, StillWorld
from trialbus.testkit.still_world import experiment as living
from trialbus.testkit.told_metrics import exemplar_traces, nonzero, observed, told_one
from trialbus_suggestion.app.answering import Answering
from trialbus_suggestion.app.remote import RemoteQuestion
from trialbus_suggestion.app.timing import Computed, teller


class Drawing:
    """Takes three seconds for any number of points."""

    def __init__(self, world: StillWorld, points: int = 2) -> None:
        self.world = world
        self.points = points
        self.fault: Exception | None = None

    def answers_at_once(self, algorithm: str) -> bool:
        return True

    async def propose(
        self,
        uid: str,
        study: Study,
        request: ProposalRequest,
        history: HistorySource,
    ) -> Proposal:
        self.world.clock.time += 3
        if self.fault is not None:
            raise self.fault
        return Proposal(points=tuple((str(index),) for index in range(self.points)))

    def forget(self, uid: str) -> None:
        """Nothing is remembered."""

    async def close(self) -> None:
        """Nothing to stop."""


class Elsewhere:
    """Serves the algorithm `far`, as long as the other one does for its own."""

    def __init__(self, drawing: Drawing) -> None:
        self.drawing = drawing

    def serves(self, algorithm: str) -> bool:
        return algorithm == "far"

    async def propose(self, question: RemoteQuestion) -> Proposal:
        study: Any = question.experiment
        history: Any = None
        return await self.drawing.propose(UID, study, question.request, history)

    async def close(self) -> None:
        """Nothing to hang up."""


class Service:
    def __init__(self, world: StillWorld) -> None:
        self.world = world
        self.parts = world.parts()
        self.drawing = Drawing(world)
        remote = Elsewhere(self.drawing)
        self.answering = Answering(self.parts, self.drawing, installed_catalogue(), remote)

    async def react(self) -> None:
        for beside in (await self.answering.react([UID])).values():
            assert not isinstance(beside, Exception), beside
            await beside.work()

    def observed(self, metric: Metric, algorithm: str = "random") -> tuple[int, float]:
        return observed(self.parts.telemetry, metric, algorithm=algorithm)

    def series(self, metric: Metric) -> dict[tuple[str, ...], float]:
        return nonzero(self.parts.telemetry, metric)


def asking(algorithm: str = "random") -> Experiment:
    """For two points, since 993: seven seconds before now."""
    request = PointsRequest(number=1, first=0, count=2, watermark=0, asked_at=993.0)
    state = living()
    spec = replace(state.spec, algorithm=AlgorithmSpec(name=algorithm))
    return replace(state, spec=spec, requests=(request,), next_request=2)


async def service(algorithm: str = "random") -> Service:
    world = StillWorld()
    await world.prepare(asking(algorithm))
    return Service(world)


async def test_a_request_is_timed_from_its_asking_to_its_stored_answer() -> None:
    one = await service()
    await one.react()
    assert one.observed(metrics.SUGGESTED) == (1, 7 + 3)
    assert one.series(metrics.POINTS) == {("random",): 2}
    assert one.series(metrics.ALGORITHM_FAILURES) == {}


@pytest.mark.parametrize("trace_id", ["b" * 32, None])
async def test_a_request_is_an_exemplar_of_its_own_experiments_trace(trace_id: str | None) -> None:
    """The span that it is answered in may be of a group."""
    own = None if trace_id is None else str(TraceContext(trace_id=trace_id, span_id="2" * 16))
    world = StillWorld()
    await world.prepare(replace(asking(), traceparent=own))
    one, processor = Service(world), SimpleSpanProcessor(InMemorySpanExporter())
    tracing = SdkTracing("suggestion", processor, ratio=1.0)
    one.parts.telemetry.tracing = tracing
    with tracing.span("handle", parent=TraceContext(trace_id="a" * 32, span_id="1" * 16)):
        await one.react()
    assert one.observed(metrics.SUGGESTED)[0] == 1
    found = exemplar_traces(one.parts.telemetry, metrics.SUGGESTED)
    assert found == ({trace_id} if trace_id else set())


async def test_an_answer_that_is_told_again_is_not_counted_again() -> None:
    one = await service()
    await one.react()
    await one.react()
    assert one.observed(metrics.SUGGESTED)[0] == 1
    assert one.series(metrics.POINTS) == {("random",): 2}


async def test_who_lost_the_race_counts_nothing() -> None:
    one = await service()
    commit = one.parts.store.commit

    async def late(collection: str, writes: Sequence[Write]) -> list[Outcome]:
        await Service(one.world).react()
        return await commit(collection, writes)

    one.parts.store.commit = late  # type: ignore[method-assign]
    await one.react()
    assert one.observed(metrics.SUGGESTED) == (0, 0.0)
    assert one.series(metrics.POINTS) == {}


async def test_an_algorithm_that_fails_is_counted_with_its_answer() -> None:
    one = await service()
    one.drawing.fault = RuntimeError("no idea")
    await one.react()
    await one.react()
    assert one.series(metrics.ALGORITHM_FAILURES) == {("random",): 1}
    assert one.observed(metrics.SUGGESTED) == (1, 10.0)
    assert one.series(metrics.POINTS) == {}


async def test_what_is_tried_again_is_no_failure_of_the_algorithm() -> None:
    one = await service()
    one.drawing.fault = Transient("a trial is not written yet")
    assert set(await one.answering.react([UID])) == {UID}
    assert one.series(metrics.ALGORITHM_FAILURES) == {}
    assert one.observed(metrics.SUGGESTED) == (0, 0.0)


async def test_an_algorithm_on_another_server_is_timed_by_its_calls() -> None:
    one = await service("far")
    await one.react()
    assert one.observed(metrics.ALGORITHM, "far") == (2, 3.0)
    assert one.observed(metrics.SUGGESTED, "far") == (1, 10.0)


async def test_an_algorithm_that_is_not_installed_any_more_has_no_name() -> None:
    one = await service("gone")
    one.drawing.fault = Refused([Problem(field="algorithm", message="there is no gone")])
    await one.react()
    assert one.series(metrics.ALGORITHM_FAILURES) == {("unknown",): 1}


def test_computing_is_told_by_point_and_waiting_by_request() -> None:
    telemetry = Telemetry("suggestion")
    tell = teller(telemetry)
    tell(Computed(algorithm="tpe", points=4, took_s=2.0, waited_s=0.25))
    tell(Computed(algorithm="tpe", points=1, took_s=0.5, waited_s=0.5))
    tell(Computed(algorithm="random", points=3, took_s=0.3))
    tell(Computed(algorithm="random", points=0, took_s=0.3))
    assert observed(telemetry, metrics.ALGORITHM, algorithm="tpe") == (5, 2.5)
    assert observed(telemetry, metrics.ALGORITHM, algorithm="random") == (3, 0.3)
    assert observed(telemetry, metrics.ALGORITHM_QUEUE) == (2, 0.75)
    half_a_second = telemetry.registry.get_sample_value(
        "trialbus_algorithm_point_seconds_bucket", {"algorithm": "tpe", "le": "0.3"}
    )
    assert half_a_second == 0


async def test_the_first_failure_of_an_algorithm_is_an_increase() -> None:
    one = await service()
    for metric in (metrics.ALGORITHM_FAILURES, metrics.POINTS):
        assert told_one(one.parts.telemetry, metric, algorithm="tpe") == 0
