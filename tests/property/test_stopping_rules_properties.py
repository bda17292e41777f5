"""All stopping rules: verdicts follow from the evidence alone, however it came; and those of the
percentile rule are the ones of a slow reference."""

import math
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from trialbus.kernel.catalogue import check_settings
from trialbus.kernel.objective import ObjectiveType
from trialbus_early_stopping.core.catalogue import BUILT_IN
from trialbus_early_stopping.core.decide import decide
from trialbus_early_stopping.core.evidence import Report, TrialEvidence
from trialbus_early_stopping.core.registry import Registry
from trialbus_early_stopping.core.rule import ComparingRule, StoppingRule

Chosen = tuple[str, dict[str, float]]
REGISTRY = Registry()

# Eighths have exact sums, so the references may add in another way.
numbers = st.integers(-800, 800).map(lambda n: n / 8)
curves = st.lists(numbers, max_size=8)
wild_curves = st.lists(numbers | st.sampled_from([math.nan, math.inf, -math.inf]), max_size=8)
objectives = st.sampled_from(ObjectiveType)
small = st.integers(1, 4)
percentiles = st.fixed_dictionaries(
    {
        "percentile": st.integers(1, 99),
        "min_trials_required": small,
        "start_step": small,
        "interval_steps": small,
    }
)
patiences = st.fixed_dictionaries(
    {"patience": small, "min_delta": st.integers(0, 16).map(lambda n: n / 8), "start_step": small}
)
bounds = st.tuples(numbers, numbers).map(lambda pair: {"lower": min(pair), "upper": max(pair)})
thresholds = st.tuples(
    bounds, st.fixed_dictionaries({"start_step": small, "interval_steps": small})
).map(lambda parts: {**parts[0], **parts[1]})
medians = st.fixed_dictionaries({"min_trials_required": small, "start_step": small})
ashas = st.fixed_dictionaries(
    {"r_min": small, "eta": st.integers(2, 4), "s": st.integers(0, 1), "r_l": st.integers(40, 90)}
)
comparing_rules = st.one_of(
    st.tuples(st.just("percentile"), percentiles),
    st.tuples(st.just("medianstop"), medians),
    st.tuples(st.just("asha"), ashas),
)
chosen_rules = st.one_of(
    comparing_rules,
    st.tuples(st.just("patience"), patiences),
    st.tuples(st.just("threshold"), thresholds),
)


def test_no_built_in_rule_is_left_out() -> None:
    known = {"percentile", "patience", "threshold", "medianstop", "asha"}
    assert {each.name for each in BUILT_IN} == known


def built(
    chosen: Chosen, objective: ObjectiveType, completed: list[list[float]], order: list[int]
) -> StoppingRule:
    name, settings = chosen
    said = [(key, str(value)) for key, value in settings.items()]
    assert check_settings(REGISTRY.describe(name), said) == []
    rule = REGISTRY.create(name, said, objective)
    for number in order:
        if isinstance(rule, ComparingRule):
            rule.add(f"t{number}", completed[number], finished=number)
    return rule


def reports_of(curve: list[float]) -> list[Report]:
    return [Report(step, value) for step, value in enumerate(curve, start=1)]


def stop_of(rule: StoppingRule, running: list[float]) -> int | None:
    known = TrialEvidence(trial="r", attempt=1)
    verdict = decide(rule, known, reports_of(running)).evidence.verdict
    return None if verdict is None else verdict.step


def percentile_stop(
    settings: dict[str, float],
    objective: ObjectiveType,
    completed: list[list[float]],
    running: list[float],
) -> int | None:
    """In the user's own direction, with fractions: sort, go to the rank, compare."""
    minimize = objective is ObjectiveType.MINIMIZE
    best = min if minimize else max
    counted = [curve for curve in completed if curve]
    if len(counted) < settings["min_trials_required"]:
        return None
    start, interval = int(settings["start_step"]), int(settings["interval_steps"])
    for step in range(start, len(running) + 1, interval):
        others = sorted((Fraction(best(it[:step])) for it in counted), reverse=not minimize)
        whole, rest = divmod(int(settings["percentile"]) * (len(others) - 1), 100)
        bar = others[whole]
        if rest:
            bar += (others[whole + 1] - bar) * Fraction(rest, 100)
        mine = Fraction(best(running[:step]))
        if mine > bar if minimize else mine < bar:
            return step
    return None


def patience_stop(
    settings: dict[str, float], objective: ObjectiveType, running: list[float]
) -> int | None:
    """The loop of Keras' EarlyStopping, but that exactly min_delta is enough."""
    best, wait = None, 0
    for step, value in enumerate(running, start=1):
        wait += 1
        gain = 0.0
        if best is not None:
            gain = best - value if objective is ObjectiveType.MINIMIZE else value - best
        if best is None or (gain > 0 and gain >= settings["min_delta"]):
            best, wait = value, 0
        if wait >= settings["patience"] and step >= settings["start_step"]:
            return step
    return None


@given(percentiles, objectives, st.lists(curves, max_size=6), curves)
def test_percentile_verdicts_are_those_of_the_reference(
    settings: dict[str, float],
    objective: ObjectiveType,
    completed: list[list[float]],
    running: list[float],
) -> None:
    rule = built(("percentile", settings), objective, completed, list(range(len(completed))))
    assert stop_of(rule, running) == percentile_stop(settings, objective, completed, running)


@given(patiences, objectives, curves)
def test_patience_verdicts_are_those_of_the_reference(
    settings: dict[str, float], objective: ObjectiveType, running: list[float]
) -> None:
    rule = built(("patience", settings), objective, [], [])
    assert stop_of(rule, running) == patience_stop(settings, objective, running)


@settings(max_examples=300)
@given(comparing_rules, objectives, st.lists(wild_curves, max_size=6), wild_curves, st.data())
def test_order_of_completion_and_repeats_change_no_verdict(
    chosen: Chosen,
    objective: ObjectiveType,
    completed: list[list[float]],
    running: list[float],
    data: st.DataObject,
) -> None:
    straight = list(range(len(completed)))
    shuffled = data.draw(st.permutations(straight))
    some = st.lists(st.sampled_from(straight), min_size=1, max_size=4) if straight else st.just([])
    repeats = data.draw(some)
    known = TrialEvidence(trial="r", attempt=1)
    one = decide(built(chosen, objective, completed, straight), known, reports_of(running))
    again = built(chosen, objective, completed, shuffled + repeats)
    assert repr(decide(again, known, reports_of(running))) == repr(one)


@given(chosen_rules, objectives, st.lists(wild_curves, max_size=5), wild_curves, st.data())
def test_order_grouping_and_repeats_of_reports_lead_to_the_same_evidence(
    chosen: Chosen,
    objective: ObjectiveType,
    completed: list[list[float]],
    running: list[float],
    data: st.DataObject,
) -> None:
    rule = built(chosen, objective, completed, list(range(len(completed))))
    reports = reports_of(running)
    known = TrialEvidence(trial="r", attempt=1)
    expected = decide(rule, known, reports).evidence
    extra = data.draw(st.lists(st.sampled_from(reports), max_size=4)) if reports else []
    waiting = list(data.draw(st.permutations(reports + extra)))
    while waiting:
        size = data.draw(st.integers(1, len(waiting)))
        group, waiting = waiting[:size], waiting[size:]
        known = decide(rule, known, group).evidence
    assert repr(known) == repr(expected)
