"""The stopping rules beside medianstop, against verdicts worked out by hand."""

import math
from pathlib import Path
from typing import Any

import pytest

from trialbus.contracts.katib.spec import parse_experiment
from trialbus.contracts.yaml_input import load_document
from trialbus.kernel.catalogue import check_settings
from trialbus.kernel.objective import ObjectiveType
from trialbus.runtime.catalogue import load_catalogue
from trialbus_early_stopping.core.catalogue import BUILT_IN
from trialbus_early_stopping.core.decide import decide
from trialbus_early_stopping.core.evidence import Report, TrialEvidence, Verdict
from trialbus_early_stopping.core.percentile import percentile_of
from trialbus_early_stopping.core.registry import Registry
from trialbus_early_stopping.core.rule import ComparingRule, StoppingRule

MINIMIZE, MAXIMIZE = ObjectiveType.MINIMIZE, ObjectiveType.MAXIMIZE
NAN, INF = math.nan, math.inf
REGISTRY = Registry()


def rule_of(
    name: str,
    *completed: list[float],
    objective: ObjectiveType = MINIMIZE,
    **settings: Any,
) -> StoppingRule:
    given = [(key, str(value)) for key, value in settings.items()]
    assert check_settings(REGISTRY.describe(name), given) == []
    rule = REGISTRY.create(name, given, objective)
    for number, values in enumerate(completed, start=1):
        assert isinstance(rule, ComparingRule)
        rule.add(f"done-{number}", values, finished=number)
    return rule


def last_verdict(rule: StoppingRule, *values: float) -> Verdict | None:
    """Of a running trial that reports `values`, each in a message of its own."""
    evidence, verdict = TrialEvidence(trial="t", attempt=1), None
    for step, value in enumerate(values, start=1):
        decision = decide(rule, evidence, [Report(step, value)])
        evidence, verdict = decision.evidence, decision.verdict
    return verdict


def stopped_at(rule: StoppingRule, *values: float) -> int | None:
    verdict = last_verdict(rule, *values)
    return verdict.step if verdict is not None and verdict.stop else None


def percentile(*completed: list[float], **settings: Any) -> StoppingRule:
    chosen = {"percentile": 25, "min_trials_required": 1, "start_step": 1, **settings}
    return rule_of("percentile", *completed, **chosen)


# Best so far: A 5, 3, 3; B 4, 4, 4; C 9, 6, 2; D 6, 6, 6; E 7, 1, 1.
A, B, C, D, E = [5.0, 3.0, 8.0], [4.0, 4.0, 9.0], [9.0, 6.0, 2.0], [6.0, 6.0], [7.0, 1.0, 5.0]


# percentile ---------------------------------------------------------------------------------------


def test_a_trial_worse_than_the_percentile_of_the_best_values_is_stopped_and_told_why() -> None:
    # At step 2 the best are 1, 3, 4, 6, 6: a quarter of the way is 3.
    verdict = last_verdict(percentile(A, B, C, D, E, start_step=2), 9.0, 3.5)
    assert verdict is not None
    assert verdict.stop
    assert verdict.reason == (
        "best objective 3.5 by step 2 is worse than 3, "
        "the percentile 25 of the best values of 5 completed trials"
    )
    seen = verdict.evidence
    assert (seen.best, seen.median, seen.completed, seen.watermark) == (3.5, None, 5, 5)
    assert seen.numbers == {"percentile": 25.0, "bar": 3.0}


def test_a_trial_as_good_as_the_percentile_goes_on() -> None:
    assert stopped_at(percentile(A, B, C, D, E, start_step=2), 9.0, 3.0) is None


def test_the_best_so_far_of_both_sides_counts_and_not_the_newest() -> None:
    # At step 3 the best are 1, 2, 3, 4, 6, though B has just reported 9.
    assert stopped_at(percentile(A, B, C, D, E, start_step=3), 2.0, 50.0, 50.0) is None
    assert stopped_at(percentile(A, B, C, D, E, start_step=3), 2.5, 50.0, 50.0) == 3


