"""The ends of an experiment, as its document tells them: for who was not reached by the event.

Pure.
"""

from collections.abc import Iterator

from trialbus.kernel.events import Event
from trialbus.kernel.experiment import FINISHED_PHASES, Experiment, ExperimentPhase

_VERDICTS = {"Succeeded": "experiment.succeeded", "Failed": "experiment.failed"}


def ends_of(state: Experiment, *, since: float) -> Iterator[Event]:
    """Oldest first: how it ended, and that it was deleted, if that was at `since` or later.

    Times are those of the events. The ids are theirs too, unless the document was written again
    since: the store knows only its last version.
    """
    yield from _verdict(state, since)
    # An archive that has expired was deleted, for all who heard of it, when it became one.
    is_deleted = state.phase is ExperimentPhase.ARCHIVED or (
        state.phase is ExperimentPhase.DELETED and not state.keep_history
    )
    if is_deleted and state.completed_at is not None and state.completed_at >= since:
        yield _event(
            state, "experiment.deleted", state.completed_at, "ExperimentDeleted", "", state.version
        )


def _verdict(state: Experiment, since: float) -> Iterator[Event]:
    for condition in state.conditions:
        if condition.type not in _VERDICTS or not condition.status:
            continue
        is_last = state.phase in FINISHED_PHASES
        at = state.completed_at if is_last else condition.updated_at
        if at is not None and at >= since:
            version = state.version if is_last else None
            yield _event(
                state,
                _VERDICTS[condition.type],
                at,
                condition.reason,
                condition.message,
                version,
            )


def _event(
    state: Experiment, type_: str, at: float, reason: str, message: str, version: int | None
) -> Event:
    mark = "end" if version is None else version
    return Event(
        id=f"{state.id}@{mark}.{type_}",
        type=type_,
        uid=state.id,
        namespace=state.namespace,
        experiment=state.name,
        at=at,
        reason=reason,
        message=message,
    )
