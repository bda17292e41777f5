"""Processes by pidfd: their end as an event, signals that never hit a recycled pid."""

# A scan reads hundreds of entries of /proc: no Path object for each.
# ruff: noqa: PTH123, PTH208

import errno
import os
import select
import signal
import time
from collections.abc import Set as AbstractSet
from contextlib import suppress

from trialbus.kernel.limits import ORPHAN_KILL_DEADLINE_S

# linux/pidfd.h, since 6.9: to the group that the process leads or led, found by identity and not
# by number, so it reaches what is left of a group after its leader was reaped.
_PIDFD_SIGNAL_PROCESS_GROUP = 1 << 2
_ENDS_AT_ONCE = 64
_SCAN_AGAIN_AFTER_S = 0.01


class EndWatch:
    """Becomes readable when a watched process ends, child or not."""

    def __init__(self) -> None:
        self._epoll = select.epoll(flags=select.EPOLL_CLOEXEC)

    def fileno(self) -> int:
        return self._epoll.fileno()

    def add(self, pidfd: int) -> None:
        self._epoll.register(pidfd, select.EPOLLIN)

    def remove(self, pidfd: int) -> None:
        """Before closing it: a child between fork and exec may hold a copy of the description."""
        self._epoll.unregister(pidfd)

    def ended(self) -> list[int]:
        """The pidfds of processes that have ended, until they are removed; never waits."""
        return [pidfd for pidfd, _ in self._epoll.poll(0, _ENDS_AT_ONCE)]

    def close(self) -> None:
        self._epoll.close()


def open_marked(pid: int, mark: bytes) -> int | None:
    """A pidfd of the process if it carries `mark` in its environment, and so is no stranger
    with a recycled pid. The pidfd comes first: what is checked is what it names."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    if mark in _environment_of(str(pid)) and signal_process(pidfd, 0):
        return pidfd
    os.close(pidfd)
    return None


def signal_process(pidfd: int, number: int) -> bool:
    """Whether the process was there to get it."""
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return False
    return True


def signal_group(pidfd: int, pid: int, number: int) -> None:
    """To the group that the process leads, whether or not the leader still lives."""
    try:
        signal.pidfd_send_signal(pidfd, number, None, _PIDFD_SIGNAL_PROCESS_GROUP)
    except (ProcessLookupError, PermissionError):
        return
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # An older kernel: by number, which cannot have been recycled while the leader is alive
        # or our own unreaped child.
        if signal_process(pidfd, 0):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, number)


def reap(pidfd: int) -> None:
    """Takes the zombie away if it was our child; its exit status is in the journal."""
    with suppress(ChildProcessError):
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)


def kill_marked(marks: AbstractSet[bytes]) -> None:
    """SIGKILL to every process that carries one of the marks, again until none is left: they may
    fork meanwhile. Reads the environment of all processes, some milliseconds: not on the loop.
    Out of reach: a process that left the group and replaced its environment."""
    give_up_at = time.monotonic() + ORPHAN_KILL_DEADLINE_S
    while _kill_round(marks) and time.monotonic() < give_up_at:
        time.sleep(_SCAN_AGAIN_AFTER_S)


def _kill_round(marks: AbstractSet[bytes]) -> bool:
    found = False
    for name in reversed(os.listdir("/proc")):  # the newest are the first to be gone
        if not name.isdigit():
            continue
        mark = next(iter(marks & _environment_of(name)), None)
        if mark is None:
            continue
        pidfd = open_marked(int(name), mark)
        if pidfd is not None:
            found = True
            signal_process(pidfd, signal.SIGKILL)
            os.close(pidfd)
    return found


def _environment_of(pid: str) -> frozenset[bytes]:
    """Empty for a zombie, a kernel thread and another user's process."""
    try:
        descriptor = os.open(f"/proc/{pid}/environ", os.O_RDONLY)
    except OSError:
        return frozenset()
    with open(descriptor, "rb") as file, suppress(OSError):
        return frozenset(file.read().split(b"\0"))
    return frozenset()
