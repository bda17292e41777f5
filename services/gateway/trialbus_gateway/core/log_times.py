"""When a run wrote what: output has no times of its own, but its metrics are stored as they come.

A chunk of metric points covers a stretch of the output and says when it was stored, a moment after
that stretch was written. So a byte was written about when the chunk that covers it was stored.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Output up to this byte was there at this time."""

    to_byte: int
    at: float


class LogTimes:
    """stretches: in any order. Law: a later byte never has an earlier time."""

    def __init__(self, stretches: Iterable[Stretch] = ()) -> None:
        self._ends: list[int] = []
        self._times: list[float] = []
        for stretch in sorted(stretches, key=lambda it: (it.to_byte, it.at)):
            if not self._ends or stretch.to_byte > self._ends[-1]:
                self._ends.append(stretch.to_byte)
                self._times.append(max(stretch.at, self._times[-1] if self._times else stretch.at))

    def of(self, byte: int) -> float | None:
        """None: nothing is known of what is that far."""
        place = bisect_right(self._ends, byte)
        return self._times[place] if place < len(self._ends) else None
