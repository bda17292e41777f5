"""Asking for points, and turning points into trials."""

from collections.abc import Mapping
from dataclasses import replace

from trialbus.kernel.experiment import (
    SCHEDULING_PHASES,
    Experiment,
    ExperimentPhase,
    OpenState,
    OpenTrial,
)
from trialbus.kernel.limits import (
    FREE_AHEAD_FACTOR,
    FREE_AHEAD_MAX_POINTS,
    FREE_AHEAD_MIN_POINTS,
    MAX_TOLD_ITEMS,
)
from trialbus.kernel.suggestion import Answer, LookAhead, PointsRequest
from trialbus_experiment.core.closing import reopened
from trialbus_experiment.core.draft import Draft
from trialbus_experiment.core.stalls import bus_is_stalled
from trialbus_experiment.core.states import Happening


def take_answers(draft: Draft, answers: Mapping[int, Answer]) -> None:
    """Note how many points the outstanding request was answered with."""
    requests: list[PointsRequest] = []
    for request in draft.state.requests:
        answer = answers.get(request.number)
        if request.got is not None or answer is None:
            requests.append(request)
            continue
        if answer.points:
            requests.append(replace(request, got=len(answer.points)))
        draft.set(
            drawn=draft.state.drawn + len(answer.points),
            look_ahead=answer.look_ahead,
            exhausted=draft.state.exhausted or answer.exhausted,
            waits_at=_waits_at(request, answer),
        )
        draft.note(f"{len(answer.points)} points drawn")
        if answer.refused is not None and draft.state.phase is not ExperimentPhase.DELETING:
            _fail_for_refusal(draft, answer.refused)
    if tuple(requests) != draft.state.requests:
        draft.set(requests=tuple(requests))


def _waits_at(request: PointsRequest, answer: Answer) -> int | None:
    enough = answer.exhausted or len(answer.points) >= request.count
    return None if enough else request.watermark


def _fail_for_refusal(draft: Draft, why: str) -> None:
    if draft.state.verdict is None:
        draft.end_with(ExperimentPhase.FAILED, "ExperimentFailed", f"Suggestion has failed: {why}")


def open_trials(draft: Draft) -> None:
    """Fill free places with drawn points, never beyond a budget."""
    state = draft.state
    if state.phase not in SCHEDULING_PHASES or bus_is_stalled(draft.before, draft.now):
        return
    if draft.out_of_time is not None:
        return
    opened = _reopen_paused(draft)
    index = state.next_index
    while len(draft.open) < state.spec.parallel_trial_count and index < _end_of_budget(draft):
        request = _request_of(state.requests, index)
        if request is None:
            break
        draft.open[index] = OpenTrial(
            attempt=1, state=OpenState.ACTIVE, request=request.number, opened_at=draft.now
        )
        opened.append(index)
        index += 1
    if not opened:
        return
    draft.set(
        next_index=index,
        requests=tuple(
            request
            for request in state.requests
            if request.got is None or request.first + request.got > index
        ),
    )
    if state.phase is ExperimentPhase.CREATED:
        draft.emit("experiment.started", message="Experiment is running")
    draft.move(Happening.TRIALS_OPENED)
    reason, message = "ExperimentRunning", "Experiment is running"
    draft.no_longer_restarting(reason, message)
    draft.condition("Running", reason=reason, message=message)
    draft.emit("trials.opened", count=len(opened), indices=opened[:MAX_TOLD_ITEMS])
    draft.note(f"opened {len(opened)}")


def _reopen_paused(draft: Draft) -> list[int]:
    """Trials that a suspension stopped come first, and wait for a place as new ones do."""
    paused = [index for index, trial in draft.open.items() if trial.state is OpenState.PAUSED]
    free = draft.state.spec.parallel_trial_count - (len(draft.open) - len(paused))
    reopened_now = sorted(paused)[: max(0, free)]
    for index in reopened_now:
        draft.open[index] = reopened(draft.open[index], draft.now)
    return reopened_now


def ask_for_points(draft: Draft) -> None:
    """One request at a time, as far ahead as the algorithm allows and the budget still needs."""
    state = draft.state
    if state.phase not in SCHEDULING_PHASES or state.exhausted or draft.out_of_time is not None:
        return
    if bus_is_stalled(draft.before, draft.now):
        # A new request would take the place of the event that shows how long the bus is away.
        return
    if any(request.got is None for request in state.requests) or waits_for_results(state):
        return
    count = min(_wanted(draft), _end_of_budget(draft) - state.drawn, FREE_AHEAD_MAX_POINTS)
    if count <= 0:
        return
    request = PointsRequest(
        number=state.next_request,
        first=state.drawn,
        count=count,
        watermark=state.finished,
        asked_at=draft.now,
    )
    draft.set(requests=(*state.requests, request), next_request=state.next_request + 1)
    draft.emit("suggestion.requested", number=request.number, count=count)
    draft.note(f"asked for {count}")


def waits_for_results(state: Experiment) -> bool:
    """Whether the algorithm has seen all that there is, and has no more points until more ends."""
    return state.waits_at is not None and state.finished <= state.waits_at


def _wanted(draft: Draft) -> int:
    """Points to draw now: for free places, and ahead of need."""
    state = draft.state
    free = max(0, state.spec.parallel_trial_count - len(draft.open))
    missing = free - state.points_ahead
    match state.look_ahead:
        case LookAhead.FREE:
            wide = state.spec.parallel_trial_count * FREE_AHEAD_FACTOR
            target = min(max(wide, FREE_AHEAD_MIN_POINTS), FREE_AHEAD_MAX_POINTS)
            # Half used up: a full load again, so that requests stay few.
            return target + missing if state.points_ahead - free < target // 2 else 0
        case LookAhead.PENDING:
            return state.spec.parallel_trial_count + missing
        case LookAhead.NONE | None:
            return missing


def _end_of_budget(draft: Draft) -> int:
    """The first index that may not be opened."""
    limit = draft.state.spec.max_trial_count
    # Without a limit only the goal or failures end an experiment: enough for every free place.
    return limit if limit is not None else draft.state.next_index + FREE_AHEAD_MAX_POINTS * 2


def _request_of(requests: tuple[PointsRequest, ...], index: int) -> PointsRequest | None:
    for request in requests:
        if request.got is not None and request.first <= index < request.first + request.got:
            return request
    return None
