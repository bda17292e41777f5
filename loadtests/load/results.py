"""Runs as JSON lines, one file for each scenario: what was measured, and how it went over time."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loadtests.load.scenario import Scenario

FOLDER = Path(__file__).parents[1] / "results" / "load"
# Digits that are kept.
DIGITS = 5
MAX_TOLD = 20
# The plots of a run.
LATENCY, RATE, MEMORY, BUS = "latency (p99), s", "calls a second", "own memory, MB", "on the bus"

# Of one name: (seconds, value).
Curve = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """at: when it began, in UTC. digest: of the scenario's work. scale: 1 for a whole run. load:
    of the machine just before. curves: by plot and name, see `curves.py`. broken, problems: some of
    the broken promises, and how many calls failed why."""

    scenario: str
    digest: str
    at: str
    revision: str
    cores: int
    load: float
    scale: float
    seconds: float
    people: int
    requests: int
    experiments: int
    trials: int
    figures: Mapping[str, float]
    curves: Mapping[str, Mapping[str, Curve]]
    broken: Sequence[str] = ()
    problems: Mapping[str, int] | None = None

    def text(self) -> str:
        return json.dumps(_short(asdict(self)), separators=(",", ":"), allow_nan=False)

    @classmethod
    def read(cls, text: str) -> "Run":
        return cls(**json.loads(text))


def add(run: Run, folder: Path = FOLDER) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{run.scenario}.jsonl").open("a") as file:
        file.write(run.text() + "\n")


def newest(scenario: Scenario, folder: Path = FOLDER) -> list[Run]:
    """The last runs of this work, as many as the scenario has at most; the oldest first."""
    path = folder / f"{scenario.name}.jsonl"
    if not path.exists():
        return []
    runs = [Run.read(line) for line in path.read_text().splitlines()]
    return [run for run in runs if run.digest == scenario.digest][-scenario.runs :]


def _short(value: Any) -> Any:
    """Fewer digits; what is no number is null."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _short(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_short(each) for each in value]
    return value
