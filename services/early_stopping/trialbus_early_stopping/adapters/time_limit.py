"""A time limit on code that does not give way: the alarm of the process."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from trialbus_early_stopping.app.rule_guard import TookTooLong

# Code that catches the first alarm gets more.
_AGAIN_S = 0.1


def time_limit(limit_s: float) -> Callable[[], AbstractContextManager[None]]:
    """Raises TookTooLong in what computes longer. In another thread than the first, where no
    alarm rings, there is no limit; inside a library's own call it rings when that returns."""

    @contextmanager
    def limited() -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        computes = True

        def ring(*_: object) -> None:
            if computes:
                raise TookTooLong(f"gave no verdict in {limit_s:g} s")

        before = signal.signal(signal.SIGALRM, ring)
        left_s, interval_s = signal.setitimer(signal.ITIMER_REAL, limit_s, _AGAIN_S)
        try:
            try:
                yield
            finally:
                # It may ring at this very moment; the next ring is far enough away.
                computes = False
        finally:
            signal.setitimer(signal.ITIMER_REAL, left_s, interval_s)
            signal.signal(signal.SIGALRM, before)

    return limited
