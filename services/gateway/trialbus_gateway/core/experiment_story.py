"""Why an experiment is in its state, from its document, its open runs and its last failures."""

from collections.abc import Iterator, Mapping, Sequence

from trialbus.kernel.conditions import Condition
from trialbus.kernel.durations import duration_text
from trialbus.kernel.experiment import Experiment, ExperimentPhase
from trialbus.kernel.ids import trial_name
from trialbus.kernel.run import Run
from trialbus.kernel.spec import TrialsBy
from trialbus.kernel.trial import Trial
from trialbus_gateway.core.stories import (
    STALLS,
    WAITING,
    Step,
    Story,
    counted,
    for_s,
    in_order,
    standing_of,
    value_text,
)
from trialbus_gateway.core.waits import wait_of

# Of many open trials these are told one by one, the rest is counted.
_TOLD_TRIALS = 20
_EVENT_OF = {
    "Created": "created",
    "Running": "running",
    "Restarting": "restarted",
    "Suspended": "suspended",
    "Succeeded": "succeeded",
    "Failed": "failed",
}
_BEGUN = {
    "Created": ("ExperimentCreated", "Experiment is created"),
    "Running": ("ExperimentRunning", "Experiment is running"),
}
# Events that are not published within this time wait for the bus.
_OUTBOX_PATIENCE_S = 5.0


def tell_experiment(
    state: Experiment,
    runs: Mapping[int, Run],
    troubled: Sequence[Trial],
    now: float,
    *,
    began_at: float | None = None,
) -> Story:
    """runs: by index, of the open trials' newest attempts. troubled: the last closed trials that
    failed or were not observed. began_at: when the first trial was opened."""
    steps = [step for it in state.conditions if it.status for step in _condition_steps(it)]
    steps += _beginning(state, began_at)
    steps += _warm_start(state)
    steps += [_trouble(trial) for trial in troubled]
    steps += _counts(state, troubled, now)
    steps += _verdict(state, troubled)
    if not state.ended:
        steps += _waits(state, runs, now)
    return Story(
        subject=f"experiment {state.namespace}/{state.name}",
        uid=state.id,
        state=state.phase.value,
        standing=standing_of(state),
        chain=in_order(steps),
    )


def _condition_steps(condition: Condition) -> Iterator[Step]:
    """What has changed since it began to hold, a stall or its end, is a step of its own."""
    event = _EVENT_OF.get(condition.type, condition.type.lower())
    reason, message = condition.reason, condition.message
    if condition.updated_at == condition.transitioned_at or condition.type not in _BEGUN:
        yield Step(at=condition.transitioned_at, event=event, reason=reason, message=message)
        return
    usual, told = _BEGUN[condition.type]
    yield Step(at=condition.transitioned_at, event=event, reason=usual, message=told)
    if reason in STALLS:
        yield Step(at=condition.updated_at, event="stalled", reason=reason, message=message)
    elif condition.type == "Running":
        again = f"{message} again"
        yield Step(at=condition.updated_at, event=event, reason=reason, message=again)


def _beginning(state: Experiment, began_at: float | None) -> Iterator[Step]:
    """Of what runs, its condition tells; at the end that condition tells of the end."""
    runs = any(it.type == "Running" and it.status for it in state.conditions)
    imported = state.spec.trials_by is TrialsBy.IMPORT
    if began_at is not None and not runs and not imported:
        reason, message = _BEGUN["Running"]
        yield Step(at=began_at, event="running", reason=reason, message=message)


def _warm_start(state: Experiment) -> Iterator[Step]:
    """What it began with."""
    if not state.warm_sources:
        return
    told = ", ".join(
        f"{it.taken} trials of {it.name}"
        + (f" ({it.left_out} outside the space are left out)" if it.left_out else "")
        for it in state.warm_sources
    )
    yield Step(at=state.created_at, event="warm start", message=f"it began with {told}")


def _trouble(trial: Trial) -> Step:
    return Step(
        at=_closed_at(trial),
        event="trial failed",
        reason=trial.reason,
        message=f"{trial.name}: {trial.message}",
    )


def _closed_at(trial: Trial) -> float:
    return trial.completed_at if trial.completed_at is not None else trial.created_at


