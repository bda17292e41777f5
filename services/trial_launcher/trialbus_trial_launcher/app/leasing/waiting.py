"""Asks that wait for their first trial: looked at together, whenever there may be one."""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field

from trialbus.contracts.work import GivenTrial
from trialbus.kernel.errors import Transient
from trialbus.kernel.limits import MAX_KNOWN_EXPERIMENTS
from trialbus.runtime import metrics
from trialbus.runtime.parts import Parts
from trialbus_trial_launcher.app.leasing.giving import Asking, Giving
from trialbus_trial_launcher.app.leasing.work import Works

# Another replica may have heard what this one did not.
_LOOK_EVERY_S = 0.5


@dataclass(slots=True, eq=False)
class _Waiter:
    asking: Asking
    found: "asyncio.Future[Asking]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Waiting:
    def __init__(self, parts: Parts, works: Works, giving: Giving) -> None:
        self._parts = parts
        self._works = works
        self._giving = giving
        # By the ask's key, in the order of their coming.
        self._waiters: dict[str, _Waiter] = {}
        self._news: set[str] = set()
        self._turn = 0
        # By experiment, the turn of its last news.
        self._heard: dict[str, int] = {}
        self._wake = asyncio.Event()
        self._looking = asyncio.Lock()

    @property
    def turn(self) -> int:
        """Of the news: whoever looks for trials notes it before."""
        return self._turn

    def wait(self, asking: Asking, turn: int) -> Awaitable[Asking | None]:
        """With a trial, or as it was when its time is over; None: the same ask came again, and is
        answered in its place. turn: when it was looked for trials without success."""
        waiter = _Waiter(asking)
        before = self._waiters.pop(asking.key, None)
        # What is being given to the one before is this one's.
        asking.again = before is not None
        if before is not None:
            before.found.cancel()
        self._waiters[asking.key] = waiter
        if self._heard.get(asking.work.uid, 0) > turn:
            self._news.add(asking.work.uid)
            self._wake.set()
        return self._wait(asking, waiter)

    def forget(self, uid: str) -> None:
        self._heard.pop(uid, None)

    async def _wait(self, asking: Asking, waiter: _Waiter) -> Asking | None:
        try:
            async with asyncio.timeout(asking.ask.wait):
                return await waiter.found
        except TimeoutError:
            # It may be getting one just now, which nobody would know of.
            async with self._looking:
                return asking
        except asyncio.CancelledError:
            if waiter.found.cancelled() and self._waiters.get(asking.key) is not waiter:
                return None
            raise
        finally:
            if self._waiters.get(asking.key) is waiter:
                del self._waiters[asking.key]

    def news(self, uids: Sequence[str]) -> None:
        """Of these experiments something has changed."""
        self._turn += 1
        for uid in uids:
            self._heard.pop(uid, None)
            self._heard[uid] = self._turn
        while len(self._heard) > MAX_KNOWN_EXPERIMENTS:
            del self._heard[next(iter(self._heard))]
        waited = {waiter.asking.work.uid for waiter in self._waiters.values()}
        self._news.update(uid for uid in uids if uid in waited)
        if self._news:
            self._wake.set()

    async def serve(self) -> None:
        """For ever: give to those who wait."""
        while True:
            try:
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await self._wake.wait()
            except TimeoutError:
                self._news.update(it.asking.work.uid for it in self._waiters.values())
            self._wake.clear()
            uids, self._news = self._news, set()
            if not uids:
                continue
            async with self._looking:
                await self._look_at(uids)

    async def _look_at(self, uids: set[str]) -> None:
        """Whatever is wrong with one experiment is nobody else's: who asks for it waits in vain."""
        try:
            await self._look(uids)
        except Transient as error:
            self._parts.telemetry.log.warning("asks wait for the store", error=str(error))
        except Exception as error:  # noqa: BLE001 - told, and tried again with the next look
            if len(uids) > 1:
                for uid in sorted(uids):
                    await self._look_at({uid})
                return
            self._parts.telemetry.add(metrics.FAILURES, error=type(error).__name__)
            self._parts.telemetry.log.error(
                "asks cannot be answered", uid=next(iter(uids)), error=repr(error)
            )

    async def _look(self, uids: set[str]) -> None:
        waiters = [it for it in self._waiters.values() if it.asking.work.uid in uids]
        works = await self._works.of(uids)
        for waiter in waiters:
            # Deleted: who asks again is told so.
            waiter.asking.work = works.get(waiter.asking.work.uid, waiter.asking.work)
        alive = [it for it in waiters if not it.found.done() and not it.asking.work.over]
        await self._giving.give([waiter.asking for waiter in alive])
        for waiter in waiters:
            given: list[GivenTrial] = waiter.asking.given
            if (given or waiter.asking.work.over) and not waiter.found.done():
                waiter.found.set_result(waiter.asking)
