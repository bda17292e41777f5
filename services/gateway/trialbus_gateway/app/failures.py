"""What a question or a command can fail with, beside `Refused` and `Transient`."""

from trialbus.kernel.errors import NotThere, TooLarge

__all__ = ["AnotherByNow", "Expired", "NotThere", "TooLarge", "Unreadable"]


class Unreadable(Exception):
    """The caller must write it differently: a name, a number, a body."""


class AnotherByNow(Exception):
    """The command was meant for an experiment that has been deleted since."""


class Expired(Exception):
    """What is asked for was known once: ask for the present state."""