def _counts(state: Experiment, troubled: Sequence[Trial], now: float) -> Iterator[Step]:
    """What came of its trials so far, in one sentence."""
    if state.next_index == 0:
        return
    counts = state.counts
    parts = [
        (len(state.open), "open"),
        (counts.succeeded, "succeeded"),
        (counts.early_stopped, "stopped early"),
        (counts.failed, "failed"),
        (counts.metrics_unavailable, "without metrics"),
        (counts.killed, "killed"),
    ]
    told = ", ".join(f"{number} {what}" for number, what in parts if number)
    budget = "" if state.spec.max_trial_count is None else f" of {state.spec.max_trial_count}"
    best = ""
    if state.best is not None:
        metric, value = state.spec.objective.metric, state.best.text or value_text(state.best.value)
        so_far = "" if state.ended else " so far"
        best = f"; best{so_far} {state.best.name} with {metric} = {value}"
    yield Step(
        at=_last_known(state, troubled),
        event="trials",
        message=f"{state.next_index}{budget} trials opened: {told}{best}{_time_spent(state, now)}",
    )


def _time_spent(state: Experiment, now: float) -> str:
    """Of the budgets of time that it has."""
    spec, parts = state.spec, []
    if spec.max_duration_s is not None:
        ran, limit = duration_text(state.ran_until(now)), duration_text(spec.max_duration_s)
        parts.append(f"{ran} of {limit}")
    if spec.max_resource_seconds is not None:
        limit = f"{spec.max_resource_seconds:.6g} {spec.counted_resource}-seconds"
        parts.append(f"{state.spent:.6g} of {limit} paid")
    return "".join(f"; {part}" for part in parts)


def _verdict(state: Experiment, troubled: Sequence[Trial]) -> Iterator[Step]:
    """Once it has ended, its last condition says the same."""
    if state.verdict is None or state.ended:
        return
    yield Step(
        at=_last_known(state, troubled),
        event="verdict",
        reason=state.verdict.reason,
        message=f"it will have {state.verdict.phase.value.lower()}: {state.verdict.message}",
    )


def _last_known(state: Experiment, troubled: Sequence[Trial]) -> float:
    """The time of the newest thing that the documents tell: never after the end."""
    times = [state.created_at]
    times += [condition.updated_at for condition in state.conditions]
    times += [closing.closed_at for closing in state.closing.values()]
    times += [_closed_at(trial) for trial in troubled]
    newest = max(times)
    return newest if state.completed_at is None else min(newest, state.completed_at)


def _waits(state: Experiment, runs: Mapping[int, Run], now: float) -> list[Step]:
    waits = [*_suggestion_waits(state, now), *_trial_waits(state, runs, now)]
    if state.closing:
        at = min(closing.closed_at for closing in state.closing.values())
        count = counted(len(state.closing), "trial document")
        waits.append(_wait(at, "WaitsForDocuments", f"{count} to be written"))
    if state.outbox_at is not None and now - state.outbox_at > _OUTBOX_PATIENCE_S:
        message = f"{counted(len(state.outbox), 'event')} to be taken by the message bus"
        waits.append(_wait(state.outbox_at, "WaitsForBus", message))
    if state.phase is ExperimentPhase.SUSPENDED and not waits:
        waits.append(_wait(_since(state), "Suspended", "waits to be resumed"))
    if not waits and state.spec.trials_by is TrialsBy.IMPORT:
        message = f"waits for more trials than the {state.next_index} that are there"
        waits.append(_wait(_since(state), "WaitsForImport", message))
    if not waits:
        message = "waits for the experiment service to look at it"
        waits.append(_wait(_since(state), "WaitsForExperimentService", message))
    return waits


def _suggestion_waits(state: Experiment, now: float) -> Iterator[Step]:
    for request in state.requests:
        if request.got is None:
            points, asked = counted(request.count, "point"), for_s(request.asked_at, now)
            message = f"request {request.number} for {points} has waited {asked} for an answer"
            yield _wait(request.asked_at, "WaitsForSuggestion", message)


def _trial_waits(state: Experiment, runs: Mapping[int, Run], now: float) -> Iterator[Step]:
    indices = sorted(int(key) for key in state.open)
    for index in indices[:_TOLD_TRIALS]:
        name = trial_name(state.name, state.id, index)
        by = state.spec.trials_by
        yield wait_of(name, state.open[str(index)], runs.get(index), by, now)
    if untold := indices[_TOLD_TRIALS:]:
        at = min(state.open[str(index)].opened_at for index in untold)
        yield _wait(at, "Running", f"and {counted(len(untold), 'more open trial')}")


def _since(state: Experiment) -> float:
    return max([state.created_at, *(it.updated_at for it in state.conditions)])


def _wait(at: float, reason: str, message: str) -> Step:
    return Step(at=at, event=WAITING, reason=reason, message=message)
