"""No silent stall: whatever is waited for beyond its deadline is a reason that people see."""

from dataclasses import dataclass, replace

from trialbus.kernel.conditions import Condition
from trialbus.kernel.experiment import SCHEDULING_PHASES, Experiment, ExperimentPhase
from trialbus.kernel.limits import (
    BUS_DEADLINE_S,
    LAUNCH_DEADLINE_S,
    MAX_MESSAGE_CHARS,
    MAX_OUTBOX_EVENTS,
    SUGGESTION_DEADLINE_S,
)
from trialbus.kernel.run import RunPhase
from trialbus.kernel.spec import TrialsBy
from trialbus_experiment.core.draft import Draft
from trialbus_experiment.core.observed import Observed

STALLS = frozenset(
    {"BusUnavailable", "LaunchStalled", "SuggestionStalled", "TrialsWaiting", "WorkersMissing"}
)
# The condition that people look at in each phase, and what it says when nothing is waited for.
_SHOWN_BY = {ExperimentPhase.CREATED: "Created", ExperimentPhase.RUNNING: "Running"}
_USUAL = {
    "Created": ("ExperimentCreated", "Experiment is created"),
    "Running": ("ExperimentRunning", "Experiment is running"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stall:
    reason: str
    message: str


def show_stalls(draft: Draft, observed: Observed) -> None:
    """Say what is waited for too long, the worst first; take back what is over."""
    stall = _stall(draft, observed)
    shown_by = _SHOWN_BY.get(draft.state.phase)
    conditions = tuple(
        it
        if stall is not None and (it.type, it.reason) == (shown_by, stall.reason)
        else _without_stall(it, draft.now)
        for it in draft.state.conditions
    )
    if conditions != draft.state.conditions:
        draft.set(conditions=conditions)
    if stall is not None and shown_by is not None:
        draft.condition(shown_by, reason=stall.reason, message=stall.message)


def bus_is_stalled(state: Experiment, now: float) -> bool:
    """Whether events have waited too long for the bus, or too many do: metrics could not be
    reported either, so no trial is opened then."""
    oldest = min((event.at for event in state.outbox), default=now)
    return len(state.outbox) >= MAX_OUTBOX_EVENTS or now - oldest > BUS_DEADLINE_S


def _stall(draft: Draft, observed: Observed) -> _Stall | None:
    if draft.state.phase not in SCHEDULING_PHASES:
        return None
    if bus_is_stalled(draft.before, draft.now):
        return _Stall(reason="BusUnavailable", message="Events wait for the message bus")
    return _no_launcher(draft, observed) or _on_cluster(draft, observed) or _no_points(draft)


def _no_launcher(draft: Draft, observed: Observed) -> _Stall | None:
    waiting = [
        index
        for index, trial in draft.open.items()
        if index not in observed.runs and draft.now - trial.opened_at > LAUNCH_DEADLINE_S
    ]
    if not waiting:
        return None
    if draft.state.spec.trials_by is TrialsBy.WORKERS:
        message = f"{len(waiting)} trials wait for a worker to ask for them"
        return _Stall(
            reason="WorkersMissing", message=f"{message} for over {LAUNCH_DEADLINE_S:g} s"
        )
    message = f"{len(waiting)} trials wait for a launcher for over {LAUNCH_DEADLINE_S:g} s"
    return _Stall(reason="LaunchStalled", message=message)


def _on_cluster(draft: Draft, observed: Observed) -> _Stall | None:
    """Runs whose objects cannot run now: what their cluster says of the first."""
    told = [
        run.message
        for index in sorted(draft.open)
        if (run := observed.runs.get(index)) is not None
        and run.phase is RunPhase.RUNNING
        and run.message
        and not run.leased
    ]
    if not told:
        return None
    noun = "trial waits" if len(told) == 1 else "trials wait"
    message = f"{len(told)} {noun} on the cluster: {told[0]}"
    return _Stall(reason="TrialsWaiting", message=message[:MAX_MESSAGE_CHARS])


def _no_points(draft: Draft) -> _Stall | None:
    """Silence is a stall only while places are free."""
    if len(draft.open) >= draft.state.spec.parallel_trial_count:
        return None
    for request in draft.state.requests:
        if request.got is None and draft.now - request.asked_at > SUGGESTION_DEADLINE_S:
            return _Stall(
                reason="SuggestionStalled",
                message=f"No points of {draft.state.spec.algorithm.name} after "
                f"{SUGGESTION_DEADLINE_S:g} s: is the suggestion service up, and the server of "
                "the algorithm, if it has one?",
            )
    return None


def _without_stall(condition: Condition, now: float) -> Condition:
    if condition.reason not in STALLS:
        return condition
    reason, message = _USUAL[condition.type]
    return replace(condition, reason=reason, message=message, updated_at=now)
