"""When an experiment is over, and how it comes to its end."""

from dataclasses import replace

from trialbus.kernel.experiment import ExperimentPhase, OpenState, Verdict
from trialbus.kernel.limits import MAX_TOLD_ITEMS
from trialbus.kernel.run import StopReason
from trialbus.kernel.spec import AtGoal
from trialbus_experiment.core.closing import close_paused
from trialbus_experiment.core.draft import Draft
from trialbus_experiment.core.points import waits_for_results
from trialbus_experiment.core.spending import TIME_BUDGETS, time_verdict, verdict_of_time
from trialbus_experiment.core.states import Happening

# The reason of the verdict when a user ends an experiment.
STOPPED = StopReason.EXPERIMENT_STOPPED.value
_JUDGED = frozenset({ExperimentPhase.CREATED, ExperimentPhase.RUNNING, ExperimentPhase.SUSPENDED})


def judge_budget(draft: Draft) -> None:
    """Goal first, then failures, then time, then the number of trials, then the end of the
    space."""
    state = draft.state
    if state.phase not in _JUDGED:
        return
    spec = state.spec
    if state.best is not None and spec.objective.reached(state.best.value):
        draft.end_with(
            ExperimentPhase.SUCCEEDED,
            "ExperimentGoalReached",
            "Experiment has succeeded because Objective goal has reached",
        )
    elif _failed_too_often(draft):
        draft.end_with(
            ExperimentPhase.FAILED,
            "ExperimentFailed",
            "Experiment has failed because max failed count has reached",
        )
    elif (verdict := verdict_of_time(draft)) is not None:
        draft.end_with(*verdict)
    elif not draft.open and _budget_spent(draft):
        draft.end_with(
            ExperimentPhase.SUCCEEDED,
            "ExperimentMaxTrialsReached",
            "Experiment has succeeded because max trial count has reached",
        )
    elif not draft.open and state.exhausted and state.points_ahead == 0:
        draft.end_with(
            ExperimentPhase.SUCCEEDED,
            "ExperimentSuggestionEndReached",
            "Experiment has succeeded because suggestion service has reached the end",
        )
    elif not draft.open and state.points_ahead == 0 and waits_for_results(state):
        draft.end_with(
            ExperimentPhase.FAILED,
            "ExperimentFailed",
            "Suggestion has failed: the algorithm waits for results, but no trial runs",
        )


def _failed_too_often(draft: Draft) -> bool:
    """Katib's rule: 0 fails on the first failure, no limit never fails."""
    limit = draft.state.spec.max_failed_trial_count
    failures = draft.state.counts.failures
    return limit is not None and failures > 0 and failures >= limit


def _budget_spent(draft: Draft) -> bool:
    limit = draft.state.spec.max_trial_count
    return limit is not None and draft.state.next_index >= limit


def stop_open_trials(draft: Draft) -> None:
    """Ask the launcher to stop what must not go on."""
    reason = _stop_reason(draft)
    if reason is None:
        return
    asked = []
    for index, trial in list(draft.open.items()):
        if trial.state is OpenState.PAUSED:
            continue
        if trial.stop != reason.value:
            draft.open[index] = replace(trial, stop=reason.value)
            asked.append(index)
    if asked:
        told = asked[:MAX_TOLD_ITEMS]
        draft.emit("trials.stopping", reason=reason.value, count=len(asked), indices=told)
        draft.note(f"stopping {len(asked)}: {reason.value}")


def _stop_reason(draft: Draft) -> StopReason | None:
    state = draft.state
    if state.phase is ExperimentPhase.DELETING:
        return StopReason.DELETED
    if state.phase is ExperimentPhase.SUSPENDED:
        return StopReason.SUSPENDED
    if state.phase is not ExperimentPhase.ENDING or state.verdict is None:
        return None
    if state.verdict.reason == STOPPED:
        return StopReason.EXPERIMENT_STOPPED
    if state.verdict.reason in TIME_BUDGETS:
        return StopReason.BUDGET_SPENT
    if state.verdict.phase is ExperimentPhase.FAILED:
        return StopReason.EXPERIMENT_FAILED
    return StopReason.GOAL_REACHED if state.spec.at_goal is AtGoal.STOP else None


def end_if_complete(draft: Draft) -> None:
    """The last step, when no trial is open and every trial document is written."""
    state = draft.state
    if state.phase in (ExperimentPhase.ENDING, ExperimentPhase.DELETING):
        close_paused(draft)
    alive = [trial for trial in draft.open.values() if trial.state is not OpenState.PAUSED]
    if alive or draft.closing:
        return
    if state.phase is ExperimentPhase.DELETING:
        draft.move(Happening.HISTORY_KEPT if state.keep_history else Happening.DELETION_COMPLETE)
        if state.keep_history:
            _close_history(draft)
        draft.set(active=False, requests=(), completed_at=draft.now)
        draft.emit("experiment.deleted", reason="ExperimentDeleted")
        draft.note("deleted")
    elif state.phase is ExperimentPhase.SUSPENDED:
        draft.set(active=False)
    elif state.phase is ExperimentPhase.ENDING and state.verdict is not None:
        _end(draft)


def _close_history(draft: Draft) -> None:
    """What had not ended never will: whoever reads of it later sees why."""
    reason, message = "ExperimentDeleted", "Experiment was deleted"
    if any(it.type in ("Succeeded", "Failed") for it in draft.state.conditions):
        return
    draft.no_longer_restarting(reason, message)
    if any(it.type == "Running" and it.status for it in draft.state.conditions):
        draft.condition("Running", status=False, reason=reason, message=message)
    draft.condition("Deleted", reason=reason, message=message)


def _end(draft: Draft) -> None:
    verdict = draft.state.verdict
    assert verdict is not None
    if verdict.reason in TIME_BUDGETS:
        # A trial that was being stopped may have ended well before it was.
        phase, reason, message = time_verdict(draft, verdict.reason)
        verdict = Verdict(phase=phase, reason=reason, message=message)
        draft.set(verdict=verdict)
    succeeded = verdict.phase is ExperimentPhase.SUCCEEDED
    draft.move(Happening.SUCCESS_COMPLETE if succeeded else Happening.FAILURE_COMPLETE)
    draft.no_longer_restarting(verdict.reason, verdict.message)
    draft.condition("Running", status=False, reason=verdict.reason, message=verdict.message)
    draft.condition(
        "Succeeded" if succeeded else "Failed", reason=verdict.reason, message=verdict.message
    )
    # Points ahead are dropped: they were never trials.
    draft.set(
        active=False,
        requests=(),
        drawn=draft.state.next_index,
        exhausted=False,
        waits_at=None,
        completed_at=draft.now,
    )
    draft.emit(
        "experiment.succeeded" if succeeded else "experiment.failed",
        reason=verdict.reason,
        message=verdict.message,
    )
    draft.note(verdict.reason)
