"""The stopping rule asha: a simulation beside one written from the paper and Syne Tune with NumPy's
quantiles, and the same judged live by the service."""

import math
from random import Random

import numpy as np
import pytest

from trialbus.kernel.objective import ObjectiveType
from trialbus.kernel.spec import AlgorithmSpec
from trialbus.kernel.trial import TrialPhase
from trialbus.testkit.still_world import experiment
from trialbus.testkit.stopping_world import StoppingWorld, react
from trialbus_early_stopping.core.decide import decide
from trialbus_early_stopping.core.evidence import Report, TrialEvidence
from trialbus_early_stopping.core.registry import Registry
from trialbus_early_stopping.core.rule import PeerRule

TRIALS, EPOCHS = 81, 81


class Reference:
    """stopped(trial, epoch, loss) for every report, in the order of time."""

    def __init__(self, r_min: int, eta: int, s: int) -> None:
        self.milestones = [r_min * eta**k for k in range(s, 12)]
        self.eta = eta
        self.recorded: dict[int, dict[int, float]] = {it: {} for it in self.milestones}

    def stopped(self, trial: int, epoch: int, loss: float) -> bool:
        if epoch not in self.recorded:
            return False
        rung = self.recorded[epoch]
        rung[trial] = loss
        return bool(loss > np.quantile(list(rung.values()), 1 / self.eta, method="linear"))


def curves(seed: int) -> list[list[float]]:
    rng = Random(seed)
    shapes = [(rng.random(), rng.uniform(0.5, 2), rng.uniform(0.2, 1.5)) for _ in range(TRIALS)]
    return [
        [end + width * epoch**-speed + rng.gauss(0, 0.02) for epoch in range(1, EPOCHS + 1)]
        for end, width, speed in shapes
    ]


@pytest.mark.parametrize(("r_min", "eta", "s"), [(1, 3, 0), (1, 2, 0), (2, 4, 0), (1, 3, 1)])
@pytest.mark.parametrize("objective", ObjectiveType)
def test_a_simulation_with_16_workers_stops_whom_the_reference_stops_and_when(
    r_min: int, eta: int, s: int, objective: ObjectiveType
) -> None:
    losses, rng = curves(eta), Random(5)
    sign = 1.0 if objective is ObjectiveType.MINIMIZE else -1.0
    settings = [("r_min", str(r_min)), ("eta", str(eta)), ("s", str(s))]
    rule = Registry().create("asha", settings, objective)
    assert isinstance(rule, PeerRule)
    reference = Reference(r_min, eta, s)
    known = {i: TrialEvidence(trial=f"t{i}", attempt=1) for i in range(TRIALS)}
    pace = {i: rng.uniform(0.3, 3) for i in range(TRIALS)}
    waiting, running = list(range(TRIALS)), dict[int, float]()
    stops: dict[int, int] = {}
    now = 0.0
    while waiting or running:
        while waiting and len(running) < 16:
            trial = waiting.pop(0)
            running[trial] = now + pace[trial]
        trial = min(running, key=lambda i: (running[i], i))
        now, epoch = running[trial], len(known[trial].values) + 1
        loss = losses[trial][epoch - 1]
        decision = decide(rule, known[trial], [Report(epoch, sign * loss)])
        known[trial] = decision.evidence
        rule.hear(f"t{trial}", decision.evidence.values)
        stop = decision.evidence.verdict is not None
        assert stop == reference.stopped(trial, epoch, loss)
        running[trial] += pace[trial]
        if stop or epoch == EPOCHS:
            del running[trial]
            stops[trial] = epoch if stop else 0
    whole = [trial for trial, epoch in stops.items() if epoch == 0]
    assert 1 <= len(whole) < TRIALS / eta
    assert set(stops.values()) <= {0, *reference.milestones}


def rule_of(*heard: tuple[str, list[float]], **settings: str) -> PeerRule:
    rule = Registry().create("asha", list(settings.items()), ObjectiveType.MINIMIZE)
    assert isinstance(rule, PeerRule)
    for trial, values in heard:
        rule.hear(trial, values)
    return rule


def verdict_of(rule: PeerRule, *values: float, trial: str = "mine") -> tuple[int, bool] | None:
    reports = [Report(step, value) for step, value in enumerate(values, start=1)]
    verdict = decide(rule, TrialEvidence(trial=trial, attempt=1), reports).verdict
    return None if verdict is None else (verdict.step, verdict.stop)