def test_between_two_ranks_it_is_interpolated() -> None:
    assert percentile_of([1.0, 2.0, 3.0, 9.0], 25) == 1.75
    assert percentile_of([1.0, 2.0, 3.0, 9.0], 90) == 7.2
    assert percentile_of([7.0], 10) == 7.0
    assert percentile_of([0.0, 1.25], 10) == 0.125
    assert percentile_of([-1.7e308, 1.7e308], 50) == 0.0


def test_a_percentile_beside_infinities_is_one_of_them_or_nothing() -> None:
    assert percentile_of([1.0, INF], 25) == INF
    assert percentile_of([-INF, 1.0], 25) == -INF
    assert percentile_of([-INF, 1.0, INF], 50) == 1.0
    assert math.isnan(percentile_of([-INF, INF], 50))
    assert stopped_at(percentile([-INF], [INF], percentile=50), 5.0) is None


def test_maximising_lets_the_highest_share_go_on() -> None:
    # At step 1: 4, 5, 6, 7, 9; the best quarter begins at 7.
    rule = percentile(A, B, C, D, E, objective=MAXIMIZE)
    assert stopped_at(rule, 6.5) == 1
    assert stopped_at(rule, 7.0) is None
    verdict = last_verdict(rule, 6.5)
    assert verdict is not None
    assert verdict.evidence.numbers == {"percentile": 25.0, "bar": 7.0}


def test_a_trial_is_judged_from_start_step_on_at_every_interval() -> None:
    rule = percentile(A, start_step=2, interval_steps=3)
    assert [last_verdict(rule, *[0.0] * n) is not None for n in range(1, 9)] == [
        False, True, False, False, True, False, False, True,
    ]  # fmt: skip


def test_no_percentile_is_taken_of_too_few_trials_and_short_ones_count_with_their_best() -> None:
    assert last_verdict(percentile(A, B, [], min_trials_required=3), 99.0) is None
    assert stopped_at(percentile([2.0, 1.0], percentile=50, start_step=4), 9, 9, 9, 1.5) == 4


def test_a_completed_trial_is_counted_once() -> None:
    rule = percentile(A, B, percentile=50)
    assert isinstance(rule, ComparingRule)
    for _ in range(3):
        rule.add("done-1", [0.0], finished=1)
    assert (rule.completed, rule.watermark) == (2, 2)
    assert stopped_at(rule, 4.5) is None


def test_a_trial_with_only_nan_is_worse_than_any_number_but_not_than_nan() -> None:
    for objective in ObjectiveType:
        assert stopped_at(percentile(A, B, objective=objective), NAN) == 1
        assert stopped_at(percentile([NAN], objective=objective), NAN) is None
    # The best is what counts, on both sides.
    assert stopped_at(percentile([NAN, 1.0], start_step=2), 1.0, NAN) is None


# threshold ----------------------------------------------------------------------------------------


def test_a_value_outside_of_the_bounds_stops_the_trial_and_is_told() -> None:
    rule = rule_of("threshold", lower=-1, upper=2)
    verdict = last_verdict(rule, 2.0, -1.0, 2.5)
    assert verdict is not None
    assert (verdict.stop, verdict.step) == (True, 3)
    assert verdict.reason == "objective 2.5 at step 3 is above the upper bound 2"
    assert verdict.evidence.numbers == {"value": 2.5, "lower": -1.0, "upper": 2.0}
    below = last_verdict(rule, -1.5)
    assert below is not None
    assert below.reason == "objective -1.5 at step 1 is below the lower bound -1"
    assert verdict.evidence.best == -1.0


@pytest.mark.parametrize("objective", list(ObjectiveType))
def test_bounds_hold_whatever_the_direction_is(objective: ObjectiveType) -> None:
    assert stopped_at(rule_of("threshold", upper=2, objective=objective), 0.0, 3.0, 0.0) == 2
    assert stopped_at(rule_of("threshold", lower=0, objective=objective), 9.0, -0.5) == 2
    assert stopped_at(rule_of("threshold", lower=0, objective=objective), 9.0, INF) is None
    assert stopped_at(rule_of("threshold", lower=0, objective=objective), 9.0, -INF) == 2
    assert stopped_at(rule_of("threshold", upper=0, objective=objective), INF) == 1


