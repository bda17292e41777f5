"""Why something is in its state: a chain of steps in the order of time, told from documents."""

from collections.abc import Iterable
from dataclasses import dataclass

from trialbus.kernel.conditions import Condition
from trialbus.kernel.experiment import Experiment, ExperimentPhase
from trialbus.kernel.measurements import format_value

# What still has to happen is told last, whatever its time.
WAITING = "waiting"
# Reasons of conditions that say what is waited for too long.
STALLS = frozenset(
    {"BusUnavailable", "LaunchStalled", "SuggestionStalled", "TrialsWaiting", "WorkersMissing"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """at: when it happened; of a wait, since when."""

    at: float
    event: str
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where something stands, in one reason and one sentence."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    subject: str
    uid: str
    state: str
    standing: Standing
    chain: tuple[Step, ...]


def in_order(steps: Iterable[Step]) -> tuple[Step, ...]:
    """By time, waits last; what has the same time keeps its order."""
    return tuple(sorted(steps, key=lambda step: (step.event == WAITING, step.at)))


def standing_of(state: Experiment) -> Standing:
    """The verdict while it is being carried out, else the newest condition that holds."""
    if state.phase is ExperimentPhase.ENDING and state.verdict is not None:
        return Standing(reason=state.verdict.reason, message=state.verdict.message)
    newest = newest_condition(state)
    if newest is None:
        return Standing(reason="", message="")
    return Standing(reason=newest.reason, message=newest.message)


def newest_condition(state: Experiment) -> Condition | None:
    holding = [condition for condition in state.conditions if condition.status]
    return holding[-1] if holding else None


def counted(number: int, noun: str) -> str:
    """`1 trial`, `2 trials`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def for_s(since: float, now: float) -> str:
    """How long something has lasted: `4.2 s`, `3 min`, `2.5 h`."""
    lasted_s = max(0.0, now - since)
    if lasted_s < 120:
        return f"{lasted_s:.1f} s"
    if lasted_s < 7200:
        return f"{lasted_s / 60:.0f} min"
    return f"{lasted_s / 3600:.1f} h"


def value_text(value: object) -> str:
    """A measured value as people write it; documents may hold none."""
    return format_value(value) if isinstance(value, int | float) else "unknown"
