"""One life of the index: it follows the event stream until nobody wants it or the stream ends."""

import asyncio
from collections.abc import AsyncIterator, Callable

from trialbus.contracts import subjects
from trialbus.contracts.collections import EXPERIMENTS
from trialbus.contracts.messages import Message
from trialbus.kernel.errors import Transient
from trialbus.ports.store import Query
from trialbus.runtime.parts import Parts
from trialbus_gateway.app.changes_index import Index

# Hints are gathered this long: with watches, and without.
PACE_S = 0.1
IDLE_PACE_S = 1.0
# How soon a lost hint is made good, for experiments that are not at rest.
SWEEP_S = 5.0
LOOK_AT_ONCE = 64
# The events after which every view is as before.
_UNSEEN = frozenset(
    {
        "metric.recorded",
        "observation.recorded",
        "suggestion.requested",
        "suggestion.proposed",
        "trial.stop_requested",
    }
)
_UID_HEADER = "ce-experimentuid"


class Life:
    """unused: whether the index may be dropped now."""

    def __init__(
        self, parts: Parts, index: Index, unused: Callable[[], bool], *, sweep_s: float = SWEEP_S
    ) -> None:
        self._parts = parts
        self._index = index
        self._unused = unused
        self._sweep_s = sweep_s
        self._hints: set[str] = set()
        self._hinted = asyncio.Event()

    def hint(self, uid: str) -> None:
        self._hints.add(uid)
        self._hinted.set()

    async def live(self, begun: "asyncio.Future[None]") -> None:
        """begun: set when the index knows what there is; what goes wrong before is told there."""
        try:
            async with self._parts.bus.tail(subjects.events(), from_start=False) as messages:
                async with self._index.lock:
                    await self._index.begin()
                await self._look_at(await self._active())
                begun.set_result(None)
                await self._until_one_ends(messages)
        except Exception as error:  # noqa: BLE001 - whatever it is, who asks is told or begins anew
            if begun.done():
                self._parts.telemetry.log.warning("index of changes dropped", error=str(error))
            else:
                begun.set_exception(error)
        finally:
            if not begun.done():
                begun.set_exception(Transient("the gateway stops"))
            self._index.end()

    async def _until_one_ends(self, messages: AsyncIterator[Message]) -> None:
        work = (self._listen(messages), self._keep_up(), self._sweep())
        tasks = [asyncio.create_task(it) for it in work]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    async def _listen(self, messages: AsyncIterator[Message]) -> None:
        async for message in messages:
            try:
                seen = subjects.parse_event(message.subject).type not in _UNSEEN
            except ValueError as error:
                self._parts.telemetry.log.warning("unreadable subject", error=str(error))
                continue
            headers = {name.lower(): value for name, value in message.headers.items()}
            if seen and _UID_HEADER in headers:
                self.hint(headers[_UID_HEADER])

    async def _keep_up(self) -> None:
        while True:
            await self._hinted.wait()
            pace_s = PACE_S if self._index.watches else IDLE_PACE_S
            await self._parts.clock.sleep(pace_s)
            hints, self._hints = self._hints, set()
            self._hinted.clear()
            try:
                await self._look_at(sorted(hints))
            except Transient:
                for uid in hints:
                    self.hint(uid)
                await self._parts.clock.sleep(IDLE_PACE_S)

    async def _sweep(self) -> None:
        """Ends when nobody wants the index any more."""
        while not self._unused():
            await self._parts.clock.sleep(self._sweep_s)
            try:
                active = await self._active()
            except Transient as error:
                self._parts.telemetry.log.debug("sweep left out", error=str(error))
                continue
            for uid in active:
                self.hint(uid)

    async def _active(self) -> list[str]:
        query = Query(equals={"active": True}, fields=("version",))
        return [str(it["_id"]) for it in await self._parts.store.find(EXPERIMENTS.name, query)]

    async def _look_at(self, uids: list[str]) -> None:
        for first in range(0, len(uids), LOOK_AT_ONCE):
            async with self._index.lock:
                await self._index.look_at(uids[first : first + LOOK_AT_ONCE])
