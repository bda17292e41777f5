"""What the stopping service tells of its verdicts and of rules that fail: each once, by who stored
it."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from trialbus.adapters.opentelemetry.tracing import SdkTracing
from trialbus.contracts.collections import TRIALS
from trialbus.contracts.documents import TRIAL
from trialbus.kernel.catalogue import StoppingRuleDescription
from trialbus.kernel.objective import ObjectiveType
from trialbus.kernel.spec import AlgorithmSpec
from trialbus.kernel.traces import TraceContext
from trialbus.kernel.trial import Trial, TrialPhase
from trialbus.ports.store import Outcome, Write
from trialbus.runtime import metrics
from trialbus.runtime.metric import Metric
from trialbus.testkit.still_world import UID
from trialbus.testkit.stopping_world import RULE, StoppingWorld, with_two_completed
from trialbus.testkit.told_metrics import exemplar_traces, nonzero, observed, told_one
from trialbus_early_stopping.app.asked_stops import AskedStops
from trialbus_early_stopping.app.reacting import StoppingReactor
from trialbus_early_stopping.core.catalogue import BUILT_IN
from trialbus_early_stopping.core.evidence import Verdict
from trialbus_early_stopping.core.registry import Registry
from trialbus_early_stopping.core.rule import Curve, Settings, StoppingRule


class Failing(StoppingRule):
    def __init__(self, settings: Settings, objective: ObjectiveType) -> None:
        super().__init__(objective)

    def judge(self, curve: Curve, step: int) -> Verdict | None:
        raise ValueError("no idea")


FAILING = StoppingRuleDescription(name="failing", implementation=f"{__name__}:Failing", settings=())


class Service:
    def __init__(self, world: StoppingWorld, replica: str = "replica") -> None:
        self.world = world
        self.parts = world.parts(replica)
        self.reactor = StoppingReactor(self.parts, Registry([*BUILT_IN, FAILING]))

    async def react(self) -> None:
        assert await self.reactor.react([UID]) == {}

    def series(self, metric: Metric) -> dict[tuple[str, ...], float]:
        return nonzero(self.parts.telemetry, metric)

    @property
    def delays(self) -> tuple[int, float]:
        return observed(self.parts.telemetry, metrics.STOP_VERDICT)


@pytest.fixture
async def one() -> Service:
    """Two trials are complete, two run; a point is reported each second from 0."""
    return Service(await with_two_completed())


async def test_a_verdict_is_timed_from_the_point_that_led_to_it(one: Service) -> None:
    one.world.clock.time = 7.5
    # Good at the first step, which the rule does not judge, bad at the second and third.
    await one.world.report(2, 9.0, 9.0, 9.0)
    await one.react()
    await one.react()
    assert one.world.verdicts[2].step == 2
    assert one.delays == (1, 7.5 - 1.0)
    assert one.series(metrics.STOP_VERDICTS) == {("medianstop",): 1}


@pytest.mark.parametrize("trace_id", ["b" * 32, None])
async def test_a_verdict_is_an_exemplar_of_its_own_experiments_trace(
    one: Service, trace_id: str | None
) -> None:
    """The span that it is found in may be of a group."""
    own = None if trace_id is None else str(TraceContext(trace_id=trace_id, span_id="2" * 16))
    await one.world.change(traceparent=own)
    tracing = SdkTracing("early_stopping", SimpleSpanProcessor(InMemorySpanExporter()), ratio=1.0)
    one.parts.telemetry.tracing = tracing
    await one.world.report(2, 9.0, 9.0, 9.0)
    with tracing.span("handle", parent=TraceContext(trace_id="a" * 32, span_id="1" * 16)):
        await one.react()
    assert one.delays[0] == 1
    found = exemplar_traces(one.parts.telemetry, metrics.STOP_VERDICT)
    assert found == ({trace_id} if trace_id else set())


async def test_a_point_among_others_and_in_a_later_chunk_is_found(one: Service) -> None:
    await one.world.report(2, 0.5, 0.5)
    await one.react()
    one.world.clock.time = 20.0
    await one.world.report(3, 9.0)
    await one.world.report(3, 9.0)
    await one.react()
    assert one.world.verdicts[3].step == 2
    # The first point of its chunk, of second 0.
    assert one.delays == (1, 20.0)


async def test_who_may_go_on_is_not_counted(one: Service) -> None:
    await one.world.report(2, 0.5, 0.5, 0.5)
    await one.react()
    assert one.series(metrics.STOP_VERDICTS) == {}
    assert one.delays == (0, 0.0)


async def test_of_two_replicas_one_counts(one: Service) -> None:
    await one.world.report(2, 9.0, 9.0)
    other, commit = Service(one.world, "other"), one.parts.store.commit

    async def late(collection: str, writes: Sequence[Write]) -> list[Outcome]:
        await other.react()
        return await commit(collection, writes)

    one.parts.store.commit = late  # type: ignore[method-assign]
    await one.react()
    assert (one.series(metrics.STOP_VERDICTS), one.delays) == ({}, (0, 0.0))
    assert other.series(metrics.STOP_VERDICTS) == {("medianstop",): 1}


async def test_a_verdict_from_outside_is_one_too(one: Service) -> None:
    name = "tune-2"
    trial = Trial(
        id=f"{UID}.2",
        uid=UID,
        version=1,
        namespace="team",
        experiment="tune",
        index=2,
        name=name,
        phase=TrialPhase.CREATED,
        assignments=(),
        conditions=(),
        created_at=0.0,
    )
    await one.world.insert(TRIALS.name, TRIAL.encode(trial))
    asked = AskedStops(one.parts)
    await asked.stop(name)
    await asked.stop(name)
    assert one.series(metrics.STOP_VERDICTS) == {(RULE.name,): 1}
    assert one.delays == (0, 0.0)


async def test_a_rule_that_fails_is_counted_once_for_its_experiment(one: Service) -> None:
    spec = replace(one.world.experiment.spec, early_stopping=AlgorithmSpec(name="failing"))
    await one.world.change(spec=spec)
    await one.world.report(2, 1.0)
    await one.react()
    await one.world.report(2, 1.0)
    await one.react()
    await Service(one.world, "other").react()
    assert one.series(metrics.RULE_FAILURES) == {("failing",): 1}


async def test_the_first_failure_of_a_rule_is_an_increase(one: Service) -> None:
    assert told_one(one.parts.telemetry, metrics.RULE_FAILURES, rule="failing") == 0
    assert told_one(one.parts.telemetry, metrics.STOP_VERDICTS, rule="asha") == 0
