"""What the launcher is told of new verdicts: hints, for the evidence documents say it too."""

from collections.abc import Sequence
from typing import Any

from trialbus.kernel.events import Event
from trialbus.kernel.limits import MAX_MESSAGE_CHARS
from trialbus.kernel.run import StopReason
from trialbus_early_stopping.app.evidence_documents import RunEvidence
from trialbus_early_stopping.app.views import WatchedExperiment

# About 500 bytes each, so that a notice is far smaller than a message may be.
_VERDICTS_PER_NOTICE = 100


def stop_requests(
    experiment: WatchedExperiment, stopped: Sequence[RunEvidence], now: float
) -> list[Event]:
    """One notice for the verdicts of one commit (more where they would not fit)."""
    groups = [
        stopped[start : start + _VERDICTS_PER_NOTICE]
        for start in range(0, len(stopped), _VERDICTS_PER_NOTICE)
    ]
    return [_notice(experiment, group, now) for group in groups]


def _notice(experiment: WatchedExperiment, group: Sequence[RunEvidence], now: float) -> Event:
    messages = [f"{it.trial}: {it.verdict.reason}" for it in group if it.verdict is not None]
    return Event(
        # A run has one verdict for ever, so this is said once.
        id=f"{group[0].id}.trial.stop_requested",
        type="trial.stop_requested",
        uid=experiment.id,
        namespace=experiment.namespace,
        experiment=experiment.name,
        at=now,
        reason=StopReason.EARLY_STOPPED.value,
        message="; ".join(messages)[:MAX_MESSAGE_CHARS],
        data={"rule": _rule(experiment), "trials": [_told(it) for it in group]},
    )


def _rule(experiment: WatchedExperiment) -> str:
    rule = experiment.spec.early_stopping
    return "" if rule is None else rule.name


def _told(run: RunEvidence) -> dict[str, Any]:
    verdict = run.verdict
    if verdict is None:
        return {"trial": run.trial, "attempt": run.attempt}
    return {
        "trial": run.trial,
        "attempt": run.attempt,
        "step": verdict.step,
        "reason": verdict.reason,
        "evidence": {
            "best": verdict.best,
            "median": verdict.median,
            "completed": verdict.completed,
            "watermark": verdict.watermark,
            "numbers": dict(verdict.numbers),
        },
    }
