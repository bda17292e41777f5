"""The double's clock and its timers: real time, or time that a test moves."""

import heapq
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Timers:
    """stepped: `now` moves only with `advance`. wake: called when the next timer has changed."""

    stepped: bool = False
    at: float = field(default_factory=time.time)
    wake: Callable[[], None] = lambda: None
    _heap: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def now(self) -> float:
        return self.at if self.stepped else time.time()

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (self.now() + seconds, next(self._numbers), call))
        self.wake()

    def next_at(self) -> float | None:
        return self._heap[0][0] if self._heap else None

    def run_due(self) -> bool:
        """All that are due; whether there were any."""
        ran = False
        while self._heap and self._heap[0][0] <= self.now():
            heapq.heappop(self._heap)[2]()
            ran = True
        return ran

    def advance(self, seconds: float, settle: Callable[[], None]) -> None:
        """Of a stepped clock: each timer at its own time, and what follows from it."""
        end = self.at + seconds
        settle()
        while self._heap and self._heap[0][0] <= end:
            self.at = max(self.at, self._heap[0][0])
            heapq.heappop(self._heap)[2]()
            settle()
        self.at = end
        settle()
