"""Experiments whose trials fail, by what looks find counted: among many that do well, too."""

from collections.abc import Iterable
from dataclasses import dataclass

from trialbus.kernel.experiment import SCHEDULING_PHASES, Counts
from trialbus_experiment.core.overview import Living

# Fewer may be bad luck; more would have ended many an experiment before it is judged.
JUDGED_TRIALS = 10


@dataclass(frozen=True, slots=True)
class _Judged:
    """counts: up to which its trials are judged. fails: what came of that."""

    counts: Counts
    fails: bool

    def anew(self, counts: Counts) -> "_Judged":
        """The same while fewer than JUDGED_TRIALS more have ended."""
        ended = counts.closed - self.counts.closed
        if ended < JUDGED_TRIALS:
            return self
        failed = counts.failures - self.counts.failures
        return _Judged(counts, 2 * failed > ended)


_NOT_JUDGED = _Judged(Counts(), False)


class Failing:
    """Judges an experiment by the trials that have ended since it was judged last, at first by all,
    each time that JUDGED_TRIALS or more have."""

    def __init__(self) -> None:
        self._judged: dict[str, _Judged] = {}

    def look(self, living: Iterable[Living]) -> int:
        """How many go on though most of the trials that they were judged by last have failed, or
        told no objective. living: all of them; others are forgotten."""
        self._judged = {
            it.id: self._judged.get(it.id, _NOT_JUDGED).anew(it.counts)
            for it in living
            if it.phase in SCHEDULING_PHASES
        }
        return sum(it.fails for it in self._judged.values())
