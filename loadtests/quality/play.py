"""One run: an optimiser searches a task, with so many evaluations at the same time."""

import heapq
import time
from dataclasses import dataclass
from random import Random

from loadtests.quality.entrants import Optimiser
from loadtests.quality.tasks import Assignments, Loss

# Evaluations take about as long as each other, but end in another order than they began.
SPREAD = 0.5


class Stalled(Exception):
    """The optimiser waits, and nothing runs that it could learn from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """curve: (evaluations ended, least loss by then) wherever it fell. seconds: of processor time
    that the optimiser took in all."""

    curve: tuple[tuple[int, float], ...]
    seconds: float


def play(
    optimiser: Optimiser, loss_of: Loss, *, seed: int, evaluations: int, in_flight: int
) -> Played:
    """Asks whenever a place is free, and tells in the order in which evaluations end. The i-th
    takes as long for every optimiser. Raises Stalled."""
    durations = Random(f"durations/{seed}")
    running: list[tuple[float, int, float]] = []
    curve: list[tuple[int, float]] = []
    now = taken = 0.0
    asked = 0
    for ended in range(1, evaluations + 1):
        started = time.process_time()
        points: list[Assignments] = []
        while len(running) + len(points) < in_flight and asked + len(points) < evaluations:
            point = optimiser.ask()
            if point is None:
                break
            points.append(point)
        taken += time.process_time() - started
        for point in points:
            end = now + durations.lognormvariate(0, SPREAD)
            heapq.heappush(running, (end, asked, loss_of(point)))
            asked += 1
        if not running:
            raise Stalled(f"after {ended - 1} evaluations")
        now, index, loss = heapq.heappop(running)
        started = time.process_time()
        optimiser.tell(index, loss)
        taken += time.process_time() - started
        if not curve or loss < curve[-1][1]:
            curve.append((ended, loss))
    return Played(curve=tuple(curve), seconds=taken)
