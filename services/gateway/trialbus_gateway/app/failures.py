"""What a question or a command can fail with, beside `Refused` and `Transient`."""

from trialbus.kernel.errors import NotThere, TooLarge

__all__ = [
    "AnotherByNow",
    "Expired",
    "Forbidden",
    "NotThere",
    "NotWanted",
    "Over",
    "TooLarge",
    "TooMany",
    "TooMuch",
    "TooSlow",
    "Unauthenticated",
    "Unreadable",
]


class Unreadable(Exception):
    """The caller must write it differently: a name, a number, a body."""


class AnotherByNow(Exception):
    """The command was meant for an experiment that has been deleted since."""


class Over(Exception):
    """The attempt has ended, or is another pod's: what speaks for it is to stop."""


class NotWanted(Exception):
    """Nothing more of this is taken, ever; whoever sends it may go on with the rest."""


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


class TooMuch(Exception):
    """One answer would cost too much; the message says what to ask for instead."""


class TooSlow(Exception):
    """The caller takes too long to say what it wants."""
