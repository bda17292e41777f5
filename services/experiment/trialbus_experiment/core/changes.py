"""What a commit did to an experiment, seen from its states before and after."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from trialbus.kernel.experiment import (
    FINISHED_PHASES,
    ClosingTrial,
    Experiment,
    ExperimentPhase,
    OpenState,
    OpenTrial,
)
from trialbus.kernel.spec import TrialsBy
from trialbus.kernel.trial import TrialPhase
from trialbus_experiment.core.closing import COUNTED_AS
from trialbus_experiment.core.outcomes import TRIAL_LOST

# Its key, as it was, and as it is; None: closed.
_Moved = tuple[str, OpenTrial, OpenTrial | None]
# After the deletion: nobody sees it any more, but in an archive.
_AWAY = frozenset({ExperimentPhase.DELETED, ExperimentPhase.ARCHIVED})


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEnd:
    """phase: that its trial ended in; None: the trial goes on as another attempt."""

    index: int
    phase: TrialPhase | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """before: None where it was created. made: trials that there are more. counted: of how many
    that ended it is known now, by phase. opened, closed: by index, without imported ones.
    attempts: that are over. lost: how many of them left no result though nobody wanted
    them stopped."""

    before: Experiment | None
    after: Experiment
    made: int
    counted: tuple[tuple[TrialPhase, int], ...]
    opened: range
    closed: tuple[tuple[int, ClosingTrial], ...]
    attempts: tuple[AttemptEnd, ...]
    lost: int

    @property
    def has_ended(self) -> bool:
        was = self.before is not None and self.before.phase in FINISHED_PHASES
        return not was and self.after.phase in FINISHED_PHASES

    @property
    def is_deleted(self) -> bool:
        was = self.before is not None and self.before.phase in _AWAY
        return not was and self.after.phase in _AWAY


def change(before: Experiment | None, after: Experiment) -> Change:
    made_before = 0 if before is None else before.next_index
    imported = after.spec.trials_by is TrialsBy.IMPORT
    moved = [] if before is None else list(_moved(before, after))
    closed = tuple((int(key), after.closing[key]) for key, _, now in moved if now is None)
    went_on = sum(now.lost - trial.lost for _, trial, now in moved if now is not None)
    return Change(
        before=before,
        after=after,
        made=after.next_index - made_before,
        counted=tuple(_counted(before, after)),
        opened=range(made_before, made_before if imported else after.next_index),
        closed=closed,
        attempts=tuple(_attempts(moved, after)),
        lost=went_on + sum(closing.reason == TRIAL_LOST for _, closing in closed),
    )


def _moved(before: Experiment, after: Experiment) -> Iterator[_Moved]:
    """Trials that were open and are not as they were: a decision leaves the others untouched."""
    if before.open is not after.open:
        for key, trial in before.open.items():
            now = after.open.get(key)
            if now is not trial:
                yield key, trial, now


def _attempts(moved: Iterable[_Moved], after: Experiment) -> Iterator[AttemptEnd]:
    """A paused trial has no attempt that could end."""
    for key, trial, now in moved:
        if trial.state is OpenState.PAUSED:
            continue
        if now is None:
            yield AttemptEnd(index=int(key), phase=after.closing[key].phase)
        elif now.attempt != trial.attempt or now.state is OpenState.PAUSED:
            yield AttemptEnd(index=int(key), phase=None)


def _counted(before: Experiment | None, after: Experiment) -> Iterator[tuple[TrialPhase, int]]:
    if before is not None and before.counts == after.counts:
        return
    for phase, name in COUNTED_AS.items():
        earlier = 0 if before is None else getattr(before.counts, name)
        if (more := getattr(after.counts, name) - earlier) > 0:
            yield phase, more
