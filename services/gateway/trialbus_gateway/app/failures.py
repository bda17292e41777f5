"""What a question or a command can fail with, beside `Refused` and `Transient`."""


class NotThere(Exception):
    """Nothing living has this name."""


class Unreadable(Exception):
    """The caller must write it differently: a name, a number, a body."""


class TooLarge(Exception):
    """More than can be taken."""


class AnotherByNow(Exception):
    """The command was meant for an experiment that has been deleted since."""
