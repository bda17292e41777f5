"""Places that trials have left, until others take them."""

from trialbus.kernel.experiment import SCHEDULING_PHASES, Experiment, OpenState
from trialbus.kernel.spec import TrialsBy
from trialbus_experiment.core.changes import Change
from trialbus_experiment.core.points import waits_for_results


class FreedPlaces:
    """A memory of one process: how long a place was free is told of places that it saw left and
    taken."""

    def __init__(self) -> None:
        self._freed: dict[str, list[float]] = {}

    def waits_s(self, change: Change) -> list[float]:
        """For how long the places of just opened trials were free, first left first taken. Shorter
        than the trials are many where places are new, or another process saw them left."""
        before, state = change.before, change.after
        if before is None:
            return []
        # Of more than were free until now, another process saw the older ones taken.
        freed = _newest(self._freed.pop(state.id, []), before)
        freed += [closing.closed_at for _, closing in change.closed]
        taken = freed[: len(change.opened)]
        opened_at = [state.open[str(index)].opened_at for index in change.opened if taken]
        # Reopened trials take places, too.
        left = _newest(freed[len(taken) :], state)
        if left and _wants_trials(state):
            self._freed[state.id] = left
        return [at - since for since, at in zip(taken, opened_at, strict=False)]

    @property
    def uids(self) -> set[str]:
        return set(self._freed)

    def forget(self, uid: str) -> None:
        self._freed.pop(uid, None)


def _newest(freed: list[float], state: Experiment) -> list[float]:
    """As many as there are free places."""
    return freed[len(freed) - min(len(freed), _free(state)) :] if freed else freed


def _free(state: Experiment) -> int:
    active = sum(trial.state is OpenState.ACTIVE for trial in state.open.values())
    return max(0, state.spec.parallel_trial_count - active)


def _wants_trials(state: Experiment) -> bool:
    """Whether a free place is one that should be taken soon."""
    limit = state.spec.max_trial_count
    return (
        state.phase in SCHEDULING_PHASES
        and state.spec.trials_by is not TrialsBy.IMPORT
        and (limit is None or state.next_index < limit)
        and not (state.exhausted and state.points_ahead == 0)
        and not waits_for_results(state)
    )
