"""How a command ends when it cannot do what was asked: see docs/reference/cli.md."""

from collections.abc import Iterable

OK = 0
FAILED = 1
REFUSED = 2
TIMED_OUT = 124
INTERRUPTED = 130


class CommandFailed(Exception):
    """Lines for stderr, and the exit code."""

    def __init__(self, lines: str | Iterable[str], code: int = FAILED) -> None:
        self.lines = [lines] if isinstance(lines, str) else list(lines)
        self.code = code
        super().__init__("; ".join(self.lines))


class Unreachable(CommandFailed):
    """Nobody answers at the address, or not now."""


class StackGone(CommandFailed):
    """The stack has ended: nobody will ever answer at its address."""


class NotFound(CommandFailed):
    """The stack knows no such object."""
