"""The median stopping rule against medians worked out by hand."""

import math

import pytest

from trialbus.kernel.catalogue import (
    AlgorithmDescription,
    Setting,
    SettingProblem,
    check_settings,
    read_settings,
)
from trialbus.kernel.limits import MAX_EVIDENCE_STEPS
from trialbus.kernel.objective import ObjectiveType
from trialbus_early_stopping.core.catalogue import MEDIAN_STOP, MedianStopSettings
from trialbus_early_stopping.core.decide import StoppingDecision, decide
from trialbus_early_stopping.core.evidence import Report, TrialEvidence, running_averages
from trialbus_early_stopping.core.median import MedianRule

MINIMIZE, MAXIMIZE = ObjectiveType.MINIMIZE, ObjectiveType.MAXIMIZE
NAN, INF = math.nan, math.inf


def rule_of(
    *completed: list[float],
    objective: ObjectiveType = MINIMIZE,
    min_trials: int = 1,
    start_step: int = 1,
) -> MedianRule:
    settings = MedianStopSettings(min_trials_required=min_trials, start_step=start_step)
    rule = MedianRule(settings, objective)
    for number, values in enumerate(completed, start=1):
        rule.add(f"done-{number}", values, finished=number)
    return rule


def run(rule: MedianRule, *values: float) -> StoppingDecision:
    """A running trial that reports `values`, each in a message of its own."""
    decision = StoppingDecision(evidence=TrialEvidence(trial="t", attempt=1), verdict=None)
    for step, value in enumerate(values, start=1):
        decision = decide(rule, decision.evidence, [Report(step, value)])
    return decision


def stopped_at(rule: MedianRule, *values: float) -> int | None:
    verdict = run(rule, *values).verdict
    return verdict.step if verdict is not None and verdict.stop else None


# Running averages: A 1, 2, 3; B 4, 4, 4; C 9, 7.5, 6; D 6, 6, 6.
A, B, C, D = [1.0, 3.0, 5.0], [4.0, 4.0, 4.0], [9.0, 6.0, 3.0], [6.0, 6.0, 6.0]


def test_running_averages_are_of_all_reports_up_to_the_step() -> None:
    assert running_averages(A, MINIMIZE) == [1.0, 2.0, 3.0]
    assert running_averages(C, MINIMIZE) == [9.0, 7.5, 6.0]
    assert running_averages(C, MAXIMIZE) == [-9.0, -7.5, -6.0]


def test_the_median_of_an_odd_count_is_the_middle_and_of_an_even_count_the_mean_of_two() -> None:
    assert [rule_of(A, B, C).median_at(step) for step in (1, 2, 3)] == [4.0, 4.0, 4.0]
    assert [rule_of(A, C).median_at(step) for step in (1, 2, 3)] == [5.0, 4.75, 4.5]
    assert [rule_of(A, B, C, D).median_at(step) for step in (1, 2, 3)] == [5.0, 5.0, 5.0]


def test_it_is_the_median_and_not_the_mean() -> None:
    rule = rule_of([1.0], [2.0], [100.0])  # mean 34.3
    assert stopped_at(rule, 3.0) == 1


def test_a_trial_worse_than_the_median_is_stopped_and_told_why() -> None:
    verdict = run(rule_of(A, B, C), 5.0).verdict
    assert verdict is not None
    assert verdict.stop
    assert verdict.reason == (
        "best objective 5 by step 1 is worse than 4, "
        "the median of the running averages of 3 completed trials"
    )
    evidence = verdict.evidence
    assert (evidence.best, evidence.median, evidence.completed, evidence.watermark) == (5, 4, 3, 3)


def test_a_trial_as_good_as_the_median_goes_on() -> None:
    verdict = run(rule_of(A, B, C), 4.0).verdict
    assert verdict is not None
    assert not verdict.stop
    assert "is not worse than 4" in verdict.reason


def test_the_best_value_so_far_counts_and_not_the_newest() -> None:
    assert stopped_at(rule_of(A, B, C), 3.5, 100.0, 100.0) is None


def test_maximising_turns_the_comparison_round() -> None:
    rule = rule_of(A, B, C, objective=MAXIMIZE)
    assert stopped_at(rule, 3.0) == 1
    assert stopped_at(rule, 4.0, 0.0, 0.0) is None
    assert stopped_at(rule, 5.0) is None
    verdict = run(rule, 3.0).verdict
    assert verdict is not None
    assert "best objective 3 by step 1 is worse than 4" in verdict.reason


