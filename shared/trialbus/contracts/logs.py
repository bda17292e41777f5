"""Asking a launcher for a piece of a run's output.

Subject `trialbus.v1.log.<host>`: only the launcher on the host that holds a run can answer.
"""

from trialbus.contracts.envelope import Body


class LogRequest(Body):
    """from_byte: negative counts back from the present end."""

    run: str
    from_byte: int
    max_bytes: int


class LogReply(Body):
    """text: decoded with replacement. next_byte: where to go on. ended: nothing will follow.
    known: whether this host holds the run at all."""

    text: str = ""
    next_byte: int = 0
    ended: bool = False
    known: bool = True
