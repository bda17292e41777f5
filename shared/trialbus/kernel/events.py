"""The closed set of events: what each means, who says it, who hears it.

An event's type is `<aggregate>.<past participle>`; on the wire `io.trialbus.<type>.v1`.
A *notice* is a hint for services, one per experiment and commit: the documents are the fact, and
a sweep repeats what a lost notice would have started. A *record* is kept in the outbox of the
document that it tells of until the stream has it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    RECORD = "record"
    NOTICE = "notice"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventType:
    name: str
    kind: Kind
    producer: str
    consumers: tuple[str, ...]
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened. `id` is made once by the originator and stable over retries."""

    id: str
    type: str
    uid: str
    namespace: str
    experiment: str
    at: float
    trial: str | None = None
    reason: str = ""
    message: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    traceparent: str | None = None


def _record(name: str, meaning: str, *consumers: str, producer: str = "experiment") -> EventType:
    return EventType(
        name=name, kind=Kind.RECORD, producer=producer, consumers=consumers, meaning=meaning
    )


def _notice(name: str, producer: str, meaning: str, *consumers: str) -> EventType:
    return EventType(
        name=name, kind=Kind.NOTICE, producer=producer, consumers=consumers, meaning=meaning
    )


_TYPES = (
    # The life of an experiment.
    _record("experiment.created", "an experiment was accepted"),
    _record("experiment.started", "the first trials of an experiment were opened"),
    _record("experiment.suspended", "an experiment was suspended: its trials are being stopped"),
    _record("experiment.resumed", "a suspended experiment goes on"),
    _record("experiment.edited", "an experiment's specification or metadata was changed"),
    _record("experiment.restarted", "a finished experiment goes on with a larger budget"),
    _record("experiment.ending", "an experiment has its verdict and stops or drains its trials"),
    _record("experiment.succeeded", "an experiment ended: goal, trial count or end of the space"),
    _record("experiment.failed", "an experiment ended: too many failed trials, or no suggestions"),
    _record(
        "experiment.deleted",
        "an experiment was deleted: owners remove what they keep of it",
        "suggestion",
        "trial_launcher",
        "metrics_collector",
        "early_stopping",
    ),
    # The life of a trial.
    _record(
        "trial.created",
        "a trial was opened with its parameters; of one for workers it is told a little later",
    ),
    _record("trial.retried", "an attempt was lost and the trial starts again as the next attempt"),
    _record("trial.succeeded", "a trial ended well and its objective was observed"),
    _record("trial.failed", "a trial's command failed"),
    _record("trial.metrics_unavailable", "a trial ended but its objective was not observed"),
    _record("trial.early_stopped", "a trial was stopped by a stopping rule"),
    _record("trial.killed", "a trial was stopped because its experiment ended"),
    _notice("command.refused", "experiment", "a command over the bus was refused, with why"),
    # What wakes the services.
    _record("suggestion.requested", "an experiment asks for points", "suggestion"),
    _notice("suggestion.proposed", "suggestion", "points were drawn", "experiment"),
    _notice("suggestion.refused", "suggestion", "no points can be drawn, with why", "experiment"),
    _record("trials.opened", "trials wait for a launcher", "trial_launcher"),
    _record("trials.stopping", "trials of an experiment must be stopped", "trial_launcher"),
    _notice("run.started", "trial_launcher", "attempts run"),
    _notice(
        "run.finished",
        "trial_launcher",
        "attempts ended: exit code or signal, and why they were stopped",
        "experiment",
    ),
    _notice("run.lost", "trial_launcher", "attempts ended without a result", "experiment"),
    _notice("metric.recorded", "metrics_collector", "metric points were stored", "early_stopping"),
    _notice(
        "observation.recorded",
        "metrics_collector",
        "all metric points of ended attempts are stored",
    ),
    _notice(
        "trial.stop_requested",
        "early_stopping",
        "a stopping rule wants a trial stopped: rule, step, evidence",
        "trial_launcher",
    ),
)

EVENT_TYPES: Mapping[str, EventType] = {event_type.name: event_type for event_type in _TYPES}

# What tells people of experiments and trials; the rest wakes services.
PUBLIC_TYPES = tuple(
    name
    for name, it in EVENT_TYPES.items()
    if name.startswith(("experiment.", "trial.")) and it.kind is Kind.RECORD
)


def heard_by(service: str) -> tuple[str, ...]:
    """The event types that wake `service`."""
    return tuple(name for name, kind in EVENT_TYPES.items() if service in kind.consumers)
