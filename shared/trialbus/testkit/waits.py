"""Waiting for a condition with a deadline: the only place where a test may sleep."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable

LOOK_EVERY_S = 0.01
# Of no meaning for what is tested: a busy machine has to do, and only what fails waits so long.
DEADLINE_S = 30.0


async def until(
    condition: Callable[[], object | Awaitable[object]], what: str, *, within_s: float = DEADLINE_S
) -> None:
    """Return when the condition holds; AssertionError, saying what, after `within_s`."""
    deadline = time.monotonic() + within_s
    while True:
        result = condition()
        if inspect.isawaitable(result):
            result = await result
        if result:
            return
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        await asyncio.sleep(LOOK_EVERY_S)  # tidy: deadline wait


def until_sync(condition: Callable[[], object], what: str, *, within_s: float = DEADLINE_S) -> None:
    """The same outside an event loop."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(LOOK_EVERY_S)  # tidy: deadline wait
