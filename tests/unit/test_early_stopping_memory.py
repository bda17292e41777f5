"""What the stopping service remembers of experiments is bounded."""

from trialbus.kernel.experiment import ExperimentPhase
from trialbus.kernel.objective import Objective, ObjectiveType
from trialbus.kernel.spec import AlgorithmSpec
from trialbus_early_stopping.app.evidence_documents import RunEvidence
from trialbus_early_stopping.app.memory import Memory
from trialbus_early_stopping.app.views import WatchedExperiment, WatchedSpec
from trialbus_early_stopping.core.registry import Registry
from trialbus_early_stopping.core.rule import ComparingRule

RULE = AlgorithmSpec(name="medianstop")


def watched(uid: str) -> WatchedExperiment:
    objective = Objective(type=ObjectiveType.MINIMIZE, metric="loss")
    return WatchedExperiment(
        id=uid,
        namespace="n",
        name="e",
        phase=ExperimentPhase.RUNNING,
        spec=WatchedSpec(objective=objective, early_stopping=RULE),
        open={},
        finished=0,
        completed_at=None,
    )


def test_the_experiment_that_was_not_looked_at_longest_is_forgotten() -> None:
    memory = Memory(Registry(), experiments=2, averages=1000)
    kept = [memory.of(watched(uid), RULE) for uid in ("a", "b", "c")]
    memory.trim()
    assert memory.of(watched("b"), RULE) is kept[1]
    assert memory.of(watched("a"), RULE) is not kept[0]


def test_large_memories_go_first_to_last_until_the_rest_fits() -> None:
    memory = Memory(Registry(), experiments=9, averages=10)
    large = memory.of(watched("large"), RULE)
    assert isinstance(large.rule, ComparingRule)
    run = RunEvidence(id="t", uid="u", version=1, trial="t", attempt=1, values=(0.5,) * 20)
    large.complete(large.rule, run, 1)
    small, newest = memory.of(watched("small"), RULE), memory.of(watched("newest"), RULE)
    memory.trim()
    assert memory.of(watched("small"), RULE) is small
    assert memory.of(watched("newest"), RULE) is newest
    assert memory.of(watched("large"), RULE) is not large


def test_the_ended_are_dropped() -> None:
    memory = Memory(Registry())
    ended, going_on = memory.of(watched("ended"), RULE), memory.of(watched("going-on"), RULE)
    memory.keep({"going-on"})
    assert memory.of(watched("going-on"), RULE) is going_on
    assert memory.of(watched("ended"), RULE) is not ended
