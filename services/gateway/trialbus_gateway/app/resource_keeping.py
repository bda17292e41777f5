"""One gateway at a time keeps objects and store in step. That only saves work: what two of them do
at once is the same, and each step is safe against the other's."""

import asyncio
from collections.abc import Awaitable, Callable

from trialbus.kernel.errors import Transient
from trialbus.runtime.parts import Parts
from trialbus_gateway.app.lasting_troubles import LastingTroubles
from trialbus_gateway.app.resource_documents import ResourceDocuments, ResourceKeeper

BEAT_S = 2.0
# So long after the last beat that was seen, another one takes over.
SILENCE_S = 6.0
_STORE = "store"


class ResourceKeeping:
    def __init__(
        self, parts: Parts, *, beat_s: float = BEAT_S, silence_s: float = SILENCE_S
    ) -> None:
        self._clock = parts.clock
        self._log = parts.telemetry.log
        self._troubles = LastingTroubles(parts.clock, parts.telemetry.log)
        self._documents = ResourceDocuments(parts.store)
        self._holder = parts.ids.new_id()
        self._beat_s = beat_s
        self._silence_s = silence_s
        self._seen: ResourceKeeper | None = None
        self._seen_at = 0.0
        self._held_at: float | None = None

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work whenever it is ours to do; until cancelled."""
        doing: asyncio.Task[None] | None = None
        try:
            while True:
                await self._look()
                if not self._is_ours():
                    await _ended(doing)
                    doing = None
                elif doing is None or doing.done():
                    await _ended(doing)
                    doing = asyncio.create_task(_awaited(work), name="custom resources")
                await self._clock.sleep(self._beat_s)
        finally:
            await _ended(doing)
            await self._leave()

    def _is_ours(self) -> bool:
        """For as long as nobody else can have taken it."""
        at = self._held_at
        return at is not None and self._clock.monotonic() - at < self._silence_s

    async def _look(self) -> None:
        try:
            now, found = self._clock.monotonic(), await self._documents.keeper()
            if found != self._seen:
                self._seen, self._seen_at = found, now
            free = found is None or found.holder in ("", self._holder)
            if free or now - self._seen_at >= self._silence_s:
                self._held_at = now if await self._documents.keep(found, self._holder) else None
            else:
                self._held_at = None
            self._troubles.over(_STORE)
        except Transient as error:
            self._troubles.met(_STORE, "custom resources wait for the store", error=str(error))

    async def _leave(self) -> None:
        """So that nobody has to wait for our silence."""
        if not self._is_ours():
            return
        try:
            found = await self._documents.keeper()
            if found is not None and found.holder == self._holder:
                await self._documents.keep(found, "")
        except Transient as error:
            self._log.debug("others wait until they take over", error=str(error))


async def _awaited(work: Callable[[], Awaitable[None]]) -> None:
    await work()


async def _ended(task: "asyncio.Task[None] | None") -> None:
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
