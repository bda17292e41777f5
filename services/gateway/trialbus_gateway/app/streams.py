"""Waiting on a stream of messages without ending it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeVar

T = TypeVar("T")


async def with_pauses(messages: AsyncIterator[T], pause_s: float) -> AsyncGenerator[T | None, None]:
    """Every message, and None whenever `pause_s` went by without one.

    Cancelling the wait for a message would end most iterators, so it goes on over the pauses.
    """
    pending = asyncio.ensure_future(anext(messages))
    try:
        while True:
            done, _ = await asyncio.wait([pending], timeout=pause_s)
            if not done:
                yield None
                continue
            try:
                message = pending.result()
            except StopAsyncIteration:
                return
            pending = asyncio.ensure_future(anext(messages))
            yield message
    finally:
        pending.cancel()
        await asyncio.gather(pending, return_exceptions=True)
