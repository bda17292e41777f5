"""Events on their way to webhooks: queued in the store before the stream may forget them."""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from pydantic import ValidationError

from trialbus.contracts.collections import EXPERIMENTS
from trialbus.contracts.documents import EXPERIMENT, Document
from trialbus.contracts.envelope import decode_event, encode_event
from trialbus.contracts.messages import Message
from trialbus.contracts.queues import WEBHOOK_QUEUE
from trialbus.kernel.errors import Poison, Transient
from trialbus.kernel.events import PUBLIC_TYPES, Event
from trialbus.kernel.experiment import Experiment, ExperimentPhase
from trialbus.kernel.limits import FETCH_MESSAGES, MAX_DELIVERIES, PARTITIONS
from trialbus.ports.bus import Delivery as Handed
from trialbus.ports.store import Query
from trialbus.runtime import metrics
from trialbus.runtime.parts import Parts
from trialbus_gateway.app.following import structured
from trialbus_gateway.app.webhook_documents import Delivery, Webhook, WebhookDocuments, order_at
from trialbus_gateway.core.webhook_ends import ends_of
from trialbus_gateway.core.webhook_settings import ENDS

_FETCH_TIMEOUT_S = 5.0
_RETRY_DELAY_S = 1.0
# Ends are looked for this far before the mark: clocks differ, and commits take their time.
OVERLAP_S = 120.0
# The stream is quicker, and knows the event's own id.
_GRACE_S = 5.0
_SWEPT = 500
_ENDED = (
    ExperimentPhase.SUCCEEDED,
    ExperimentPhase.FAILED,
    ExperimentPhase.DELETED,
    ExperimentPhase.ARCHIVED,
)
_RANKS = {name: rank for rank, name in enumerate(PUBLIC_TYPES)}


class WebhookQueue:
    """queued: called with the names of webhooks that have something new to send."""

    def __init__(
        self,
        parts: Parts,
        documents: WebhookDocuments,
        queued: Callable[[set[str]], None],
    ) -> None:
        self._parts = parts
        self._documents = documents
        self._queued = queued

    async def fill(self) -> None:
        """From the stream, until it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for partition in range(PARTITIONS):
                tasks.create_task(self._fill(partition))

    async def _fill(self, partition: int) -> None:
        async with self._parts.bus.inbox(WEBHOOK_QUEUE, PUBLIC_TYPES, partition) as inbox:
            while True:
                handed = await inbox.fetch(max_messages=FETCH_MESSAGES, timeout_s=_FETCH_TIMEOUT_S)
                if handed:
                    await self._take(handed)

    async def _take(self, handed: Sequence[Handed]) -> None:
        """Acknowledged when they are in the store."""
        again = sum(it.attempt > 1 for it in handed)
        self._parts.telemetry.add(metrics.REDELIVERIES, again)
        readable = [it for it in handed if not await self._is_buried(it)]
        try:
            webhooks = await self._documents.webhooks()
            made = [
                delivery
                for it in readable
                for delivery in self._deliveries(webhooks, it.message, decode_event(it.message))
            ]
            await self._documents.queue(made)
            await asyncio.gather(*(it.ack() for it in readable))
        except Transient as error:
            self._parts.telemetry.log.warning("events wait for the webhook queue", error=str(error))
            # A server that is away is no fault of the events.
            for it in readable:
                await it.retry(_RETRY_DELAY_S)
                self._parts.telemetry.add(metrics.RETRIES_ASKED)
        else:
            self._queued({str(it.waiting) for it in made})

    async def _is_buried(self, handed: Handed) -> bool:
        try:
            decode_event(handed.message)
        except Poison as poison:
            reason = str(poison)
        else:
            if handed.attempt <= MAX_DELIVERIES:
                return False
            # The sweep finds what matters most of it.
            reason = f"delivered {handed.attempt} times"
        try:
            await handed.bury(reason)
        except Transient as error:
            self._parts.telemetry.log.warning("dead letter waits", error=str(error))
        else:
            self._parts.telemetry.add(metrics.DEAD_LETTERS)
        return True

    async def sweep(self, name: str) -> None:
        """Ends of experiments since the webhook's mark that no event told of. Raises Transient."""
        webhook = (await self._documents.webhooks()).get(name)
        if webhook is None or not any(it in ENDS for it in webhook.wants.types):
            return
        until = self._parts.clock.now() - _GRACE_S
        start, limit = webhook.mark - OVERLAP_S, _SWEPT
        while True:
            documents = await self._ended_from(start, limit)
            await self._queue_ends(webhook, documents, until)
            last = float(documents[-1]["completed_at"]) if documents else until
            if len(documents) < limit or last >= until:
                break
            # More at one instant than are read at once: read more at once.
            start, limit = (last, _SWEPT) if last > start else (start, 2 * limit)
        await self._documents.change(name, lambda it: _marked(it, until))

    async def _queue_ends(
        self, webhook: Webhook, documents: Sequence[Document], until: float
    ) -> None:
        states = [it for it in map(self._readable, documents) if it is not None]
        made = [
            delivery
            for state in states
            if (state.completed_at or 0.0) <= until
            for event in ends_of(state, since=webhook.mark - OVERLAP_S)
            for delivery in self._deliveries({webhook.id: webhook}, encode_event(event), event)
        ]
        known = await self._documents.known([it.id for it in made])
        new = await self._documents.queue([it for it in made if it.id not in known])
        if new:
            self._parts.telemetry.add(metrics.SWEEP_REPAIRS, new, what="webhook")
            self._parts.telemetry.log.info("ends found for webhook", webhook=webhook.id, count=new)
            self._queued({webhook.id})

    async def _ended_from(self, completed_at: float, limit: int) -> list[Document]:
        query = Query(
            among={"phase": [phase.value for phase in _ENDED]},
            at_least={"completed_at": completed_at},
            order="completed_at",
            limit=limit,
        )
        return await self._parts.store.find(EXPERIMENTS.name, query)

    def _readable(self, document: Document) -> Experiment | None:
        try:
            return EXPERIMENT.decode(document)
        except ValidationError as error:
            # It must not keep those behind it from being told.
            self._parts.telemetry.log.error(
                "unreadable experiment", id=str(document["_id"]), error=str(error)
            )
            return None

    def _deliveries(
        self, webhooks: Mapping[str, Webhook], message: Message, event: Event
    ) -> Iterator[Delivery]:
        """One for each webhook that wants it. What was before a webhook is none of its business."""
        body = ""
        for name, webhook in webhooks.items():
            is_wanted = webhook.wants.wants(event.namespace, event.experiment, event.type)
            if not is_wanted or event.at < webhook.created_at:
                continue
            body = body or json.dumps(structured(message, event), ensure_ascii=False)
            yield Delivery(
                id=_key(name, event),
                version=1,
                waiting=name,
                uid=event.uid,
                type=event.type,
                event_id=event.id,
                order=f"{order_at(event.at)} {_RANKS[event.type]:02d} {event.id}",
                queued_at=self._parts.clock.now(),
                body=body,
            )


def _key(name: str, event: Event) -> str:
    """An end is known by its time, which the experiment's document has too."""
    if event.type in ENDS:
        return f"{name}/{event.uid}.{event.type}.{event.at:.3f}"
    return f"{name}/{event.id}"


def _marked(webhook: Webhook | None, mark: float) -> Webhook | None:
    return None if webhook is None else replace(webhook, mark=max(webhook.mark, mark))
