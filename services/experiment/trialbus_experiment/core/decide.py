"""The heart of the experiment service: what follows from what is seen.

Pure: the same state, observations and time give the same decision. Data flows down this page:
results come in, trials close, the budget is judged, trials open, points are asked for.
"""

from dataclasses import replace

from trialbus.kernel.experiment import Experiment, ExperimentPhase, OpenState, OpenTrial
from trialbus.kernel.limits import MAX_TOLD_ITEMS
from trialbus.kernel.spec import TrialsBy
from trialbus_experiment.core.closing import close, reopened
from trialbus_experiment.core.draft import Decision, Draft
from trialbus_experiment.core.ending import end_if_complete, judge_budget, stop_open_trials
from trialbus_experiment.core.observed import Observed
from trialbus_experiment.core.outcomes import Ended, Lost, Paused, Waiting, judge
from trialbus_experiment.core.points import ask_for_points, open_trials, take_answers
from trialbus_experiment.core.spending import charge, judge_time
from trialbus_experiment.core.stalls import show_stalls


def decide(state: Experiment, observed: Observed, now: float) -> Decision:
    """What the experiment becomes. Terminal states come back unchanged (law 3)."""
    if state.ended or state.phase in (ExperimentPhase.DELETED, ExperimentPhase.ARCHIVED):
        return Decision(state=state, reason="nothing to do")
    draft = Draft(state, now)
    for index in observed.settled:
        draft.closing.pop(index, None)
    take_answers(draft, observed.answers)
    for index in list(draft.open):
        _follow(draft, index, observed)
    _tell_retries(draft)
    if state.spec.trials_by is not TrialsBy.IMPORT:
        judge_time(draft, observed)
        judge_budget(draft)
        open_trials(draft)
        ask_for_points(draft)
    stop_open_trials(draft)
    end_if_complete(draft)
    show_stalls(draft, observed)
    return draft.freeze()


def _follow(draft: Draft, index: int, observed: Observed) -> None:
    """Bring one open trial up to what is seen of its run."""
    trial = draft.open[index]
    run = observed.runs.get(index)
    if run is None or run.attempt != trial.attempt or trial.state is OpenState.PAUSED:
        return
    observation = observed.observations.get(index)
    outcome = judge(
        run,
        observation,
        objective=draft.state.spec.objective,
        filters=draft.state.spec.metrics_collector.filters,
        lost_before=trial.lost,
        stop_wanted=trial.stop,
        now=draft.now,
    )
    if not isinstance(outcome, Waiting):
        charge(draft, run)
    match outcome:
        case Ended():
            close(draft, index, outcome, observation, observed.answers.get(trial.request))
        case Paused():
            _pause(draft, index, trial)
        case Lost(message=message, counts=counts):
            lost = trial.lost + 1 if counts else trial.lost
            draft.open[index] = reopened(replace(trial, lost=lost), draft.now)
            draft.retried[index] = message
            draft.note(f"attempt {trial.attempt} of trial {index} was lost")
        case Waiting():
            pass


def _pause(draft: Draft, index: int, trial: OpenTrial) -> None:
    """The attempt was stopped by a suspension; when that is over, a free place reopens it."""
    draft.open[index] = replace(trial, state=OpenState.PAUSED, stop="")


def _tell_retries(draft: Draft) -> None:
    """One event for all attempts that were lost since the last look."""
    if not draft.retried:
        return
    lost = sorted(draft.retried)
    draft.emit(
        "trial.retried",
        reason="AttemptLost",
        message=draft.retried[lost[0]],
        count=len(lost),
        indices=lost[:MAX_TOLD_ITEMS],
    )
    draft.emit("trials.opened", count=len(lost), indices=lost[:MAX_TOLD_ITEMS])
