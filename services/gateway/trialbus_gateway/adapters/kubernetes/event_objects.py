"""The steps of a story as Kubernetes' events, under Katib's reasons where it has them."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from trialbus.contracts.katib.times import rfc3339
from trialbus_gateway.core.rule_failures import RULE_FAILED
from trialbus_gateway.core.silences import SILENCES
from trialbus_gateway.core.stories import STALLS, WAITING, Step, Story

Object = dict[str, Any]

# Our event -> Katib's reason and the sentence that it begins with.
_KATIB = {
    "taken": ("JobCreated", "Job {name} has been created"),
    "started": ("JobRunning", "Job {name} is running"),
    "succeeded": ("JobSucceeded", "Job {name} has succeeded"),
    "failed": ("JobFailed", "Job {name} has failed"),
    "metrics unavailable": ("MetricsUnavailable", "Metrics are not available for Job {name}"),
}
_REASONS = {
    "point drawn": "PointDrawn",
    "ended": "AttemptEnded",
    "lost": "AttemptLost",
    "judged": "Judged",
    "trials": "TrialsSoFar",
    "verdict": "Verdict",
}
_BAD = frozenset({"failed", "lost", "stalled", "trial failed", "metrics unavailable", RULE_FAILED})
_BAD_REASONS = STALLS | SILENCES
# What Job and Pod tell of their trial's story.
_OF_A_RUN = frozenset({"taken", "started", "judged", "ended", "lost", WAITING})
_TOLD_BY = {
    "Pod": _OF_A_RUN,
    "Job": _OF_A_RUN | {"succeeded", "failed", "early stopped", "killed", "metrics unavailable"},
}
# Shorter waits are the way of things. That something runs has been told when it began.
_PATIENCE_S = 2.0
_RUNS = "Running"
_NAME_CHARS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Involved:
    """The object that events are about."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str


def events_of(involved: Involved, story: Story, now: float) -> Iterator[Object]:
    """In the order of the story; a wait lasts until now."""
    told = _TOLD_BY.get(involved.kind)
    for step in story.chain:
        is_news = step.event != WAITING or (step.reason != _RUNS and now - step.at >= _PATIENCE_S)
        if is_news and (told is None or step.event in told):
            yield _event(involved, step, now)


def _event(involved: Involved, step: Step, now: float) -> Object:
    last_at = max(step.at, now) if step.event == WAITING else step.at
    reason, message = _told(involved, step)
    # A wait is told anew again and again: it stays the same event.
    words = (involved.uid, involved.kind, step.event, reason, repr(step.at))
    digest = hashlib.sha256("\0".join(words).encode()).hexdigest()[:_NAME_CHARS]
    source = "experiment-controller" if involved.kind == "Experiment" else "trial-controller"
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{involved.name}.{digest}",
            "namespace": involved.namespace,
            "uid": f"{involved.uid}.{digest}",
            "resourceVersion": str(int(last_at * 1e6)),
            "creationTimestamp": rfc3339(step.at),
        },
        "involvedObject": {
            "apiVersion": involved.api_version,
            "kind": involved.kind,
            "namespace": involved.namespace,
            "name": involved.name,
            "uid": involved.uid,
        },
        "reason": reason,
        "message": message,
        "type": "Warning" if _is_bad(step) else "Normal",
        "count": 1,
        "firstTimestamp": rfc3339(step.at),
        "lastTimestamp": rfc3339(last_at),
        "eventTime": None,
        "source": {"component": source},
        "reportingComponent": source,
        "reportingInstance": "",
    }


def _told(involved: Involved, step: Step) -> tuple[str, str]:
    if involved.kind != "Experiment" and step.event in _KATIB:
        reason, sentence = _KATIB[step.event]
        return reason, f"{sentence.format(name=involved.name)}: {step.message}"
    # "TrialFailed. Job reason: X": the first word is a column, the rest is in the message.
    reason = step.reason.partition(".")[0].strip()
    if step.event in _REASONS and (not reason or step.event == "point drawn"):
        reason = _REASONS[step.event]
    return reason or step.event.title().replace(" ", ""), step.message


def _is_bad(step: Step) -> bool:
    return step.event in _BAD or step.reason in _BAD_REASONS
