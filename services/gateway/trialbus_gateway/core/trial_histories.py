"""What the ended trials of an experiment came to, kept small: some 50 bytes for each.

Trials are added in the order of their finish numbers, which is the order in which they count, and
an ended trial never changes: so a history that is known is only ever continued. Where clocks
disagree, a trial counts as ended no sooner than the one before it.
"""

import math
from array import array
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import merge

from trialbus.kernel.objective import Objective
from trialbus.kernel.trial import TrialPhase

ENDED_PHASES = tuple(phase for phase in TrialPhase if phase is not TrialPhase.CREATED)
# Trials whose objective may be the best: those that ended as somebody decided.
COMPARED = frozenset({TrialPhase.SUCCEEDED, TrialPhase.EARLY_STOPPED})


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedTrial:
    """finished: its finish number, from 1. value: None where it was not observed, or a text.
    started_at: None where it never ran."""

    index: int
    finished: int
    phase: TrialPhase
    value: float | None
    opened_at: float
    started_at: float | None
    ended_at: float

    @property
    def duration_s(self) -> float | None:
        return None if self.started_at is None else max(0.0, self.ended_at - self.started_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Values from these times on, seconds since the epoch; as many."""

    times: Sequence[float]
    values: Sequence[float]


@dataclass(slots=True)
class TrialHistory:
    """Of the trials with the finish numbers 1 to `finished`, without a gap."""

    objective: Objective
    finished: int = 0
    _indices: "array[int]" = field(default_factory=lambda: array("q"))
    _phases: bytearray = field(default_factory=bytearray)
    _values: "array[float]" = field(default_factory=lambda: array("d"))
    _observed: bytearray = field(default_factory=bytearray)
    _opened: "array[float]" = field(default_factory=lambda: array("d"))
    _started: "array[float]" = field(default_factory=lambda: array("d"))
    _ended: "array[float]" = field(default_factory=lambda: array("d"))

    def extend(self, trials: Iterable[EndedTrial]) -> None:
        """Those that follow, in their order; what is known already, or follows on a gap, is not
        taken."""
        for trial in trials:
            if trial.finished != self.finished + 1:
                continue
            self.finished = trial.finished
            self._indices.append(trial.index)
            self._phases.append(ENDED_PHASES.index(trial.phase))
            self._values.append(0.0 if trial.value is None else trial.value)
            self._observed.append(trial.value is not None)
            self._opened.append(trial.opened_at)
            self._started.append(math.nan if trial.started_at is None else trial.started_at)
            last = self._ended[-1] if self._ended else trial.ended_at
            self._ended.append(max(last, trial.ended_at))

    def copy(self) -> "TrialHistory":
        """As it is now, however this one is continued."""
        return TrialHistory(
            objective=self.objective,
            finished=self.finished,
            _indices=self._indices[:],
            _phases=self._phases[:],
            _values=self._values[:],
            _observed=self._observed[:],
            _opened=self._opened[:],
            _started=self._started[:],
            _ended=self._ended[:],
        )

    def trial(self, place: int) -> EndedTrial:
        """place: from 0, one before its finish number."""
        return EndedTrial(
            index=self._indices[place],
            finished=place + 1,
            phase=ENDED_PHASES[self._phases[place]],
            value=self._values[place] if self._observed[place] else None,
            opened_at=self._opened[place],
            started_at=None if math.isnan(self._started[place]) else self._started[place],
            ended_at=self._ended[place],
        )

    def index(self, place: int) -> int:
        return self._indices[place]

    def places(
        self, phases: Iterable[TrialPhase] | None = None, until: float | None = None
    ) -> Sequence[int]:
        """Of trials that ended in one of these phases (None: in any) by a time (None: ever)."""
        count = self.finished if until is None else bisect_right(self._ended, until)
        if phases is None:
            return range(count)
        wanted = {ENDED_PHASES.index(phase) for phase in phases if phase in ENDED_PHASES}
        return [place for place in range(count) if self._phases[place] in wanted]

    def places_of(self, indices: Collection[int]) -> list[int]:
        """Of those of these trials that have ended."""
        wanted = frozenset(indices)
        return [place for place, index in enumerate(self._indices) if index in wanted]

    def living(self, start: float, end: float) -> list[int]:
        """Indices of the trials that were open at some time of these, which have ended since."""
        return [
            index
            for index, opened_at, ended_at in zip(
                self._indices, self._opened, self._ended, strict=True
            )
            if opened_at <= end and ended_at >= start
        ]

    def best_place(self) -> int | None:
        """Of the best trial; None: there is none."""
        best: int | None = None
        for place in self._places_compared():
            value = self._values[place]
            if best is None or self.objective.better(value, self._values[best]):
                best = place
        return best

    def best(self) -> Steps:
        """The best objective so far; only its changes."""
        times, values = array("d"), array("d")
        for ended_at, value in self._compared():
            if not values or self.objective.better(value, values[-1]):
                times.append(ended_at)
                values.append(value)
        return Steps(times=times, values=values)

    def last(self) -> Steps:
        """The objective of the last trial that ended with one."""
        found = list(self._compared())
        return Steps(times=array("d", [at for at, _ in found]),
                     values=array("d", [value for _, value in found]))  # fmt: skip

    def ended(self, phase: TrialPhase) -> Steps:
        """How many ended so; the first change is to 1."""
        wanted = ENDED_PHASES.index(phase)
        of_phase = [at for at, it in zip(self._ended, self._phases, strict=True) if it == wanted]
        return Steps(times=array("d", of_phase), values=range(1, len(of_phase) + 1))

    def opened(self, more: Iterable[float] = ()) -> Steps:
        """How many were opened. more: when those were that have not ended."""
        times = array("d", sorted([*self._opened, *more]))
        return Steps(times=times, values=range(1, len(times) + 1))

    def open(self, more: Iterable[float] = ()) -> Steps:
        """How many were open. more: as of `opened`."""
        came = ((at, 1) for at in sorted([*self._opened, *more]))
        went = ((at, -1) for at in self._ended)
        times, values, count = array("d"), array("q"), 0
        # Other threads get their turns, as they would not while all of it is sorted.
        for at, change in merge(came, went):
            count += change
            times.append(at)
            values.append(count)
        return Steps(times=times, values=values)

    def seconds(self) -> Steps:
        """What all took together."""
        values, total = array("d"), 0.0
        for started_at, ended_at in zip(self._started, self._ended, strict=True):
            if not math.isnan(started_at):
                total += max(0.0, ended_at - started_at)
            values.append(total)
        return Steps(times=self._ended, values=values)

    def _compared(self) -> Iterator[tuple[float, float]]:
        return ((self._ended[place], self._values[place]) for place in self._places_compared())

    def _places_compared(self) -> Iterator[int]:
        wanted = {ENDED_PHASES.index(phase) for phase in COMPARED}
        for place, phase in enumerate(self._phases):
            if phase in wanted and self._observed[place]:
                yield place


def thinned(places: Sequence[int], most: int) -> tuple[Sequence[int], int]:
    """At most so many, every n-th by the finish number, and n: a power of two, so that what is
    chosen for one question is nearly always chosen for the next one too."""
    every, chosen = 1, places
    while len(chosen) > most:
        every *= 2
        chosen = [place for place in chosen if (place + 1) % every == 0]
    return chosen, every
