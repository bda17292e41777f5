"""What can go wrong, named by what the caller must do. All of them are `TrialbusError`s."""

from collections.abc import Iterable, Sequence

from trialbus.kernel.errors import Problem


class TrialbusError(Exception):
    """Of all that this library raises by itself."""


class Unavailable(TrialbusError):
    """Nobody answered in time, however often it was tried: the same call may be made again, it
    will not be obeyed twice."""


class Unauthorised(TrialbusError):
    """The gateway wants a token, another one, or one that allows this."""


class NotThere(TrialbusError):
    """There is no such experiment or trial."""


class Conflict(TrialbusError):
    """The name is taken, or belongs to another experiment by now."""


class Refused(TrialbusError):
    """The request is wrong; `problems` says every field that is, and what would be right."""

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        self.problems = tuple(problems)
        lines = [message, *(f"  {problem}" for problem in self.problems)]
        super().__init__("\n".join(line for line in lines if line))


class LeaseLost(TrialbusError):
    """The trial is not this worker's any more, and what it said last was not taken: its lease ran
    out, or the trial has ended. Leave it; `reason` says why."""

    def __init__(self, trial: str, reason: str) -> None:
        self.trial = trial
        self.reason = reason
        super().__init__(f"{trial}: {reason}")


class ExperimentOver(TrialbusError):
    """It gives out no trials any more; `phase` is how it ended."""

    def __init__(self, name: str, phase: str) -> None:
        self.phase = phase
        super().__init__(f"{name} gives out no trials any more" + (f": {phase}" if phase else ""))


class NothingTold(TrialbusError):
    """A trial was left without a result: the objective was neither told nor reported."""


class TimedOut(TrialbusError, TimeoutError):
    """What was waited for did not come in time; it may still come."""


class ServerFailed(TrialbusError):
    """The gateway has a fault; its log tells more."""


class NotInATrial(TrialbusError):
    """There is no trial around this code."""


class TuneFailed(TrialbusError):
    """The experiment ended without a result, or could not begin."""


def listed(problems: Iterable[object]) -> str:
    return "; ".join(str(problem) for problem in problems)
