"""A trial: one evaluation of one point, as the experiment service records it."""

import math
from dataclasses import dataclass
from enum import StrEnum

from trialbus.kernel.conditions import Conditions
from trialbus.kernel.events import Event
from trialbus.kernel.objective import Strategy


class TrialPhase(StrEnum):
    """CREATED until it ends; whether it runs is told by its run."""

    CREATED = "Created"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    KILLED = "Killed"
    EARLY_STOPPED = "EarlyStopped"
    METRICS_UNAVAILABLE = "MetricsUnavailable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricValues:
    """One metric's summary over a trial, as Katib's observation shows it. min, max: of numbers, NaN
    without one. text: the latest value where that is no number; latest is NaN then."""

    name: str
    min: float
    max: float
    latest: float
    text: str = ""

    @property
    def has_numbers(self) -> bool:
        return not (self.text and math.isnan(self.min))

    def counted(self, strategy: Strategy) -> float | str:
        """The value that the trial is compared by. Of a metric without numbers, and where the
        latest one counts, it may be a text, as in Katib."""
        if self.text and (strategy is Strategy.LATEST or not self.has_numbers):
            return self.text
        if strategy is Strategy.LATEST:
            return self.latest
        return self.min if strategy is Strategy.MIN else self.max


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """index: 0-based order of opening. finished: 1-based order of closing, None while open;
    algorithms learn in this order. value: the objective by its strategy, None if not observed or
    a text.
    labels: what its algorithm marked it with. parent: index of the trial whose checkpoint it goes
    on from; None: it begins anew."""

    id: str
    uid: str
    version: int
    namespace: str
    experiment: str
    index: int
    name: str
    phase: TrialPhase
    assignments: tuple[Assignment, ...]
    conditions: Conditions
    created_at: float
    attempt: int = 1
    started_at: float | None = None
    completed_at: float | None = None
    finished: int | None = None
    value: float | None = None
    observation: tuple[MetricValues, ...] = ()
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    signal: int | None = None
    log_tail: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    parent: int | None = None
    outbox: tuple[Event, ...] = ()
    outbox_at: float | None = None

    @property
    def ended(self) -> bool:
        return self.phase is not TrialPhase.CREATED
