"""What is kept of a run: its objective by step, how far it was judged, and the verdict.

Pure. A document is a function of the run's chunks up to `to_byte` and of what was known of
completed trials when each step was judged; once it holds a verdict, it does not change.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from trialbus.contracts.documents import DocumentCodec
from trialbus.kernel.errors import InvariantBroken
from trialbus.kernel.evidence import StoppingVerdict
from trialbus.kernel.limits import MAX_EVIDENCE_STEPS
from trialbus_early_stopping.app.rule_guard import TimeLimit, check_verdict, guarded, no_limit
from trialbus_early_stopping.core.decide import decide
from trialbus_early_stopping.core.evidence import Report, TrialEvidence, Verdict
from trialbus_early_stopping.core.rule import StoppingRule


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What chunks say of a run's objective, up to `to_byte`. times: of the reports. final: nothing
    follows."""

    reports: tuple[Report, ...]
    to_byte: int
    final: bool
    times: tuple[float, ...] = ()

    def reported_at(self, step: int) -> float | None:
        """None: it was known before."""
        pairs = zip(self.reports, self.times, strict=False)
        return next((at for report, at in pairs if report.step == step), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvidence:
    """version: 0 until it is stored. to_byte: the chunks up to there are in it. complete: nothing
    that follows matters. values: of steps 1, 2, ... judged: the last step that was judged."""

    id: str
    uid: str
    version: int
    trial: str
    attempt: int
    to_byte: int = 0
    complete: bool = False
    values: tuple[float, ...] = ()
    judged: int = 0
    verdict: StoppingVerdict | None = None
    updated_at: float = 0.0


RUN_EVIDENCE = DocumentCodec(RunEvidence)


def learn(kept: RunEvidence, news: News) -> RunEvidence:
    """The evidence of a run that is not to be judged any more: it only counts when completed."""
    return _with(kept, _known(kept).with_reports(news.reports), news)


def judge(
    name: str,
    rule: StoppingRule,
    kept: RunEvidence,
    news: News,
    now: float,
    limit: TimeLimit = no_limit,
) -> RunEvidence:
    """Take what is new of a running trial, and judge each step that is new by the rule `name`.

    Where its output is complete the run has ended by itself: there is nothing to stop. Raises
    RuleFailed.
    """
    if news.final or kept.verdict is not None:
        return learn(kept, news)
    with guarded(limit):
        decision = decide(rule, _known(kept), news.reports)
        verdict = decision.evidence.verdict
        if verdict is not None:
            check_verdict(verdict)
    after = _with(kept, decision.evidence, news)
    if verdict is None:
        return after
    return replace(after, verdict=_stored(name, verdict, news.to_byte, now))


def must_be_stored(before: RunEvidence, after: RunEvidence) -> bool:
    """Whether more is known than bytes without reports: those are soon read again."""
    return len(after.values) > len(before.values) or after.verdict is not before.verdict


def _known(kept: RunEvidence) -> TrialEvidence:
    return TrialEvidence(
        trial=kept.trial, attempt=kept.attempt, values=kept.values, judged=kept.judged
    )


def _with(kept: RunEvidence, evidence: TrialEvidence, news: News) -> RunEvidence:
    if evidence.ahead:
        raise InvariantBroken(f"the chunks of {kept.id} skip a step: {evidence.ahead[0]}")
    return replace(
        kept,
        to_byte=news.to_byte,
        complete=news.final or len(evidence.values) >= MAX_EVIDENCE_STEPS,
        values=evidence.values,
        judged=evidence.judged,
    )


def _stored(rule: str, verdict: Verdict, to_byte: int, now: float) -> StoppingVerdict:
    seen = verdict.evidence
    return StoppingVerdict(
        rule=rule,
        stop=True,
        step=verdict.step,
        reason=verdict.reason,
        best=seen.best,
        median=seen.median,
        completed=seen.completed,
        watermark=seen.watermark,
        to_byte=to_byte,
        decided_at=now,
        numbers=seen.numbers,
    )


def reports_of(first_step: int, values: Sequence[float]) -> list[Report]:
    return [Report(step, value) for step, value in enumerate(values, start=first_step)]