def test_what_is_not_a_number_stops_the_trial() -> None:
    verdict = last_verdict(rule_of("threshold", upper=2), 1.0, NAN)
    assert verdict is not None
    assert (verdict.stop, verdict.step) == (True, 2)
    assert verdict.reason == "objective nan at step 2 is not a number"


def test_bounds_are_looked_at_from_start_step_on_at_every_interval() -> None:
    rule = rule_of("threshold", upper=2, start_step=2, interval_steps=2)
    assert stopped_at(rule, 9.0, 1.0, 9.0, 1.0) is None
    assert stopped_at(rule, 9.0, 1.0, 9.0, 9.0) == 4


# patience -----------------------------------------------------------------------------------------


def test_a_trial_that_does_not_improve_is_stopped_and_told_why() -> None:
    rule = rule_of("patience", patience=2)
    verdict = last_verdict(rule, 5.0, 4.0, 4.0, 4.5)
    assert verdict is not None
    assert (verdict.stop, verdict.step) == (True, 4)
    assert verdict.reason == ("objective 4 of step 2 has not improved for 2 of 2 steps by step 4")
    assert verdict.evidence.numbers == {
        "patience": 2,
        "min_delta": 0.0,
        "waited": 2,
        "improved_at": 2,
        "reference": 4.0,
    }


def test_any_improvement_begins_the_wait_anew() -> None:
    assert stopped_at(rule_of("patience", patience=2), 5.0, 5.0, 4.9, 5.0, 4.8, 5.0) is None
    assert stopped_at(rule_of("patience", patience=2, objective=MAXIMIZE), 5.0, 6.0, 5.9, 5.8) == 4
    assert stopped_at(rule_of("patience", patience=1), 1.0, 1.0) == 2


def test_an_improvement_of_exactly_min_delta_is_one_and_of_less_is_none() -> None:
    assert stopped_at(rule_of("patience", patience=2, min_delta=0.5), 4.0, 4.0, 3.5) is None
    assert stopped_at(rule_of("patience", patience=2, min_delta=0.5), 4.0, 3.75, 3.625) == 3


def test_small_gains_add_up_against_the_last_improvement() -> None:
    # 4 -> 3.7 -> 3.4: together 0.6, in time.
    assert stopped_at(rule_of("patience", patience=3, min_delta=0.5), 4.0, 3.7, 3.4, 3.4) is None
    # The wait began at step 3, whose value is the new reference.
    rule = rule_of("patience", patience=2, min_delta=0.5)
    assert stopped_at(rule, 4.0, 3.75, 3.25, 3.0, 2.875) == 5


def test_nobody_is_stopped_for_impatience_before_start_step() -> None:
    rule = rule_of("patience", patience=2, start_step=5)
    assert stopped_at(rule, 1.0, 1.0, 1.0, 1.0) is None
    assert stopped_at(rule, 1.0, 1.0, 1.0, 1.0, 1.0) == 5
    assert stopped_at(rule, 1.0, 1.0, 1.0, 1.0, 0.5) is None


@pytest.mark.parametrize("objective", list(ObjectiveType))
def test_nan_and_infinities_wait_like_others(objective: ObjectiveType) -> None:
    rule = rule_of("patience", patience=2, min_delta=0.5, objective=objective)
    best = -INF if objective is MINIMIZE else INF
    assert stopped_at(rule, NAN, NAN, NAN) == 3
    assert stopped_at(rule, NAN, NAN, 1.0, NAN) is None
    assert stopped_at(rule, 1.0, NAN, NAN) == 3
    assert stopped_at(rule, -best, -best, 7.0, 7.0) is None
    assert stopped_at(rule, 1.0, 1.0, best, best) is None
    assert stopped_at(rule, best, best, best) == 3


# Settings -----------------------------------------------------------------------------------------