def test_no_trial_is_judged_before_start_step_and_every_report_after_it_is() -> None:
    rule = rule_of(A, B, C, start_step=2)
    assert run(rule, 99.0).verdict is None
    assert stopped_at(rule, 99.0, 98.0) == 2
    # At step 2 it is good enough (4 <= 4); later the bar is 3, the others having become better.
    falling = rule_of([4.0, 4.0, 1.0], start_step=2)
    assert stopped_at(falling, 4.0, 4.0, 4.0) == 3


def test_no_trial_is_judged_before_enough_trials_are_completed() -> None:
    assert run(rule_of(A, B, min_trials=3), 99.0).verdict is None
    assert stopped_at(rule_of(A, B, C, min_trials=3), 99.0) == 1


def test_a_completed_trial_without_reports_does_not_count() -> None:
    rule = rule_of(A, B, [], min_trials=3)
    assert (rule.completed, rule.watermark) == (2, 3)
    assert run(rule, 99.0).verdict is None


def test_a_short_completed_trial_counts_with_its_last_average_at_later_steps() -> None:
    short = [8.0, 6.0]  # averages 8, 7, then 7 for ever
    for completed in ([A, short], [short, A]):
        rule = rule_of(*completed)
        assert [rule.median_at(step) for step in (1, 2, 3)] == [4.5, 4.5, 5.0]
        # Beyond the longest trial: (3 + 7) / 2.
        assert rule.median_at(50) == 5.0


def test_a_completed_trial_is_counted_once() -> None:
    rule = rule_of(A, C)
    rule.add("done-1", A, finished=1)
    rule.add("done-1", D, finished=1)
    assert (rule.completed, rule.median_at(1)) == (2, 5.0)


def test_a_trial_that_does_not_count_moves_only_the_watermark() -> None:
    rule = rule_of(A)
    rule.pass_over(9)
    rule.pass_over(4)
    assert (rule.completed, rule.watermark) == (1, 9)


@pytest.mark.parametrize("objective", [MINIMIZE, MAXIMIZE])
def test_a_running_trial_with_only_nan_is_stopped(objective: ObjectiveType) -> None:
    assert stopped_at(rule_of(A, B, C, objective=objective), NAN) == 1


def test_nan_beside_a_good_value_does_no_harm() -> None:
    rule = rule_of(A, B, C, start_step=2)
    assert stopped_at(rule, 1.0, NAN) is None
    assert stopped_at(rule, NAN, 1.0) is None


def test_a_completed_trial_is_the_worst_from_its_first_nan_on() -> None:
    rule = rule_of([1.0, NAN, 1.0], [2.0, 2.0, 2.0], [3.0, 3.0, 3.0])
    assert [rule.median_at(step) for step in (1, 2, 3)] == [2.0, 3.0, 3.0]
    up = rule_of([9.0, NAN], [2.0, 2.0], [3.0, 3.0], objective=MAXIMIZE)
    assert [up.median_at(step) for step in (1, 2)] == [-3.0, -2.0]


def test_nothing_is_worse_than_a_median_of_nan_or_infinity() -> None:
    assert stopped_at(rule_of([NAN], [NAN]), NAN) is None
    assert stopped_at(rule_of([-INF], [INF]), 5.0) is None


def test_infinities_are_ordinary_values() -> None:
    assert stopped_at(rule_of([-INF], [1.0], [INF]), 2.0) == 1
    assert stopped_at(rule_of([-INF], [1.0], [INF]), -INF) is None
    assert stopped_at(rule_of(A, B, C), INF) == 1
    assert run(rule_of([INF, -INF]), 5.0, 5.0).verdict is not None


def test_an_integer_value_is_compared_as_a_number() -> None:
    assert stopped_at(rule_of([888.0]), 1000.0) == 1
    assert stopped_at(rule_of([888.0]), 90.0) is None


def test_the_median_is_right_at_the_ends_of_the_number_range() -> None:
    assert rule_of([1.5e308], [1.7e308]).median_at(1) == pytest.approx(1.6e308)
    assert rule_of([5e-324], [5e-324]).median_at(1) == 5e-324


def test_a_stop_verdict_stands_whatever_comes_after_it() -> None:
    first = run(rule_of(A, B, C), 5.0)
    assert first.verdict is not None
    kinder = rule_of([99.0], [99.0])
    later = decide(kinder, first.evidence, [Report(2, 0.0)])
    assert later.verdict == first.verdict
    assert later.evidence.verdict == first.verdict
    assert later.evidence.values == (5.0, 0.0)


