"""The tables as a page of the documentation."""

import os
import platform
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from loadtests.suggest.bars import MEMORY_BAR_MB, SUBJECTS
from loadtests.suggest.memory import Footprint
from loadtests.suggest.peers import MEANINGS
from loadtests.suggest.timing import Row

PACKAGES = ("optuna", "cmaes", "scikit-optimize", "scikit-learn", "numpy", "scipy")
Load = tuple[float, float, float]


def page(
    rows: Sequence[Row],
    footprints: Sequence[Footprint],
    grid: tuple[float, float],
    *,
    seed: int,
    load: Load,
) -> str:
    lines = [
        "<!-- Made by `make bench-suggest`. -->",
        "# The algorithms' own time",
        "",
        "Milliseconds that an algorithm takes for one point, from the result of the last trial to "
        "the next one, and beside it the libraries in the same run, point by point in turn. The "
        "space: 8 doubles of which 2 logarithmic, 1 int, 1 categorical of 4; one trial at a time; "
        "the past is of random points, where nothing else is said. Times are the processor's, "
        "with one thread for all, so that other work on the machine counts little; beside ours "
        "also what the clock said.",
        "",
        *_surroundings(seed, load),
        "",
        *_times(rows),
        "",
        *_notes(),
        "",
        "## Memory and restarts",
        "",
        "An experiment of so many trials in a fresh process: what the instance keeps (Python's and "
        "numpy's own count of bytes, without the libraries), the most on the way, and how long a "
        "fresh instance computes to learn the whole past and draw a point.",
        "",
        *_footprints(footprints),
        "",
        f"A grid of a million points (4^10) is never listed: its first 100 points take "
        f"{grid[0]:.0f} ms and {grid[1]:.2f} MB.",
    ]
    return "\n".join(lines) + "\n"


def _surroundings(seed: int, load: Load) -> list[str]:
    versions = ", ".join(filter(None, map(_version, PACKAGES)))
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    ended = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    begun = ", ".join(f"{each:.1f}" for each in load)
    return [
        f"- {time.strftime('%Y-%m-%d', time.gmtime())}; {os.cpu_count()} cores, {memory:.0f} GiB, "
        f"{platform.system()}, Python {platform.python_version()}; load average before {begun}, "
        f"after {ended}",
        f"- seed {seed}; {versions}",
    ]


def _version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:  # the peers, where ours are measured alone
        return ""


def _times(rows: Sequence[Row]) -> list[str]:
    lines = [
        "| algorithm | finished trials | ms, median | ms, most | ms by the clock | points "
        "| at most | kept | beside | ms, median | points | times as long |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        bar = "" if row.bar_ms is None else f"{row.bar_ms:g}"
        kept = "" if row.bar_ms is None else "yes" if row.kept else "NO"
        own = (
            f"| {row.subject} | {row.size:,} | {_ms(row.median_ms)} | {_ms(max(row.ours) * 1000)} "
            f"| {_ms(row.wait_ms)} | {len(row.ours)} | {bar} | {kept} "
        )
        lines += [
            f"{own}| {name} | {_ms(row.peer_ms(name))} | {len(times)} | "
            f"{row.peer_ms(name) / row.median_ms:.1f} |"
            for name, times in row.peers.items()
        ] or [f"{own}| | | | |"]
    return lines


def _notes() -> list[str]:
    notes = [f"- {subject.name}: {subject.note}." for subject in SUBJECTS if subject.note]
    peers = [f"- {name}: {meaning}." for name, meaning in MEANINGS.items()]
    slow = "- A peer that takes long is asked for fewer points, or not at the larger sizes."
    grown = ", ".join(subject.name for subject in SUBJECTS if subject.grows_itself)
    return [*notes, *peers, slow, f"- The past is of the algorithm's own making: {grown}."]


def _footprints(footprints: Sequence[Footprint]) -> list[str]:
    return [
        f"| algorithm | trials | MB kept | MB at most | at most {MEMORY_BAR_MB:g} MB kept | "
        "restart, s |",
        "|---|---|---|---|---|---|",
        *(
            f"| {it.name} | {it.trials:,} | {it.held_mb:.2f} | {it.peak_mb:.1f} | "
            f"{'yes' if it.held_mb <= MEMORY_BAR_MB else 'NO'} | {it.restart_s:.2f} |"
            for it in footprints
        ),
    ]


def _ms(value: float) -> str:
    return f"{value:.3f}" if value < 1 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def write(text: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
