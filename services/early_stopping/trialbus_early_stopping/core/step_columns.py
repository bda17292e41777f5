"""Numbers of completed trials, sorted for each step."""

from array import array
from bisect import insort
from collections.abc import Sequence


class StepColumns:
    """Per step the sorted numbers of all completed trials, so judging looks up a rank, and adding a
    trial is one sorted insertion per step. Memory: 8 bytes per completed trial and step.

    A trial that ended before a step counts there with its last number.
    """

    def __init__(self) -> None:
        self._by_step: list[array[float]] = []  # of step 1, 2, ... to the longest trial's last
        self._last: array[float] = array("d")  # of whole trials: all steps after

    def add(self, numbers: Sequence[float]) -> None:
        """One trial's, by step; at least one, none of them NaN, which has no place in an order."""
        while len(self._by_step) < len(numbers):
            self._by_step.append(self._last[:])
        for index, column in enumerate(self._by_step):
            insort(column, numbers[index] if index < len(numbers) else numbers[-1])
        insort(self._last, numbers[-1])

    def at(self, step: int) -> Sequence[float]:
        """Sorted, of all trials."""
        return self._by_step[step - 1] if step <= len(self._by_step) else self._last