def test_rungs_are_judged_and_nothing_between_them_nor_at_the_end() -> None:
    rule = rule_of(("a", [0.1] * 9), r_min="3", r_l="9")
    assert verdict_of(rule, 1.0, 1.0) is None
    assert verdict_of(rule, 1.0, 1.0, 1.0) == (3, True)
    assert verdict_of(rule, *[0.1] * 8) == (3, False)
    assert verdict_of(rule, *[0.1] * 8, 1.0) == (3, False)


def test_the_first_at_a_rung_goes_on_and_of_four_the_best_two() -> None:
    assert verdict_of(rule_of(), 5.0) == (1, False)
    others = [(name, [loss]) for name, loss in (("a", 1.0), ("b", 2.0), ("c", 3.0))]
    assert verdict_of(rule_of(*others), 1.5) == (1, False)
    assert verdict_of(rule_of(*others), 2.0) == (1, False)
    assert verdict_of(rule_of(*others), 2.5) == (1, True)


def test_nan_is_the_worst_and_a_trial_is_not_compared_with_itself() -> None:
    others = [(name, [math.nan]) for name in "abc"]
    assert verdict_of(rule_of(*others), 9.0) == (1, False)
    assert verdict_of(rule_of(("a", [1.0])), math.nan) == (1, True)
    # Its own earlier words, say of a lost race, count once.
    assert verdict_of(rule_of(("mine", [5.0])), 5.0) == (1, False)
    assert verdict_of(rule_of(("mine", [1.0]), ("mine", [7.0])), 7.0) == (1, False)


def test_what_a_lost_attempt_had_reported_is_forgotten() -> None:
    """As by a service that is started after it was lost."""
    again = rule_of(("a", [1.0, 1.0, 1.0]), ("b", [3.0, 3.0, 3.0]), ("a", [2.0]))
    anew = rule_of(("a", [2.0]), ("b", [3.0, 3.0, 3.0]))
    for values in ((2.5,), (1.0, 1.0, 2.5), (1.0, 1.0, 3.5)):
        assert verdict_of(again, *values) == verdict_of(anew, *values)
    assert verdict_of(again, 1.0, 1.0, 2.5) == (3, False)


async def test_running_stopped_and_failed_trials_are_all_compared_with_also_after_a_restart() -> (
    None
):
    settings = (("r_min", "2"), ("eta", "3"))
    world = StoppingWorld(experiment=experiment(rule=AlgorithmSpec(name="asha", settings=settings)))
    await world.prepare(world.experiment)
    await world.open(0, 1, 2, 3, 4)
    # A service of its own for each report.
    for index, loss in ((0, 3.0), (1, 4.0), (2, 2.0)):
        await world.report(index, 9.0, loss)
        assert not await react(await world.start())
    assert world.verdicts.keys() == {1}
    assert "not among the best 1 of the 2 trials" in world.verdicts[1].reason
    await world.close(1, TrialPhase.EARLY_STOPPED)
    await world.close(0, TrialPhase.FAILED)
    # 2 has reported and runs; 0, 1 and 2 are 3, 4 and 2.
    await world.report(3, 1.0, 2.5)
    await react(await world.start())
    assert 3 not in world.verdicts
    await world.report(4, 1.0, 3.5)
    await react(await world.start())
    numbers = {"value": 3.5, "bar": 2.5, "rung": 2, "recorded": 5, "allowed": 2, "eta": 3.0}
    assert world.verdicts[4].numbers == numbers
    assert world.verdicts[4].reason == (
        "objective 3.5 at step 2 is not among the best 2 of the 5 trials that have come to this "
        "rung, down to 2.5"
    )


async def test_those_who_come_to_a_rung_in_one_batch_are_judged_in_order() -> None:
    world = StoppingWorld(experiment=experiment(rule=AlgorithmSpec(name="asha")))
    await world.prepare(world.experiment)
    await world.open(0, 1, 2)
    for index, loss in ((2, 1.0), (1, 3.0), (0, 2.0)):
        await world.report(index, loss)
    await react(await world.start())
    assert world.verdicts.keys() == {1}
