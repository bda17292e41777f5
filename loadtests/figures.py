"""Measured figures with their spread, beside the limits that they must keep."""

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One quantity over several runs. limit: what the median must not be beyond (`at_least` or
    `at_most`)."""

    name: str
    unit: str
    values: tuple[float, ...]
    limit: float
    sense: Literal["at least", "at most"]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def kept(self) -> bool:
        if self.sense == "at least":
            return self.median >= self.limit
        return self.median <= self.limit


def table(figures: Sequence[Figure]) -> str:
    """Markdown, one line each."""
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    lines = [
        f"{os.cpu_count()} cores, load average at the end {load}",
        "",
        "| figure | unit | median | least | most | runs | limit | kept |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {it.name} | {it.unit} | {it.median:.4g} | {min(it.values):.4g} | "
        f"{max(it.values):.4g} | {len(it.values)} | {it.sense} {it.limit:g} | "
        f"{'yes' if it.kept else 'NO'} |"
        for it in figures
    ]
    return "\n".join(lines)
