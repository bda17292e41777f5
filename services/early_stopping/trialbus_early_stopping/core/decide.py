"""Whether a running trial goes on, at each of its reports."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from trialbus_early_stopping.core.evidence import Report, TrialEvidence, Verdict
from trialbus_early_stopping.core.rule import Curve, StoppingRule


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppingDecision:
    """`verdict`: to stop, or the last one that let the trial go on; None if no step was judged."""

    evidence: TrialEvidence
    verdict: Verdict | None


def decide(rule: StoppingRule, known: TrialEvidence, reports: Iterable[Report]) -> StoppingDecision:
    """Takes new reports into the evidence and judges each step that they complete, in order.

    Every step is judged once, against the trials that `rule` knows of; the first verdict to stop
    stands, whatever comes after it. Later reports are still kept: the trial may end well before
    the stop reaches it, and then counts as completed.
    """
    evidence = known.with_reports(reports)
    if evidence.verdict is not None or evidence.judged == len(evidence.values):
        return StoppingDecision(evidence=evidence, verdict=evidence.verdict)
    curve = Curve(evidence.values, rule.objective, evidence.trial)
    latest: Verdict | None = None
    for step in range(evidence.judged + 1, len(evidence.values) + 1):
        latest = rule.judge(curve, step) or latest
        if latest is not None and latest.stop:
            evidence = replace(evidence, judged=step, verdict=latest)
            return StoppingDecision(evidence=evidence, verdict=latest)
    return StoppingDecision(evidence=replace(evidence, judged=len(evidence.values)), verdict=latest)
