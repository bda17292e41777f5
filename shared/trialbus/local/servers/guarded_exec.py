"""Becomes a server that dies with its parent and is alone in its folder. Run as a script.

    python -I -S guarded_exec.py PARENT_PID LOCK_FILE LOCK_WAIT_S COMMAND...

A wrapper instead of `preexec_fn`: code between fork and exec is unsafe in a process with threads.
It keeps its pid through exec. Only the standard library, because it runs without site-packages.
"""

import ctypes
import fcntl
import os
import signal
import sys
import time

PR_SET_PDEATHSIG = 1
EXIT_PARENT_GONE = 113
EXIT_FOLDER_IN_USE = 114
LOCK_POLL_S = 0.02


def main(arguments: list[str]) -> None:
    parent, lock_file, lock_wait_s, *command = arguments
    _die_with(int(parent))
    os.umask(0o077)
    _restore_signals()
    if not _lock(lock_file, float(lock_wait_s)):
        sys.stderr.write(f"another server still runs in this folder ({lock_file} is locked)\n")
        sys.exit(EXIT_FOLDER_IN_USE)
    os.execv(command[0], command)


def _die_with(parent: int) -> None:
    """SIGKILL when the parent's thread that forked ends. Linux only; elsewhere nothing is set."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the signal was set
        sys.exit(EXIT_PARENT_GONE)


def _restore_signals() -> None:
    """Python ignores some signals and a parent's thread may block others; exec would keep both."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _lock(lock_file: str, wait_s: float) -> bool:
    """Hold the folder: the descriptor passes through exec and is released by the server's death.

    nats-server has no lock of its own on its store. Waiting lets a restart that comes at once see
    the killed predecessor out.
    """
    descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT, 0o600)
    os.set_inheritable(descriptor, True)
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(LOCK_POLL_S)


if __name__ == "__main__":
    main(sys.argv[1:])
