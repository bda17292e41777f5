"""The heart of the experiment service: what follows from what is seen.

Pure: the same state, observations and time give the same decision. Data flows down this page:
results come in, trials close, the budget is judged, trials open, points are asked for.
"""

from dataclasses import replace

from trialbus.kernel.experiment import Experiment, ExperimentPhase, OpenState, OpenTrial
from trialbus.kernel.limits import LAUNCH_DEADLINE_S, MAX_OUTBOX_EVENTS
from trialbus_experiment.core.closing import close, reopened
from trialbus_experiment.core.draft import Decision, Draft
from trialbus_experiment.core.ending import end_if_complete, judge_budget, stop_open_trials
from trialbus_experiment.core.observed import Observed
from trialbus_experiment.core.outcomes import Ended, Lost, Paused, Waiting, judge
from trialbus_experiment.core.points import ask_for_points, open_trials, take_answers


def decide(state: Experiment, observed: Observed, now: float) -> Decision:
    """What the experiment becomes. Terminal states come back unchanged (law 3)."""
    if state.ended or state.phase is ExperimentPhase.DELETED:
        return Decision(state=state, reason="nothing to do")
    draft = Draft(state, now)
    for index in observed.settled:
        draft.closing.pop(index, None)
    take_answers(draft, observed.answers)
    for index in list(draft.open):
        _follow(draft, index, observed)
    judge_budget(draft)
    open_trials(draft)
    ask_for_points(draft)
    stop_open_trials(draft)
    end_if_complete(draft)
    _show_stalls(draft, observed)
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
        lost_before=trial.lost,
        stop_wanted=trial.stop,
        now=draft.now,
    )
    match outcome:
        case Ended():
            close(draft, index, outcome, observation, observed.answers.get(trial.request))
        case Paused():
            _pause_or_go_on(draft, index, trial)
        case Lost(message=message):
            _reopen(draft, index, replace(trial, lost=trial.lost + 1))
            draft.emit("trial.retried", reason="AttemptLost", message=message, index=index)
            draft.note(f"attempt {trial.attempt} of trial {index} was lost")
        case Waiting():
            pass


def _pause_or_go_on(draft: Draft, index: int, trial: OpenTrial) -> None:
    """The attempt was stopped by a suspension, which may be over by now."""
    if draft.state.phase is ExperimentPhase.SUSPENDED:
        draft.open[index] = replace(trial, state=OpenState.PAUSED, stop="")
        return
    _reopen(draft, index, trial)


def _reopen(draft: Draft, index: int, trial: OpenTrial) -> None:
    draft.open[index] = reopened(trial, draft.now)
    draft.emit("trials.opened", indices=sorted(draft.open))


def _show_stalls(draft: Draft, observed: Observed) -> None:
    """No silent stall: every wait beyond its deadline is a reason on the Running condition."""
    state = draft.state
    if state.phase is not ExperimentPhase.RUNNING:
        return
    if len(state.outbox) >= MAX_OUTBOX_EVENTS:
        draft.condition(
            "Running", reason="BusUnavailable", message="Events wait for the message bus"
        )
        return
    waiting = [
        index
        for index, trial in draft.open.items()
        if index not in observed.runs and draft.now - trial.opened_at > LAUNCH_DEADLINE_S
    ]
    if waiting:
        draft.condition(
            "Running",
            reason="LaunchStalled",
            message=f"{len(waiting)} trials wait for a launcher for over {LAUNCH_DEADLINE_S:g} s",
        )
    elif draft.open and _was_stalled(draft):
        draft.condition("Running", reason="ExperimentRunning", message="Experiment is running")


def _was_stalled(draft: Draft) -> bool:
    stalls = {"LaunchStalled", "BusUnavailable"}
    return any(condition.reason in stalls for condition in draft.state.conditions)