PERCENTILE = ("percentile", "50")
PATIENCE = ("patience", "2")
NO_RUNG = "r_min * eta^s must not be above 10000: later reports are not judged"
NOT_PERCENTILE = "percentile must be set between zero and 100 (>0, <100)"


@pytest.mark.parametrize(
    ("rule", "given", "message"),
    [
        ("percentile", [], NOT_PERCENTILE),
        ("percentile", [("percentile", "0")], NOT_PERCENTILE),
        ("percentile", [("percentile", "100")], NOT_PERCENTILE),
        ("percentile", [("percentile", "nan")], NOT_PERCENTILE),
        (
            "percentile",
            [("percentile", "half")],
            "failed to validate percentile(half): could not convert string to float: 'half'",
        ),
        (
            "percentile",
            [PERCENTILE, ("min_trials_required", "0")],
            "min_trials_required must be greater than zero (>0)",
        ),
        (
            "percentile",
            [PERCENTILE, ("start_step", "0")],
            "start_step must be greater or equal than one (>=1)",
        ),
        (
            "percentile",
            [PERCENTILE, ("interval_steps", "0")],
            "interval_steps must be greater or equal than one (>=1)",
        ),
        ("percentile", [PERCENTILE, ("x", "1")], "unknown setting x for algorithm percentile"),
        ("threshold", [], "lower or upper must be set"),
        ("threshold", [("start_step", "3")], "lower or upper must be set"),
        ("threshold", [("lower", "nan")], "lower must be a finite number"),
        ("threshold", [("upper", "inf")], "upper must be a finite number"),
        (
            "threshold",
            [("lower", "2"), ("upper", "1")],
            "lower must be less or equal than upper (<=)",
        ),
        ("patience", [], "patience must be set, greater or equal than one (>=1)"),
        ("patience", [("patience", "0")], "patience must be set, greater or equal than one (>=1)"),
        (
            "patience",
            [PATIENCE, ("min_delta", "-1")],
            "min_delta must be greater or equal than zero (>=0)",
        ),
        (
            "patience",
            [PATIENCE, ("min_delta", "nan")],
            "min_delta must be greater or equal than zero (>=0)",
        ),
        ("asha", [("r_min", "0")], "r_min must be greater or equal than one (>=1)"),
        ("asha", [("eta", "1.9")], "eta must be set between two and 10000"),
        ("asha", [("eta", "nan")], "eta must be set between two and 10000"),
        ("asha", [("s", "-1")], "s must be greater or equal than zero (>=0)"),
        ("asha", [("r_l", "0")], "r_l must be greater or equal than one (>=1)"),
        ("asha", [("s", "9")], NO_RUNG),
        ("asha", [("r_min", "10001")], NO_RUNG),
        # Too large for a double.
        ("asha", [("r_min", "9" * 400)], NO_RUNG),
        ("asha", [("s", "9" * 400)], NO_RUNG),
        (
            "asha",
            [("r_min", "3"), ("s", "1"), ("r_l", "9")],
            "r_l must be greater than r_min * eta^s, the first rung",
        ),
    ],
)
def test_wrong_settings_are_answered_in_katibs_manner(
    rule: str, given: list[tuple[str, str]], message: str
) -> None:
    assert [each.message for each in check_settings(REGISTRY.describe(rule), given)] == [message]


def test_asha_takes_a_length_beyond_every_double() -> None:
    assert check_settings(REGISTRY.describe("asha"), [("r_l", "9" * 400)]) == []


def test_the_example_is_accepted() -> None:
    path = Path(__file__).parents[2] / "examples/percentile.yaml"
    document = load_document(path.read_bytes())
    parsed = parse_experiment(document, catalogue=load_catalogue(), base_dir=path.parent)
    assert parsed.spec.early_stopping is not None
    assert parsed.spec.early_stopping.name == "percentile"


def test_every_built_in_rule_is_installed_and_says_where_its_code_is() -> None:
    installed = load_catalogue().stopping_rules
    for description in BUILT_IN:
        assert installed[description.name] is description
        assert description.implementation
