"""What a question or a command can fail with, beside `Refused` and `Transient`."""

from trialbus.kernel.errors import NotThere, TooLarge

__all__ = [
    "AnotherByNow",
    "Expired",
    "Forbidden",
    "NotThere",
    "TooLarge",
    "TooMany",
    "TooSlow",
    "Unauthenticated",
    "Unreadable",
]


class Unreadable(Exception):
    """The caller must write it differently: a name, a number, a body."""


class AnotherByNow(Exception):
    """The command was meant for an experiment that has been deleted since."""


class Expired(Exception):
    """What is asked for was known once: ask for the present state."""


class Forbidden(Exception):
    """The caller is known, and its role does not allow this."""


class Unauthenticated(Exception):
    """Nobody knows who the caller is: a token is needed, or another one."""


class TooMany(Exception):
    """The caller asks too often, or has too much under way. retry_after_s: when to come again."""

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class TooSlow(Exception):
    """The caller takes too long to say what it wants."""
