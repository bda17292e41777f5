"""What the stopping service remembers of experiments is bounded."""

from trialbus.kernel.experiment import ExperimentPhase
from trialbus.kernel.objective import Objective, ObjectiveType
from trialbus.kernel.spec import AlgorithmSpec
from trialbus_early_stopping.app.memory import Memory
from trialbus_early_stopping.app.views import WatchedExperiment, WatchedSpec

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
    memory = Memory(experiments=2, averages=1000)
    kept = [memory.of(watched(uid), ()) for uid in ("a", "b", "c")]
    memory.trim()
    assert memory.of(watched("b"), ()) is kept[1]
    assert memory.of(watched("a"), ()) is not kept[0]


def test_large_memories_go_first_to_last_until_the_rest_fits() -> None:
    memory = Memory(experiments=9, averages=10)
    large = memory.of(watched("large"), ())
    large.rule.add("t", [0.5] * 20, 1)
    large.steps = 20
    small, newest = memory.of(watched("small"), ()), memory.of(watched("newest"), ())
    memory.trim()
    assert memory.of(watched("small"), ()) is small
    assert memory.of(watched("newest"), ()) is newest
    assert memory.of(watched("large"), ()) is not large


def test_the_ended_are_dropped() -> None:
    memory = Memory()
    ended, going_on = memory.of(watched("ended"), ()), memory.of(watched("going-on"), ())
    memory.keep({"going-on"})
    assert memory.of(watched("going-on"), ()) is going_on
    assert memory.of(watched("ended"), ()) is not ended
