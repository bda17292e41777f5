"""The outbox relay: what was committed with its events is published, whatever happens between.

A document carries the events that its last changes caused. After a commit the service offers
them here; a task publishes them and, once the stream has them, remembers that. The next commit
of the document leaves the sent ones out; a document that stays idle has them cleared. After a
crash the sweep finds what was left unsent and publishes it again under the same ids.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence

from pydantic import TypeAdapter, ValidationError

from trialbus.contracts.envelope import encode_event
from trialbus.contracts.messages import Message
from trialbus.kernel.errors import Poison, Transient
from trialbus.kernel.events import Event
from trialbus.kernel.limits import FETCH_MESSAGES, OUTBOX_IDLE_S
from trialbus.ports.bus import Bus
from trialbus.ports.clock import Clock
from trialbus.ports.store import Document, Query, Store
from trialbus.runtime import metrics
from trialbus.runtime.telemetry import Telemetry

_EVENTS = TypeAdapter(tuple[Event, ...])
_SWEPT_DOCUMENTS = 500
_RETRY_DELAY_S = 0.5
# Entries older than this that this process does not know were left by a crashed one.
_FOREIGN_AFTER_S = 5 * OUTBOX_IDLE_S

# For as many trials as live at once; an event that was forgotten is sent again under its id.
_KEPT_CLEARED = 20_000

DocumentKey = tuple[str, str]  # collection, id
# An event on its way, as the bus takes it; the message's id is the event's.
Outgoing = tuple[DocumentKey, Message]


class Outbox:
    """The relay of one service process."""

    def __init__(self, bus: Bus, store: Store, clock: Clock, telemetry: Telemetry) -> None:
        self._bus = bus
        self._store = store
        self._clock = clock
        self._telemetry = telemetry
        self._urgent: deque[Outgoing] = deque()
        self._later: deque[Outgoing] = deque()
        # Events on their way, and since when (monotonic), the oldest first.
        self._waiting: dict[str, float] = {}
        self._sent: dict[DocumentKey, dict[str, float]] = {}
        # Of events that were sent and cleared, the newest: a service may hold a copy of a document
        # from before, and commit it with them once more. (A plain dict scans the places of all that
        # it has dropped for its oldest.)
        self._cleared: OrderedDict[str, None] = OrderedDict()
        self._wake = asyncio.Event()
        self._batch_size = FETCH_MESSAGES
        telemetry.watch(metrics.OUTBOX_EVENTS, lambda: len(self._waiting))
        telemetry.watch(metrics.OUTBOX_AGE, self._oldest_s)

    def _oldest_s(self) -> float:
        oldest = next(iter(self._waiting.values()), None)
        return 0.0 if oldest is None else self._clock.monotonic() - oldest

    def unsent(self, collection: str, document: str, events: Sequence[Event]) -> tuple[Event, ...]:
        """Those of a document's events that the stream may not have yet: what its next commit
        must keep."""
        sent = self._sent.get((collection, document), {})
        return tuple(it for it in events if it.id not in sent and it.id not in self._cleared)

    def offer(
        self, collection: str, document: str, events: Iterable[Event], *, urgent: bool
    ) -> None:
        """Publish soon what has just been committed with this document. urgent: services wait
        for it; otherwise only people do."""
        key = (collection, document)
        queue = self._urgent if urgent else self._later
        sent = self._sent.pop(key, {})
        for event in events:
            if event.id in sent:
                self._sent.setdefault(key, {})[event.id] = sent[event.id]
            elif event.id not in self._waiting:
                self._enqueue(queue, key, event)
        self._wake.set()

    def _enqueue(self, queue: deque[Outgoing], key: DocumentKey, event: Event) -> bool:
        """Whether it can go."""
        try:
            message = encode_event(event)
        except Poison as poison:
            # No stream will ever take it, and those behind it must not wait for it.
            self._telemetry.add(metrics.DEAD_LETTERS)
            self._telemetry.log.error("unpublishable event", id=event.id, reason=str(poison))
            self._sent.setdefault(key, {})[event.id] = self._clock.now()
            return False
        self._waiting[event.id] = self._clock.monotonic()
        queue.append((key, message))
        return True

    async def publish_notices(self, notices: Sequence[Event]) -> None:
        """Publish hints at once. Losing one costs a sweep, so a bus that is away is no error."""
        if not notices:
            return
        messages = []
        for notice in notices:
            try:
                messages.append(encode_event(notice))
            except Poison as poison:
                self._telemetry.add(metrics.DEAD_LETTERS)
                self._telemetry.log.error("unpublishable notice", id=notice.id, reason=str(poison))
        try:
            await self._bus.publish(messages)
        except Transient as error:
            self._telemetry.log.warning("notices dropped", count=len(notices), error=str(error))
        else:
            self._telemetry.add(metrics.PUBLISHED, len(notices))

    async def publish_now(self, events: Sequence[Event]) -> bool:
        """Whether the bus has all of them; else they belong into an outbox."""
        try:
            messages = [encode_event(event) for event in events]
            await self._bus.publish(messages)
        except (Poison, Transient) as error:
            self._telemetry.log.debug("events go by the outbox", error=str(error))
            return False
        self._telemetry.add(metrics.PUBLISHED, len(messages))
        return True

    async def relay(self) -> None:
        """Publish what is offered, for ever."""
        while True:
            if not self._urgent and not self._later:
                self._wake.clear()
                await self._wake.wait()
            batch = self._take()
            try:
                await self._bus.publish([message for _, message in batch])
            except Transient as error:
                self._telemetry.log.warning("events wait for the bus", error=str(error))
                self._urgent.extendleft(reversed(batch))
                # One message without a confirmation fails the whole batch: try with less.
                self._batch_size = max(1, len(batch) // 2)
                await self._clock.sleep(_RETRY_DELAY_S)
                continue
            self._batch_size = min(2 * self._batch_size, FETCH_MESSAGES)
            now = self._clock.now()
            for key, message in batch:
                self._waiting.pop(message.id, None)
                self._sent.setdefault(key, {})[message.id] = now
            self._telemetry.add(metrics.PUBLISHED, len(batch))

    def _take(self) -> list[Outgoing]:
        """What services wait for goes first."""
        batch: list[Outgoing] = []
        for queue in (self._urgent, self._later):
            while queue and len(batch) < self._batch_size:
                batch.append(queue.popleft())
        return batch

    async def clear_idle(self) -> None:
        """Take sent events out of documents that nobody has committed since."""
        before = self._clock.now() - OUTBOX_IDLE_S
        due: dict[str, dict[str, list[str]]] = {}
        for (collection, document), sent in self._sent.items():
            if sent and max(sent.values()) <= before:
                due.setdefault(collection, {})[document] = list(sent)
        for collection, documents in due.items():
            await self._store.clear_outbox(collection, documents)
            for document, ids in documents.items():
                self._forget((collection, document), ids)
                self._cleared.update(dict.fromkeys(ids))
        for _ in range(len(self._cleared) - _KEPT_CLEARED):
            self._cleared.popitem(last=False)

    def _forget(self, key: DocumentKey, ids: Iterable[str]) -> None:
        left = self._sent.get(key, {})
        for event_id in ids:
            left.pop(event_id, None)
        if not left:
            self._sent.pop(key, None)

    async def sweep(self, collections: Sequence[str]) -> None:
        """Offer again what a crashed process committed and did not publish."""
        before = self._clock.now() - _FOREIGN_AFTER_S
        for collection in collections:
            query = Query(
                at_most={"outbox_at": before},
                order="outbox_at",
                limit=_SWEPT_DOCUMENTS,
                fields=("outbox",),
            )
            for document in await self._store.find(collection, query):
                self._adopt(collection, document)

    def _adopt(self, collection: str, document: Document) -> None:
        key = (collection, str(document["_id"]))
        sent = self._sent.get(key, {})
        try:
            events = _EVENTS.validate_python(document["outbox"])
        except ValidationError as error:
            self._telemetry.log.error("unreadable outbox", id=key[1], error=str(error))
            return
        for event in events:
            if event.id not in sent and event.id not in self._waiting:
                adopted = self._enqueue(self._urgent, key, event)
                self._telemetry.add(metrics.SWEEP_REPAIRS, int(adopted), what="event")
        self._wake.set()

    async def flush(self) -> None:
        """Wait until everything offered so far is published (for draining)."""
        while self._waiting:
            await self._clock.sleep(0.01)
