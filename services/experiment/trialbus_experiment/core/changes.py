"""What a commit did to an experiment, seen from its states before and after."""

from collections.abc import Iterator
from dataclasses import dataclass

from trialbus.kernel.experiment import (
    FINISHED_PHASES,
    ClosingTrial,
    Experiment,
    ExperimentPhase,
    OpenState,
)
from trialbus.kernel.spec import TrialsBy
from trialbus.kernel.trial import TrialPhase
from trialbus_experiment.core.closing import COUNTED_AS
from trialbus_experiment.core.outcomes import TRIAL_LOST

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
    moved = before is not None and before.open is not after.open
    return Change(
        before=before,
        after=after,
        made=after.next_index - made_before,
        counted=tuple(_counted(before, after)),
        opened=range(made_before, made_before if imported else after.next_index),
        closed=tuple(_closed(before, after)) if before is not None and moved else (),
        attempts=tuple(_attempts(before, after)) if before is not None and moved else (),
        lost=_lost(before, after) if before is not None and moved else 0,
    )


def _counted(before: Experiment | None, after: Experiment) -> Iterator[tuple[TrialPhase, int]]:
    if before is not None and before.counts == after.counts:
        return
    for phase, name in COUNTED_AS.items():
        earlier = 0 if before is None else getattr(before.counts, name)
        if (more := getattr(after.counts, name) - earlier) > 0:
            yield phase, more


def _closed(before: Experiment, after: Experiment) -> Iterator[tuple[int, ClosingTrial]]:
    for key, closing in after.closing.items():
        if key in before.open:
            yield int(key), closing


def _attempts(before: Experiment, after: Experiment) -> Iterator[AttemptEnd]:
    """A paused trial has no attempt that could end."""
    for key, trial in before.open.items():
        if trial.state is OpenState.PAUSED:
            continue
        now = after.open.get(key)
        if now is None:
            yield AttemptEnd(index=int(key), phase=after.closing[key].phase)
        elif now.attempt != trial.attempt or now.state is OpenState.PAUSED:
            yield AttemptEnd(index=int(key), phase=None)


def _lost(before: Experiment, after: Experiment) -> int:
    went_on = sum(
        now.lost - trial.lost
        for key, trial in before.open.items()
        if (now := after.open.get(key)) is not None
    )
    return went_on + sum(it.reason == TRIAL_LOST for _, it in _closed(before, after))
