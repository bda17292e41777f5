"""An event loop whose time jumps: nothing waits, everything that sleeps wakes in order."""

import asyncio
import math
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
_ROUNDS = 20


class Stalled(Exception):
    """Nothing is scheduled any more and the program has not ended; or it takes too long."""


class _JumpingSelector(selectors.SelectSelector):
    """Instead of waiting for a file, moves the loop's time to the next timer."""

    def __init__(self, limit_s: float) -> None:
        super().__init__()
        self.time = 0.0
        self.limit_s = limit_s

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Stalled("nothing is scheduled")
        self.time += max(0.0, timeout)
        if self.time > self.limit_s:
            raise Stalled(f"not done after {self.limit_s:g} virtual seconds")
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Deterministic: callbacks run in the order in which they became due."""

    def __init__(self, limit_s: float) -> None:
        self._jumping = _JumpingSelector(limit_s)
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.time

    def lift_limit(self) -> None:
        """What is left is ended however late it is."""
        self._jumping.limit_s = math.inf


def run_virtual(main: Coroutine[Any, Any, T], *, limit_s: float) -> T:
    """Run to the end in virtual time. Raises Stalled after `limit_s` virtual seconds."""
    loop = VirtualTimeLoop(limit_s)
    try:
        return loop.run_until_complete(main)
    finally:
        loop.lift_limit()
        _abandon(loop)
        loop.close()


def _abandon(loop: asyncio.AbstractEventLoop) -> None:
    """End what is left. Some of it awaits dead connections and would never end by itself."""
    for _ in range(_ROUNDS):
        tasks = asyncio.all_tasks(loop)
        if not tasks:
            return
        for task in tasks:
            task.cancel()
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        loop.call_soon(loop.stop)
        loop.run_forever()
