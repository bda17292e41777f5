"""What an open trial waits for, told by its attempt and its run."""

from enum import StrEnum

from trialbus.kernel.experiment import ClosingTrial, OpenState, OpenTrial
from trialbus.kernel.run import Run, RunPhase
from trialbus.kernel.spec import TrialsBy
from trialbus.kernel.trial import Trial
from trialbus_gateway.core.stories import WAITING, Step, for_s


class TrialState(StrEnum):
    """What an open trial looks like to people; a closed one shows its phase."""

    PENDING = "Pending"
    RUNNING = "Running"
    PAUSED = "Paused"


def open_state(open_: OpenTrial, run: Run | None) -> TrialState:
    """Running: its run is there and has not ended. run: of this attempt."""
    if open_.state is OpenState.PAUSED:
        return TrialState.PAUSED
    return TrialState.RUNNING if run is not None and not run.ended else TrialState.PENDING


def state_text(trial: Trial, open_: OpenTrial | ClosingTrial | None, run: Run | None) -> str:
    """A trial is counted a moment before its own document says so."""
    if isinstance(open_, ClosingTrial):
        return open_.phase.value
    if trial.ended or open_ is None:
        return trial.phase.value
    return open_state(open_, run).value


def wait_of(name: str, open_: OpenTrial, run: Run | None, by: TrialsBy, now: float) -> Step:
    """run: of this attempt, None while nobody has taken it. by: who runs its trials."""
    attempt = f"attempt {open_.attempt} of {name}"
    if open_.state is OpenState.PAUSED:
        return _wait(open_.opened_at, "Suspended", f"{name} waits until the experiment is resumed")
    if run is None:
        waited = f"{attempt} has waited {for_s(open_.opened_at, now)}"
        if by is TrialsBy.WORKERS:
            return _wait(open_.opened_at, "WaitsForWorker", f"{waited} for a worker to ask for it")
        message = f"{waited} for a launcher to start it"
        return _wait(open_.opened_at, "WaitsForLauncher", message)
    if run.phase is RunPhase.LOST:
        at = _end_of(run)
        return _wait(at, "AttemptLost", f"{attempt} was lost: waits for its next attempt")
    if run.ended:
        at = _end_of(run)
        waited = for_s(at, now)
        message = f"{attempt} ended {waited} ago: waits until all its metrics are stored"
        return _wait(at, "WaitsForMetrics", message)
    since = run.started_at if run.started_at is not None else run.created_at
    if open_.stop:
        message = f"{attempt} runs on {run.host} and is being stopped: {open_.stop}"
        return _wait(since, open_.stop, message)
    if run.message:
        # What its cluster says, as `<reason>: <text>`.
        reason, colon, _ = run.message.partition(":")
        known = reason if colon and reason.isalnum() else "WaitsOnCluster"
        return _wait(since, known, f"{attempt} waits: {run.message}")
    return _wait(since, "Running", f"{attempt} has run on {run.host} for {for_s(since, now)}")


def _wait(at: float, reason: str, message: str) -> Step:
    return Step(at=at, event=WAITING, reason=reason, message=message)


def _end_of(run: Run) -> float:
    return run.finished_at if run.finished_at is not None else run.created_at
