"""An experiment, as the experiment service records it: one small document."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from trialbus.kernel.conditions import Conditions
from trialbus.kernel.events import Event
from trialbus.kernel.spec import ExperimentSpec
from trialbus.kernel.suggestion import LookAhead, PointsRequest
from trialbus.kernel.trial import Assignment, MetricValues, TrialPhase
from trialbus.kernel.warm_start import WarmSource


class ExperimentPhase(StrEnum):
    """ENDING: the verdict is known, trials still run or wait to be written.
    DELETED: a tombstone, which keeps late messages from reviving it. ARCHIVED: deleted, but its
    trials, metrics and logs stay readable as long as those of finished experiments."""

    CREATED = "Created"
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    ENDING = "Ending"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    DELETING = "Deleting"
    DELETED = "Deleted"
    ARCHIVED = "Archived"


FINISHED_PHASES = frozenset({ExperimentPhase.SUCCEEDED, ExperimentPhase.FAILED})
SCHEDULING_PHASES = frozenset({ExperimentPhase.CREATED, ExperimentPhase.RUNNING})
# Gone for whoever asks by name.
GONE_PHASES = frozenset(
    {ExperimentPhase.DELETING, ExperimentPhase.DELETED, ExperimentPhase.ARCHIVED}
)


class OpenState(StrEnum):
    """ACTIVE: the launcher is to run this attempt (its run tells how far it is). PAUSED: no
    attempt lives; the experiment is suspended."""

    ACTIVE = "active"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTrial:
    """A trial that has begun and not ended. request: number of the request its point came from.
    stop: why its attempt must be stopped, "" if it need not. lost: attempts lost so far.
    opened_at: when this attempt was opened."""

    attempt: int
    state: OpenState
    request: int
    opened_at: float
    stop: str = ""
    lost: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosingTrial:
    """Counted, but perhaps not yet written to its own document. finished: its finish number.
    opened_at: when its last attempt was opened; None: not known."""

    attempt: int
    request: int
    phase: TrialPhase
    finished: int
    reason: str
    message: str
    closed_at: float
    opened_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Trials by how they ended."""

    succeeded: int = 0
    failed: int = 0
    killed: int = 0
    early_stopped: int = 0
    metrics_unavailable: int = 0

    @property
    def closed(self) -> int:
        return (
            self.succeeded
            + self.failed
            + self.killed
            + self.early_stopped
            + self.metrics_unavailable
        )

    @property
    def failures(self) -> int:
        """What `maxFailedTrialCount` limits."""
        return self.failed + self.metrics_unavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class BestTrial:
    """text: its objective where that is no number; value is NaN then."""

    index: int
    name: str
    value: float
    assignments: tuple[Assignment, ...]
    observation: tuple[MetricValues, ...]
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How an ending experiment will have ended."""

    phase: ExperimentPhase
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """Keys of `open` and `closing` are trial indices as text (a document's keys are text).

    alive_name: `<namespace>/<name>` while it is not deleted: unique. active: whether the sweep
    must look at it. source: the object as the user applied it. generation: of the spec.
    revision: of spec and metadata, which is all that users write. next_index: trials opened so
    far. finished: trials closed so far, which is also the newest finish number. commands: ids of
    the last ones taken, so that a late repeat does not undo what came after it. keep_history:
    whether its deletion archives it. ran_s: how long it was neither suspended nor over, up to
    `runs_since`, since when it is so again. spent: resource-seconds of the attempts that have
    ended. warm_trials: how many trials of others it began with; they are in a document of their
    own. waits_at: the watermark of an answer with too few points: the
    algorithm is asked again when more trials have ended. traceparent: the span that it was created
    in, if its trace is kept.
    """

    id: str
    version: int
    namespace: str
    name: str
    spec: ExperimentSpec
    source: Mapping[str, Any]
    seed: int
    phase: ExperimentPhase
    created_at: float
    alive_name: str | None
    active: bool = True
    generation: int = 1
    revision: int = 1
    conditions: Conditions = ()
    started_at: float | None = None
    completed_at: float | None = None
    next_index: int = 0
    finished: int = 0
    open: Mapping[str, OpenTrial] = field(default_factory=dict)
    closing: Mapping[str, ClosingTrial] = field(default_factory=dict)
    counts: Counts = Counts()
    best: BestTrial | None = None
    verdict: Verdict | None = None
    requests: tuple[PointsRequest, ...] = ()
    next_request: int = 1
    drawn: int = 0
    exhausted: bool = False
    waits_at: int | None = None
    look_ahead: LookAhead | None = None
    commands: tuple[str, ...] = ()
    keep_history: bool = False
    ran_s: float = 0.0
    runs_since: float | None = None
    spent: float = 0.0
    warm_sources: tuple[WarmSource, ...] = ()
    warm_trials: int = 0
    traceparent: str | None = None
    outbox: tuple[Event, ...] = ()
    outbox_at: float | None = None

    @property
    def ended(self) -> bool:
        return self.phase in FINISHED_PHASES

    def ran_until(self, now: float) -> float:
        """Seconds: what `max_duration_s` limits."""
        since = self.runs_since
        return self.ran_s if since is None else self.ran_s + max(0.0, now - since)

    @property
    def points_ahead(self) -> int:
        """Points that are drawn and answered but not yet trials."""
        return self.drawn - self.next_index
