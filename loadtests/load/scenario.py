"""A scenario as data: a YAML file in `scenarios/`."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from loadtests.load.people import Kind

FOLDER = Path(__file__).with_name("scenarios")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Group(_Part):
    """Experiments that are alike: random search over `x`. count: so many are created before people
    come; 0: a pattern, for what people create. low, high: range of x. points: so many does each
    trial report."""

    name: str = Field(pattern=r"^[a-z][a-z0-9]{0,20}$")
    count: int = Field(1, ge=0)
    trials: int = Field(ge=1)
    parallel: int = Field(ge=1)
    by: Literal["process", "workers"] = "process"
    command: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 1.0
    points: int | None = None

    @model_validator(mode="after")
    def _has_a_command(self) -> "Group":
        if (self.by == "process") != bool(self.command):
            raise ValueError(f"{self.name}: trials by process have a command, others have none")
        return self

    def scaled(self, scale: float) -> "Group":
        trials = _part(self.trials, scale) if self.count else self.trials
        smaller = {
            "count": _part(self.count, scale),
            "trials": trials,
            # More at a time than in all is refused.
            "parallel": min(self.parallel, trials),
        }
        return self.model_copy(update=smaller)

    def names(self) -> list[str]:
        return [f"{self.name}-{number}" for number in range(self.count)]


class People(_Part):
    """of: groups whose experiments they deal with. pause: between two calls, seconds, from and to.
    work: what a worker needs for a trial. ahead: trials that a worker asks for at a time. every:
    all of these pipelines send at once, each so many seconds."""

    kind: Kind
    count: int = Field(ge=1)
    of: tuple[str, ...] = Field(min_length=1)
    pause: tuple[float, float] = (0.0, 0.0)
    work: tuple[float, float] = (0.0, 0.0)
    ahead: int = Field(1, ge=1, le=256)
    every: float | None = None

    @model_validator(mode="after")
    def _pipelines_have_a_pace(self) -> "People":
        if self.kind.startswith("pipeline") != (self.every is not None):
            raise ValueError(f"{self.kind}: `every` is for pipelines, and they need it")
        return self


class Limit(_Part):
    """figure: one of `measures.figures_of`."""

    figure: str
    at_most: float | None = None
    at_least: float | None = None

    @model_validator(mode="after")
    def _has_one_bound(self) -> "Limit":
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError(f"{self.figure}: either at_most or at_least")
        return self

    @property
    def text(self) -> str:
        if self.at_least is not None:
            return f"at least {self.at_least:g}"
        return f"at most {self.at_most:g}"


class Scenario(_Part):
    """order: of scenarios, when all are run. seconds: how long people call; with `until:
    experiments` at most so long, until all that were created before have ended. come_within:
    seconds in which people come, one after the other. drain: seconds within which everything has to
    come to its end afterwards. store_delay_ms: of every message to mongod, and of every answer.
    kept_event_mb: what the bus keeps of events, MB of 10^6 bytes; as the settings say without.
    """

    name: str
    title: str
    about: str
    order: int
    seconds: float = Field(gt=0)
    until: Literal["time", "experiments"] = "time"
    runs: int = Field(3, ge=1)
    come_within: float = Field(3.0, gt=0)
    drain: float = 120.0
    store_delay_ms: float = Field(0.0, ge=0)
    kept_event_mb: int | None = Field(None, ge=17)
    experiments: tuple[Group, ...] = Field(min_length=1)
    people: tuple[People, ...] = Field(min_length=1)
    limits: tuple[Limit, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_are_known(self) -> "Scenario":
        groups = {group.name: group for group in self.experiments}
        if len(groups) != len(self.experiments):
            raise ValueError("two groups of one name")
        for people in self.people:
            if unknown := [name for name in people.of if name not in groups]:
                raise ValueError(f"{people.kind}: no group {', '.join(unknown)}")
            makes = people.kind in ("applier", "tuner", "pipeline-http", "pipeline-nats")
            if any((groups[name].count == 0) != makes for name in people.of):
                raise ValueError(f"{people.kind}: patterns (count 0) are for those who create")
        return self

    def scaled(self, scale: float, seconds: float | None) -> "Scenario":
        """With fewer people, experiments and trials, at least one of each; for trying."""
        groups = [group.scaled(scale) for group in self.experiments]
        people = [it.model_copy(update={"count": _part(it.count, scale)}) for it in self.people]
        return self.model_copy(
            update={
                "experiments": tuple(groups),
                "people": tuple(people),
                "seconds": self.seconds if seconds is None else seconds,
            }
        )

    @property
    def digest(self) -> str:
        """Of the work, not of its limits: figures of other work are not compared."""
        others = {"title", "about", "order", "limits", "runs", "drain"}
        # They came later: runs of before count where they are not said.
        unsaid = {"come_within", "kept_event_mb"} - self.model_fields_set
        work = self.model_dump_json(exclude=others | unsaid)
        return hashlib.sha256(work.encode()).hexdigest()[:12]


def _part(count: int, scale: float) -> int:
    return max(1, round(count * scale)) if count else 0


def read(path: Path) -> Scenario:
    """Raises ValidationError."""
    return Scenario.model_validate({"name": path.stem, **yaml.safe_load(path.read_text())})


def known(folder: Path = FOLDER) -> list[str]:
    """Names, in their order."""
    found = [read(path) for path in folder.glob("*.yaml")]
    return [it.name for it in sorted(found, key=lambda it: it.order)]


def chosen(names: Sequence[str], folder: Path = FOLDER) -> list[Scenario]:
    """All of them without names. Raises KeyError."""
    there = known(folder)
    if unknown := [name for name in names if name not in there]:
        raise KeyError(f"no scenario {', '.join(unknown)}; there are {', '.join(there)}")
    return [read(folder / f"{name}.yaml") for name in names or there]
