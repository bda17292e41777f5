"""What `GET .../progress` of the gateway says of an experiment, for programs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = Any
FINISHED = ("Succeeded", "Failed")
# Trials that have not ended, and how many there are of any kind.
_OPEN = {"running", "pending", "paused", "created"}


@dataclass(frozen=True, slots=True, kw_only=True)
class BestTrial:
    """command: what its last attempt ran, None if that is not known. env: what the command needs
    beside its words. checkpoint: a folder to make for it, and whose content comes into it."""

    trial: str
    value: float | str
    parameters: Mapping[str, str]
    command: tuple[str, ...] | None
    working_dir: str | None
    env: Mapping[str, str] = field(default_factory=dict)
    checkpoint: tuple[str, str | None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What `GET .../progress` says. trials: state -> how many. spent: of budgets of time."""

    namespace: str
    name: str
    phase: str
    reason: str
    message: str
    parallel: int
    max_trials: int | None
    goal: float | None
    metric: str
    trials: Mapping[str, int]
    best: BestTrial | None
    spent: Mapping[str, Json] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether it is over, however it ended."""
        return self.phase in FINISHED

    @property
    def finished(self) -> int:
        """Trials that have ended, however they did."""
        return sum(count for state, count in self.trials.items() if state not in _OPEN)

    @property
    def running(self) -> int:
        """Trials that run now."""
        return self.trials.get("running", 0)

    @property
    def pending(self) -> int:
        """Trials that a launcher may begin to run at any moment."""
        return self.trials.get("pending", 0)


def parse_progress(answer: Mapping[str, Json]) -> Progress:
    best = answer.get("best")
    return Progress(
        namespace=answer["namespace"],
        name=answer["name"],
        phase=answer["phase"],
        reason=answer.get("reason") or "",
        message=answer.get("message") or "",
        parallel=answer["parallel"],
        max_trials=answer.get("max"),
        goal=None if answer.get("goal") is None else float(answer["goal"]),
        metric=answer["objective"]["name"],
        trials=answer["trials"],
        best=None if best is None else _parse_best(best),
        spent=answer.get("spent") or {},
    )


def _parse_best(best: Mapping[str, Json]) -> BestTrial:
    command, checkpoint = best.get("command"), best.get("checkpoint")
    return BestTrial(
        trial=best["trial"],
        value=_number_or_text(best["value"]),
        parameters={name: str(value) for name, value in (best.get("parameters") or {}).items()},
        command=tuple(command) if command else None,
        working_dir=best.get("workingDir"),
        env=best.get("env") or {},
        checkpoint=(checkpoint["path"], checkpoint.get("copyOf")) if checkpoint else None,
    )


def _number_or_text(value: Json) -> float | str:
    try:
        return float(value)  # also "NaN" and "Infinity"
    except ValueError:
        return str(value)
