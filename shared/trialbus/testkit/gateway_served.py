"""A gateway over bus and store in memory behind a real server, in a thread of its own: for tests
that are not async themselves."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Self, TypeVar

from trialbus.testkit.gateway_world import World, real_client

T = TypeVar("T")

TIMEOUT_S = 20.0


class ServedGateway:
    """make: the world, made in the thread."""

    def __init__(self, make: Callable[[], AbstractAsyncContextManager[World]]) -> None:
        self._make = make
        self._ready, self._stop = threading.Event(), asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=[self._serve()])
        self._world: World | None = None
        self.address = ""

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(TIMEOUT_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(TIMEOUT_S)
        self._loop.close()

    def run(self, work: Callable[[World], Awaitable[T]]) -> T:
        """Something with the world, in its thread."""
        world = self._world
        assert world is not None

        async def call() -> T:
            return await work(world)

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(TIMEOUT_S)

    async def _serve(self) -> None:
        async with AsyncExitStack() as stack:
            self._world = await stack.enter_async_context(self._make())
            client = await stack.enter_async_context(real_client(self._world))
            self.address = str(client.base_url)
            self._ready.set()
            await self._stop.wait()
