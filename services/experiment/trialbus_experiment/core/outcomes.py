"""How one trial ended: judged from its run, its observation and the experiment's wishes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from trialbus.kernel.limits import (
    MAX_LOST_ATTEMPTS,
    MAX_LOST_LEASES,
    MAX_MESSAGE_CHARS,
    OBSERVATION_DEADLINE_S,
)
from trialbus.kernel.metric_lines import described
from trialbus.kernel.objective import Objective
from trialbus.kernel.run import Run, RunPhase, RunVerdict, StopReason
from trialbus.kernel.trial import TrialPhase
from trialbus_experiment.core.observed import SeenObservation


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The trial is over. value: its objective; None: not observed."""

    phase: TrialPhase
    reason: str
    message: str
    value: float | str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused:
    """Its attempt was stopped by a suspension; it starts again as the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Its attempt left no result; it starts again as the next. counts: against what is borne."""

    message: str
    counts: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Not over yet."""


RunOutcome = Ended | Paused | Lost | Waiting

# The reason of a trial whose attempts were lost too often.
TRIAL_LOST = "TrialLost"

_KILLING = frozenset(
    {
        StopReason.GOAL_REACHED.value,
        StopReason.EXPERIMENT_FAILED.value,
        StopReason.EXPERIMENT_STOPPED.value,
        StopReason.BUDGET_SPENT.value,
        StopReason.DELETED.value,
        StopReason.SUSPENDED.value,
    }
)


def judge(
    run: Run,
    observation: SeenObservation | None,
    *,
    objective: Objective,
    lost_before: int,
    stop_wanted: str,
    now: float,
    filters: Sequence[str] = (),
) -> RunOutcome:
    """The outcome of an attempt. filters: the user's own, to say what was looked for.

    What we stopped was stopped, even if the command took the signal and exited with 0: it may not
    have done its work. What ended by itself has succeeded with exit code 0, or as the conditions
    of its template say. A run is judged only when all its metrics are stored, or a deadline later:
    what is missing then is said.
    """
    if run.phase is RunPhase.LOST:
        return _lost(run, lost_before, stop_wanted)
    if not run.ended:
        return Waiting()
    suspended = StopReason.SUSPENDED.value
    if run.stop_reason == suspended and stop_wanted in (suspended, ""):
        return Paused()
    finished_at = run.finished_at if run.finished_at is not None else now
    if observation is None and now - finished_at < OBSERVATION_DEADLINE_S:
        return Waiting()
    if run.verdict is RunVerdict.SUCCEEDED or _by_itself(run):
        return _succeeded(run, observation, objective, filters)
    if run.verdict is not None:
        return _refused(run)
    if run.stop_reason == StopReason.EARLY_STOPPED.value:
        return Ended(
            phase=TrialPhase.EARLY_STOPPED,
            reason="TrialEarlyStopped",
            message="Trial is early stopped",
            value=_value(observation, objective),
        )
    if run.stop_reason in _KILLING:
        return _killed(run.stop_reason)
    return _failed(run)


def _value(observation: SeenObservation | None, objective: Objective) -> float | str | None:
    return None if observation is None else observation.counted(objective)


def _by_itself(run: Run) -> bool:
    return run.verdict is None and run.exit_code == 0 and not run.stop_reason


def _succeeded(
    run: Run, observation: SeenObservation | None, objective: Objective, filters: Sequence[str]
) -> RunOutcome:
    value = _value(observation, objective)
    if value is not None:
        return _of_job(
            run,
            Ended(
                phase=TrialPhase.SUCCEEDED,
                reason="TrialSucceeded",
                message="Trial has succeeded",
                value=value,
            ),
        )
    why = (
        f"its metrics were not stored within {OBSERVATION_DEADLINE_S:g} s"
        if observation is None
        else _missing(run.looked, observation, objective, filters)
    )
    return _of_job(
        run,
        Ended(
            phase=TrialPhase.METRICS_UNAVAILABLE,
            reason="MetricsUnavailable",
            message=f"Metrics are not available: {why}",
        ),
    )


def _refused(run: Run) -> Ended:
    """A condition says that it failed, or none says anything, which must not go on for ever."""
    message = "Trial has failed"
    if run.message:
        message += f": {run.message}"
    if run.verdict is RunVerdict.UNDECIDED:
        message += (
            f": it ended ({_how(run)}), but neither successCondition nor failureCondition "
            "matches its Job"
        )
    return _of_job(run, Ended(phase=TrialPhase.FAILED, reason="TrialFailed", message=message))


def _of_job(run: Run, ended: Ended) -> Ended:
    """With what the condition that matched tells of itself, in Katib's words."""
    reason = f". Job reason: {run.job_reason}" if run.job_reason else ""
    message = f". Job message: {run.job_message}" if run.job_message else ""
    return replace(
        ended,
        reason=f"{ended.reason}{reason}"[:MAX_MESSAGE_CHARS],
        message=f"{ended.message}{message}"[:MAX_MESSAGE_CHARS],
    )


def _missing(
    looked: str, observation: SeenObservation, objective: Objective, filters: Sequence[str]
) -> str:
    """What was missed, what was there of the other metrics, and where it was looked for."""
    missed = f"it reported no value of {objective.metric!r}"
    reported = [repr(values.name) for values in observation.metrics]
    seen = f", only of {', '.join(reported)}" if reported else ""
    if not seen and objective.additional:
        seen = f", nor of {', '.join(map(repr, objective.additional))}"
    return f"{missed}{seen}; {looked or f'looked for {described(filters, objective.metric)}'}"


def _lost(run: Run, lost_before: int, stop_wanted: str) -> RunOutcome:
    if stop_wanted in _KILLING - {StopReason.SUSPENDED.value}:
        return _killed(stop_wanted)
    if stop_wanted == StopReason.SUSPENDED.value:
        return Paused()
    if run.stop_reason == StopReason.RELEASED.value:
        return Lost(message=run.message, counts=False)
    if lost_before < (MAX_LOST_LEASES if run.leased else MAX_LOST_ATTEMPTS):
        return Lost(message=run.message)
    return Ended(
        phase=TrialPhase.FAILED,
        reason=TRIAL_LOST,
        message=f"Trial was lost {lost_before + 1} times: {run.message}"[:MAX_MESSAGE_CHARS],
    )


def _killed(stop_reason: str) -> Ended:
    return Ended(
        phase=TrialPhase.KILLED,
        reason=f"TrialKilled.{stop_reason}",
        message=f"Trial was stopped: {stop_reason}",
    )


def _failed(run: Run) -> Ended:
    detail = f" ({run.message})" if run.message else ""
    return Ended(
        phase=TrialPhase.FAILED,
        reason="TrialFailed",
        message=f"Trial has failed: {_how(run)}{detail}"[:MAX_MESSAGE_CHARS],
    )


def _how(run: Run) -> str:
    if run.stop_reason:
        return f"stopped: {run.stop_reason}"
    return f"exit code {run.exit_code}" if run.signal is None else f"ended by signal {run.signal}"
