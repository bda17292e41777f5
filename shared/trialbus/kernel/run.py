"""A run: one attempt of one trial, as its launcher records it."""

from dataclasses import dataclass
from enum import StrEnum

from trialbus.kernel.trial import MetricValues


class RunPhase(StrEnum):
    """RUNNING is committed before the process is spawned: who finds no process spawns it."""

    RUNNING = "Running"
    FINISHED = "Finished"
    LOST = "Lost"


ENDED_PHASES = frozenset({RunPhase.FINISHED, RunPhase.LOST})


class StopReason(StrEnum):
    """Why a run was stopped by us. The text is what the launcher keeps with the run."""

    GOAL_REACHED = "GoalReached"
    EXPERIMENT_FAILED = "ExperimentFailed"
    EXPERIMENT_STOPPED = "ExperimentStopped"
    BUDGET_SPENT = "BudgetSpent"
    SUSPENDED = "Suspended"
    DELETED = "Deleted"
    EARLY_STOPPED = "EarlyStopped"
    RELEASED = "Released"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    OUTPUT_LIMIT = "OutputLimit"


class RunVerdict(StrEnum):
    """What the conditions of its trial template say of an ended run."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    UNDECIDED = "Undecided"  # neither of them matches


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """exit_code: 0..255, None when a signal ended it. output_bytes: length of its whole output;
    its metrics are complete when they are stored up to there. log_tail: the last lines. verdict:
    None where the conditions are the usual ones of a Job, which the exit code answers. job_reason,
    job_message: of what matched. looked: where its metrics were looked for and what was there, told
    where its launcher saw no value of the objective.

    Of a trial that a worker asked for: worker, ask (the id of its ask), lease_s, and lease_until:
    when it is lost, None once it has ended. told: the values that came with its end, if nothing was
    reported before it.

    traceparent: as its experiment has it, if this trial is in its trace.

    Of a run on a cluster: holder, the uid of the pod that has claimed it: no other may run its
    command. Its claim raises `version`."""

    id: str
    uid: str
    index: int
    attempt: int
    version: int
    namespace: str
    experiment: str
    trial: str
    phase: RunPhase
    host: str
    boot_id: str
    created_at: float
    started_at: float | None = None
    finished_at: float | None = None
    exit_code: int | None = None
    signal: int | None = None
    stop_reason: str = ""
    message: str = ""
    log_tail: str = ""
    output_bytes: int = 0
    verdict: RunVerdict | None = None
    job_reason: str = ""
    job_message: str = ""
    looked: str = ""
    worker: str = ""
    ask: str | None = None
    lease_s: float = 0.0
    lease_until: float | None = None
    told: tuple[MetricValues, ...] | None = None
    holder: str = ""
    traceparent: str | None = None

    @property
    def ended(self) -> bool:
        return self.phase in ENDED_PHASES

    @property
    def leased(self) -> bool:
        """Whether a worker asked for it."""
        return self.lease_s > 0


def is_told_running(phase: RunPhase, started_at: float | None, stop_reason: str) -> bool:
    """Whether the trial of such a run is told to be running. It still is when its run is over and
    what it observed is not counted yet; it is not when the run was suspended or lost, and comes
    again."""
    if started_at is None:
        return False
    over = phase is RunPhase.FINISHED and stop_reason != StopReason.SUSPENDED
    return over or phase is RunPhase.RUNNING
