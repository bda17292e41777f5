"""Runs as JSON lines, one file per entrant: what is there is not run again."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from loadtests.quality.play import Played

FOLDER = Path(__file__).parents[1] / "results" / "quality"
# Digits of a loss that are kept: the least differences that matter are far larger.
DIGITS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run that is to be done. in_flight: evaluations at the same time."""

    task: str
    entrant: str
    in_flight: int
    seed: int
    evaluations: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    job: Job
    version: str
    played: Played

    def text(self) -> str:
        record = {
            "task": self.job.task,
            "in_flight": self.job.in_flight,
            "seed": self.job.seed,
            "evaluations": self.job.evaluations,
            "seconds": round(self.played.seconds, 3),
            "version": self.version,
            "curve": [[at, float(f"{loss:.{DIGITS}g}")] for at, loss in self.played.curve],
        }
        return json.dumps(record, separators=(",", ":"))

    @classmethod
    def read(cls, entrant: str, text: str) -> "Line":
        record = json.loads(text)
        job = Job(
            task=record["task"],
            entrant=entrant,
            in_flight=record["in_flight"],
            seed=record["seed"],
            evaluations=record["evaluations"],
        )
        curve = tuple((at, loss) for at, loss in record["curve"])
        played = Played(curve=curve, seconds=record["seconds"])
        return cls(job=job, version=record["version"], played=played)


class Results:
    """Of one folder; the newest line of a job counts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lines: dict[Job, Line] = {}
        for path in sorted(folder.glob("*.jsonl")):
            for text in path.read_text().splitlines():
                line = Line.read(path.stem, text)
                self._lines[line.job] = line

    def __iter__(self) -> Iterator[Line]:
        return iter(self._lines.values())

    def has(self, job: Job, version: str) -> bool:
        return job in self._lines and self._lines[job].version == version

    def add(self, line: Line) -> None:
        """Kept at once, so that a run that is broken off loses nothing."""
        is_replaced = line.job in self._lines
        self._lines[line.job] = line
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{line.job.entrant}.jsonl"
        if is_replaced:
            own = [it.text() for it in self if it.job.entrant == line.job.entrant]
            new = path.with_suffix(".new")
            new.write_text("\n".join(own) + "\n")
            new.replace(path)
            return
        with path.open("a") as file:
            file.write(line.text() + "\n")
