"""Ours and the peers in turn, point by point, so that both see the same load."""

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loadtests.suggest.bars import Subject
from loadtests.suggest.ours import Ours, Values, random_points

if TYPE_CHECKING:
    from loadtests.suggest.peers import Contestant, Parameters

Peers = Mapping[str, "Callable[[Parameters, int], Contestant]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Seconds for one point each, at `size` finished trials: of the processor, which is what an
    algorithm itself takes, and (waits) of the clock, which on a busy machine is more. peers: by
    name, of the processor."""

    subject: str
    size: int
    bar_ms: float | None
    ours: tuple[float, ...]
    waits: tuple[float, ...]
    peers: Mapping[str, tuple[float, ...]]

    @property
    def median_ms(self) -> float:
        return statistics.median(self.ours) * 1000

    @property
    def wait_ms(self) -> float:
        return statistics.median(self.waits) * 1000

    @property
    def kept(self) -> bool:
        return self.bar_ms is None or self.median_ms <= self.bar_ms

    def peer_ms(self, name: str) -> float:
        return statistics.median(self.peers[name]) * 1000


@dataclass(slots=True)
class _Racer:
    contestant: "Contestant"
    last_size: int
    grows_itself: bool
    finished: int = 0
    open: Values | None = None
    times: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    def grow(self, points: list[Values]) -> None:
        """To as many finished trials as there are points."""
        if self.open is not None:
            self.contestant.tell(self.open)
            self.finished += 1
        if self.grows_itself:
            for _ in range(self.finished, len(points)):
                self.contestant.tell(self.contestant.ask())
        else:
            self.contestant.prime(points[self.finished :])
        self.finished = len(points)
        self.times, self.waits = [], []
        self.open = self.contestant.ask()

    def step(self) -> None:
        """Tell a result and ask for a point: the time that an algorithm takes for a trial."""
        if self.open is None:
            raise RuntimeError("grow first")
        started, used = time.perf_counter(), time.process_time()
        self.contestant.tell(self.open)
        self.open = self.contestant.ask()
        self.times.append(time.process_time() - used)
        self.waits.append(time.perf_counter() - started)
        self.finished += 1


def race(
    subject: Subject, peers: Peers, *, sizes: int, points: int, peer_s: float, seed: int
) -> list[Row]:
    """A row for each of the subject's sizes up to `sizes`, of `points` points. A peer stops after
    `peer_s` seconds at a size, but has one point at least."""
    past = random_points(subject.space, max(subject.sizes), seed)
    ours = _Racer(Ours(subject.name, subject.space, seed), sizes, subject.grows_itself)
    others = {
        name: _Racer(peers[name](subject.space, seed), last, subject.grows_itself)
        for name, last in subject.peers
        if name in peers
    }
    rows = []
    for size in (it for it in subject.sizes if it <= sizes):
        print(f"{subject.name}: {size} finished trials", file=sys.stderr)
        racing = {name: it for name, it in others.items() if size <= it.last_size}
        for racer in (ours, *racing.values()):
            racer.grow(past[:size])
        for _ in range(points):
            ours.step()
            for racer in racing.values():
                if not racer.times or sum(racer.waits) < peer_s:
                    racer.step()
        rows.append(
            Row(
                subject=subject.name,
                size=size,
                bar_ms=subject.bars_ms[size],
                ours=tuple(ours.times),
                waits=tuple(ours.waits),
                peers={name: tuple(it.times) for name, it in racing.items()},
            )
        )
    return rows