def test_repeated_reports_change_nothing() -> None:
    rule = rule_of(A, B, C)
    known = run(rule, 4.0, 3.0).evidence
    again = decide(rule, known, [Report(1, 99.0), Report(2, 3.0)])
    assert again.evidence is known
    assert again.verdict is None


def test_a_step_is_judged_once_and_not_again_when_better_trials_complete() -> None:
    rule = rule_of([9.0, 1.0])  # averages 9, 5
    known = run(rule, 4.0).evidence
    for number in range(3):
        rule.add(f"better-{number}", [1.0, 9.0], finished=5)  # averages 1, 5
    # Step 1 would be stopped by now; step 2 is as good as its median.
    decision = decide(rule, known, [Report(2, 4.0)])
    assert decision.verdict is not None
    assert (decision.verdict.stop, decision.verdict.step) == (False, 2)
    assert decide(rule, decision.evidence, []).verdict is None


def test_of_two_values_for_one_step_the_first_stays() -> None:
    known = TrialEvidence(trial="t", attempt=1).with_reports([Report(2, 7.0)])
    assert known.with_reports([Report(2, 8.0), Report(1, 6.0)]).values == (6.0, 7.0)


def test_a_step_is_judged_when_all_before_it_are_known() -> None:
    rule = rule_of(A, B, C)
    known = TrialEvidence(trial="t", attempt=1)
    ahead = decide(rule, known, [Report(3, 99.0), Report(2, 98.0)])
    assert ahead.verdict is None
    assert ahead.evidence.ahead == (Report(2, 98.0), Report(3, 99.0))
    filled = decide(rule, ahead.evidence, [Report(1, 4.0)])
    assert (filled.evidence.values, filled.evidence.ahead) == ((4.0, 98.0, 99.0), ())
    assert (filled.evidence.judged, filled.evidence.verdict) == (3, None)


def test_steps_beyond_the_limit_are_not_kept() -> None:
    evidence = TrialEvidence(trial="t", attempt=1)
    assert evidence.with_reports([Report(MAX_EVIDENCE_STEPS + 1, 1.0)]) is evidence
    with pytest.raises(ValueError, match="counted from 1"):
        evidence.with_reports([Report(0, 1.0)])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("min_trials_required", "0", "min_trials_required must be greater than zero (>0)"),
        ("min_trials_required", "-1", "min_trials_required must be greater than zero (>0)"),
        ("start_step", "0", "start_step must be greater or equal than one (>=1)"),
        ("foo", "1", "unknown setting foo for algorithm medianstop"),
        (
            "start_step",
            "x",
            "failed to validate start_step(x): invalid literal for int() with base 10: 'x'",
        ),
    ],
)
def test_wrong_settings_are_answered_in_katibs_words(name: str, text: str, message: str) -> None:
    given = [("start_step", "2"), (name, text)]
    assert check_settings(MEDIAN_STOP, given) == [SettingProblem(index=1, message=message)]


def test_every_wrong_setting_is_named() -> None:
    given = [("start_step", "0"), ("min_trials_required", "2"), ("foo", "1")]
    assert [problem.index for problem in check_settings(MEDIAN_STOP, given)] == [0, 2]


def test_settings_have_katibs_defaults() -> None:
    assert MedianStopSettings.read([]) == MedianStopSettings(min_trials_required=3, start_step=4)
    assert MedianStopSettings.read([("start_step", "7")]).start_step == 7
    assert check_settings(MEDIAN_STOP, []) == []


def test_a_required_setting_is_asked_for_and_kinds_are_read() -> None:
    description = AlgorithmDescription(
        name="x",
        settings=(
            Setting(name="r_l", kind="float", required=True, message="r_l must be set."),
            Setting(name="fast", kind="bool", default=False),
            Setting(name="gamma", kind="float", check=lambda value: 0 < value < 1),
        ),
    )
    assert check_settings(description, [("fast", "perhaps"), ("gamma", "nan")]) == [
        SettingProblem(
            index=0, message="failed to validate fast(perhaps): neither true nor false: 'perhaps'"
        ),
        SettingProblem(index=1, message="gamma has a wrong value: nan"),
        SettingProblem(index=None, message="r_l must be set."),
    ]
    given = [("r_l", "9"), ("fast", "True")]
    assert check_settings(description, given) == []
    assert read_settings(description, given) == {"r_l": 9.0, "fast": True}
