"""What a model learns from finished trials."""

import math

from trialbus.kernel.objective import ObjectiveType
from trialbus.kernel.proposals import FinishedTrial
from trialbus.kernel.trial import TrialPhase
from trialbus_suggestion.core.losses import losses_of


def trial(
    number: int, value: float | None, phase: TrialPhase = TrialPhase.SUCCEEDED
) -> FinishedTrial:
    return FinishedTrial(number=number, index=number - 1, point=(), phase=phase, value=value)


def losses(
    values: list[float | None], objective: ObjectiveType = ObjectiveType.MINIMIZE
) -> list[float]:
    finished = [
        trial(i + 1, v, TrialPhase.FAILED if v is None else TrialPhase.SUCCEEDED)
        for i, v in enumerate(values)
    ]
    return [round(loss, 6) for _, loss in losses_of(finished, objective)]


def test_losses_have_mean_zero_and_deviation_one() -> None:
    assert losses([1.0, 3.0]) == [-1.0, 1.0]
    assert losses([1.0, 3.0], ObjectiveType.MAXIMIZE) == [1.0, -1.0]
    assert losses([2.0, 2.0]) == [0.0, 0.0]
    assert losses([0.0, 0.0]) == [0.0, 0.0]


def test_failed_and_infinitely_bad_trials_count_as_the_worst_so_far() -> None:
    plain = losses([1.0, 3.0, 3.0])
    assert losses([1.0, 3.0, None]) == plain
    assert losses([1.0, 3.0, math.nan]) == plain
    assert losses([1.0, 3.0, math.inf]) == plain
    assert losses([-1.0, -3.0, -math.inf], ObjectiveType.MAXIMIZE) == plain


def test_an_infinitely_good_value_counts_as_the_best_finite_one() -> None:
    assert losses([1.0, 3.0, -math.inf]) == losses([1.0, 3.0, 1.0])


def test_trials_that_say_nothing_about_their_point_are_left_out() -> None:
    finished = [
        trial(1, 1.0),
        trial(2, 9.0, TrialPhase.KILLED),
        trial(3, None, TrialPhase.METRICS_UNAVAILABLE),
        trial(4, None, TrialPhase.EARLY_STOPPED),
        trial(5, 2.0, TrialPhase.EARLY_STOPPED),
    ]
    assert losses_of(finished, ObjectiveType.MINIMIZE) == [(0, -1.0), (4, 1.0)]


def test_nothing_is_learned_while_all_fail() -> None:
    assert losses([None, math.nan, math.inf]) == []


def test_a_diverged_trial_does_not_hide_the_differences_of_the_others() -> None:
    # Quartiles of 0, 1, 2, 3, 1e9: 1 and 3, so the fence is 3 + 3 * 2 = 9.
    assert losses([0.0, 1.0, 2.0, 3.0, 1e9]) == losses([0.0, 1.0, 2.0, 3.0, 9.0])
    # The good side is never cut.
    assert losses([3.0, 2.0, 1.0, 0.0, -1e9])[-1] == -2.0


def test_huge_values_do_not_overflow() -> None:
    assert losses([-1.7e308, 1.7e308]) == [-1.0, 1.0]
