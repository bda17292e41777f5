"""Running one service: prepare, react, answer, relay, and leave in good order."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress

from trialbus.kernel.errors import Transient
from trialbus.kernel.limits import OUTBOX_IDLE_S
from trialbus.runtime import metrics
from trialbus.runtime.hints import HintLoop
from trialbus.runtime.parts import Behaviour, Parts, ServiceDefinition

_FIRST_DELAY_S = 0.1
_LAST_DELAY_S = 2.0
_FLUSH_DEADLINE_S = 2.0


class RunningService:
    """One service in one process, from its start to its drained end."""

    def __init__(self, definition: ServiceDefinition, parts: Parts) -> None:
        self.definition = definition
        self.parts = parts
        self._ready = False
        self._loop: HintLoop | None = None
        parts.telemetry.watch(metrics.READY, lambda: self.ready)

    @property
    def ready(self) -> bool:
        """Whether it can do its work now: built, and both servers in reach."""
        return self._ready and self.parts.bus.connected and self.parts.store.connected

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set; then drain. Raises when a part of it failed for good."""
        await self._patiently(self.parts.bus.provision)
        await self._patiently(lambda: self.parts.store.prepare(self.definition.owns))
        behaviour = await self.definition.build(self.parts)
        try:
            async with AsyncExitStack() as stack:
                for served in behaviour.served:
                    await stack.enter_async_context(
                        self.parts.bus.serve(
                            served.subject,
                            served.queue,
                            served.respond,
                            max_group=served.max_group,
                            max_groups=served.max_groups,
                            gather_s=served.gather_s,
                        )
                    )
                await self._work(behaviour, stop)
        finally:
            self._ready = False
            await behaviour.close()

    async def _work(self, behaviour: Behaviour, stop: asyncio.Event) -> None:
        work = [
            self.parts.outbox.relay(),
            self._tend_outbox(),
            *(task() for task in behaviour.tasks),
        ]
        if behaviour.reactor is not None:
            self._loop = HintLoop(self.definition.name, behaviour.reactor, self.parts)
            self.parts.nudge.target = self._loop.add
            work.append(self._loop.run())
        tasks = [asyncio.ensure_future(coroutine) for coroutine in work]
        stopping = asyncio.ensure_future(stop.wait())
        self._ready = True
        self.parts.telemetry.log.info("ready")
        try:
            await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
            if stop.is_set():
                await self._drain()
        finally:
            for task in (*tasks, stopping):
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _drain(self) -> None:
        self._ready = False
        with suppress(TimeoutError):
            async with asyncio.timeout(self.parts.settings.drain_deadline_s):
                if self._loop is not None:
                    await self._loop.drain()
                async with asyncio.timeout(_FLUSH_DEADLINE_S):
                    await self.parts.outbox.flush()
        self.parts.telemetry.log.info("drained")

    async def _tend_outbox(self) -> None:
        """Clear what is sent, and adopt what a crashed process left."""
        owned = [
            collection.name
            for collection in self.definition.owns
            if any(index.fields == ("outbox_at",) for index in collection.indexes)
        ]
        while True:
            await self.parts.clock.sleep(OUTBOX_IDLE_S)
            try:
                await self.parts.outbox.clear_idle()
                await self.parts.outbox.sweep(owned)
            except Transient as error:
                self.parts.telemetry.log.warning("outbox waits", error=str(error))

    async def _patiently(self, action: Callable[[], Awaitable[None]]) -> None:
        """A server that is not up yet is waited for, never a reason to exit."""
        delay = _FIRST_DELAY_S
        while True:
            try:
                await action()
            except Transient as error:
                self.parts.telemetry.log.warning("waiting for a server", error=str(error))
                await self.parts.clock.sleep(delay)
                delay = min(delay * 2, _LAST_DELAY_S)
            else:
                return
