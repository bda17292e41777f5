"""Latencies by window of time and request: mergeable, small, exact to one percent.

Written by the process that makes the load, read by the one that measures; needs only Python.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

# Buckets grow by this factor: a quantile is at most so much too high.
GROWTH = 1.02
LEAST_MS = 0.01


def bucket_of(ms: float) -> int:
    """0 is up to LEAST_MS, n up to LEAST_MS * GROWTH ** n."""
    return max(0, math.ceil(math.log(max(ms, LEAST_MS) / LEAST_MS, GROWTH)))


def upper_ms(bucket: int) -> float:
    return float(LEAST_MS * GROWTH**bucket)


@dataclass(slots=True)
class Cell:
    """What was measured of one request name in one window. failed: of `count`; problems: their
    texts."""

    count: int = 0
    failed: int = 0
    sum_ms: float = 0.0
    buckets: Counter[int] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)

    def add(self, ms: float, problem: str | None = None) -> None:
        self.count += 1
        self.sum_ms += ms
        self.buckets[bucket_of(ms)] += 1
        if problem is not None:
            self.failed += 1
            self.problems[problem] += 1

    def merge(self, other: "Cell") -> None:
        self.count += other.count
        self.failed += other.failed
        self.sum_ms += other.sum_ms
        self.buckets += other.buckets
        self.problems += other.problems

    def mean_s(self) -> float:
        return self.sum_ms / self.count / 1000

    def quantile_s(self, share: float) -> float:
        """The least value that `share` of all are not above, seconds. Of at least one."""
        wanted, seen = max(1, math.ceil(share * self.count)), 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= wanted:
                return upper_ms(bucket) / 1000
        raise ValueError("a cell without values has no quantiles")

    def record(self) -> dict[str, Any]:
        return {
            "count": self.count,
            "failed": self.failed,
            "sum_ms": round(self.sum_ms, 3),
            "buckets": {str(key): value for key, value in sorted(self.buckets.items())},
            "problems": dict(self.problems),
        }

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> "Cell":
        return cls(
            count=record["count"],
            failed=record["failed"],
            sum_ms=record["sum_ms"],
            buckets=Counter({int(key): value for key, value in record["buckets"].items()}),
            problems=Counter(record["problems"]),
        )


@dataclass(frozen=True, slots=True)
class Window:
    """at: its end, seconds since the beginning."""

    at: float
    cells: Mapping[str, Cell]


def merged(windows: Iterable[Window]) -> dict[str, Cell]:
    """By request name, over all windows."""
    found: dict[str, Cell] = {}
    for window in windows:
        for name, cell in window.cells.items():
            found.setdefault(name, Cell()).merge(cell)
    return found
