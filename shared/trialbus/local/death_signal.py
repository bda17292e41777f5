"""A process that ends when its parent does, however the parent ends."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
MAX_NAME_BYTES = 15


def die_with(parent: int) -> None:
    """SIGKILL to this process when the parent's thread that forked it ends. Linux only.

    Raises SystemExit when the parent has ended before.
    """
    if sys.platform == "linux":
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit(1)


def show_as(name: str) -> None:
    """The name that `ps` and `top` show for a process that was forked without an exec."""
    if sys.platform == "linux":
        _prctl(PR_SET_NAME, ctypes.c_char_p(name.encode()[:MAX_NAME_BYTES]))


def _prctl(option: int, value: object) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
