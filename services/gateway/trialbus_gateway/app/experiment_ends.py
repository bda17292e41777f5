"""Waiting for an experiment's end: woken by the event stream, which may lose something."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from trialbus.contracts import subjects
from trialbus.contracts.messages import Message
from trialbus.kernel.errors import Transient
from trialbus.runtime.parts import Parts

_ENDS = frozenset({"experiment.succeeded", "experiment.failed", "experiment.deleted"})
_UID_HEADER = "ce-experimentuid"
_RETRY_S = 2.0
# Between two looks, the first and the longest: while the stream is followed, a look only finds
# what an event that was lost would have told; else it is all there is.
_FOLLOWED_PAUSES_S = (1.0, 5.0)
_UNFOLLOWED_PAUSES_S = (0.2, 2.0)
# By then the pauses are the longest.
_DOUBLINGS = 8


class Awaiting:
    """Of one who waits for the end of one experiment."""

    def __init__(self, ends: "ExperimentEnds") -> None:
        self._ends = ends
        self._looks = 0
        self.news = asyncio.Event()

    async def until_next_look(self, at_most_s: float) -> None:
        """An end was told since the look before, or it is time to look again."""
        first_s, last_s = _FOLLOWED_PAUSES_S if self._ends.followed else _UNFOLLOWED_PAUSES_S
        pause_s = min(first_s * 2**self._looks, last_s, at_most_s)
        self._looks = min(self._looks + 1, _DOUBLINGS)
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self.news.wait()
        # Before the look: what is told during it is news.
        self.news.clear()


class ExperimentEnds:
    """One follower of the stream for all who wait."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._waiting: dict[str, set[Awaiting]] = {}
        self.followed = False

    @contextmanager
    def awaited(self, uid: str) -> Iterator[Awaiting]:
        """The first look is due at once, within it."""
        awaiting = Awaiting(self)
        of_uid = self._waiting.setdefault(uid, set())
        of_uid.add(awaiting)
        try:
            yield awaiting
        finally:
            of_uid.discard(awaiting)
            if not of_uid and self._waiting.get(uid) is of_uid:
                del self._waiting[uid]

    @property
    def awaited_uids(self) -> frozenset[str]:
        """Of all that somebody waits for now."""
        return frozenset(self._waiting)

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                await self._follow()
            except Transient as error:
                self._parts.telemetry.log.debug("ends are not followed", error=str(error))
            await self._parts.clock.sleep(_RETRY_S)

    async def _follow(self) -> None:
        """As long as the stream lets itself be followed."""
        async with self._parts.bus.tail(subjects.experiment_events(), from_start=False) as messages:
            self.followed = True
            try:
                # Who looked before may have missed an end.
                self._wake(*self._waiting)
                async for message in messages:
                    self._hear(message)
            finally:
                self.followed = False
                # They look more often from now on.
                self._wake(*self._waiting)

    def _hear(self, message: Message) -> None:
        try:
            is_end = subjects.parse_event(message.subject).type in _ENDS
        except ValueError as error:
            self._parts.telemetry.log.warning("unreadable subject", error=str(error))
            return
        headers = {name.lower(): value for name, value in message.headers.items()}
        if is_end and _UID_HEADER in headers:
            self._wake(headers[_UID_HEADER])

    def _wake(self, *uids: str) -> None:
        for uid in uids:
            for awaiting in self._waiting.get(uid, ()):
                awaiting.news.set()
