"""Errors, named by what the caller must do."""

from dataclasses import dataclass


class Transient(Exception):
    """The world was not ready (a server away, a timeout): retry the same call with back-off."""


class Poison(Exception):
    """A message that can never be handled: dead-letter it with this reason, go on with the next."""


class InvariantBroken(Exception):
    """A law of the system does not hold: do not go on with this experiment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong with an input: where, what, and what would be right."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


class Refused(Exception):
    """A business answer, not a fault: the request is wrong in these ways. An event or a 4xx."""

    def __init__(self, problems: tuple[Problem, ...] | list[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(str(problem) for problem in self.problems))


class NotNow(Refused):
    """Refused for the state that things are in, not for how the request is written."""


class NotThere(Exception):
    """Nothing living has this name."""


class NotPermitted(Exception):
    """A server does not let this process do what it is made for: stop, and have it put right."""


class TooLarge(Exception):
    """More than can be taken."""
