"""What goes on beside the work: leases are renewed, results that wait are told."""

import threading
import time
import weakref
from collections.abc import Callable

# A thread with nothing to do stays for as long, because the next trial often follows at once.
LINGER_S = 2.0
# Nothing is due sooner than this after it failed.
RETRY_S = 1.0


class Ticker:
    """Calls `tick`, which says when it has to be called next (by this clock; None: there is
    nothing to do), from a thread that is there only while there is something."""

    def __init__(
        self, tick: Callable[[], float | None], now: Callable[[], float] = time.monotonic
    ) -> None:
        # Its owner may go without a word; then the thread goes too.
        self._tick = weakref.WeakMethod(tick)
        self._now = now
        self._wake = threading.Condition()
        self._planned: float | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def due(self, at: float) -> None:
        """There is something to do at that time."""
        with self._wake:
            if self._closed or (self._planned is not None and self._planned <= at):
                return
            self._planned = at
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="trialbus", daemon=True)
                self._thread.start()
            else:
                self._wake.notify()

    def close(self) -> None:
        with self._wake:
            self._closed = True
            thread, self._thread = self._thread, None
            self._wake.notify()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        while self._until_due():
            tick = self._tick()
            if tick is None:
                return
            planned = tick()
            # Not kept while it waits, or the owner would live for ever.
            del tick
            with self._wake:
                if planned is not None and (self._planned is None or planned < self._planned):
                    self._planned = planned

    def _until_due(self) -> bool:
        """False: there is nothing more to do here."""
        with self._wake:
            lingers_until = self._now() + LINGER_S
            while not self._closed:
                until = lingers_until if self._planned is None else self._planned
                left = until - self._now()
                if left > 0:
                    self._wake.wait(min(left, LINGER_S))
                    if self._tick() is None:
                        return False
                elif self._planned is None:
                    self._thread = None
                    return False
                else:
                    self._planned = None
                    return True
            return False
