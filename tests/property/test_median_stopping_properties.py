"""Verdicts depend on the set of completed trials and on the reports, not on how they came."""

import math
from statistics import fmean, median

from hypothesis import given
from hypothesis import strategies as st

from trialbus.kernel.objective import ObjectiveType
from trialbus_early_stopping.core.catalogue import MedianStopSettings
from trialbus_early_stopping.core.decide import decide
from trialbus_early_stopping.core.evidence import Report, TrialEvidence
from trialbus_early_stopping.core.median import MedianRule

# Eighths have exact sums, so the reference may add in another way.
numbers = st.integers(-800, 800).map(lambda n: n / 8)
curves = st.lists(numbers, max_size=8)
wild_curves = st.lists(numbers | st.sampled_from([math.nan, math.inf, -math.inf]), max_size=8)
objectives = st.sampled_from(ObjectiveType)
rules = st.builds(
    MedianStopSettings, min_trials_required=st.integers(1, 4), start_step=st.integers(1, 4)
)


def built(
    settings: MedianStopSettings,
    objective: ObjectiveType,
    completed: list[list[float]],
    order: list[int],
) -> MedianRule:
    rule = MedianRule(settings, objective)
    for number in order:
        rule.add(f"t{number}", completed[number], finished=number)
    return rule


def reports_of(curve: list[float]) -> list[Report]:
    return [Report(step, value) for step, value in enumerate(curve, start=1)]


def reference_stop(
    settings: MedianStopSettings,
    objective: ObjectiveType,
    completed: list[list[float]],
    running: list[float],
) -> int | None:
    """The paper's sentence, word for word and slowly."""
    minimize = objective is ObjectiveType.MINIMIZE
    counted = [curve for curve in completed if curve]
    if len(counted) < settings.min_trials_required:
        return None
    for step in range(settings.start_step, len(running) + 1):
        middle = median(fmean(curve[:step]) for curve in counted)
        best = min(running[:step]) if minimize else max(running[:step])
        if best > middle if minimize else best < middle:
            return step
    return None


@given(rules, objectives, st.lists(curves, max_size=6), curves)
def test_verdicts_are_those_of_the_papers_rule(
    settings: MedianStopSettings,
    objective: ObjectiveType,
    completed: list[list[float]],
    running: list[float],
) -> None:
    rule = built(settings, objective, completed, list(range(len(completed))))
    verdict = decide(
        rule, TrialEvidence(trial="r", attempt=1), reports_of(running)
    ).evidence.verdict
    expected = reference_stop(settings, objective, completed, running)
    assert (None if verdict is None else verdict.step) == expected


@given(rules, objectives, st.lists(wild_curves, max_size=6), wild_curves, st.data())
def test_order_of_completion_and_repeats_change_no_verdict(
    settings: MedianStopSettings,
    objective: ObjectiveType,
    completed: list[list[float]],
    running: list[float],
    data: st.DataObject,
) -> None:
    straight = list(range(len(completed)))
    shuffled = data.draw(st.permutations(straight))
    repeats = data.draw(st.lists(st.sampled_from(straight), max_size=4)) if straight else []
    known = TrialEvidence(trial="r", attempt=1)
    one = decide(built(settings, objective, completed, straight), known, reports_of(running))
    other = decide(
        built(settings, objective, completed, shuffled + repeats), known, reports_of(running)
    )
    assert repr(one) == repr(other)


@given(rules, objectives, st.lists(wild_curves, max_size=5), wild_curves, st.data())
def test_order_grouping_and_repeats_of_reports_lead_to_the_same_evidence(
    settings: MedianStopSettings,
    objective: ObjectiveType,
    completed: list[list[float]],
    running: list[float],
    data: st.DataObject,
) -> None:
    rule = built(settings, objective, completed, list(range(len(completed))))
    reports = reports_of(running)
    known = TrialEvidence(trial="r", attempt=1)
    expected = decide(rule, known, reports).evidence
    extra = data.draw(st.lists(st.sampled_from(reports), max_size=4)) if reports else []
    waiting = list(data.draw(st.permutations(reports + extra)))
    verdicts = []
    while waiting:
        size = data.draw(st.integers(1, len(waiting)))
        group, waiting = waiting[:size], waiting[size:]
        known = decide(rule, known, group).evidence
        verdicts.append(known.verdict)
    assert repr(known) == repr(expected)
    stops = [verdict for verdict in verdicts if verdict is not None]
    assert all(stop == stops[0] for stop in stops)
