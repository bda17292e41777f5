"""What is stored of webhooks: how each does, and the events that wait for it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from trialbus.contracts.collections import DELIVERIES, WEBHOOKS
from trialbus.contracts.documents import Document, DocumentCodec
from trialbus.kernel.errors import Transient
from trialbus.kernel.limits import MAX_COMMIT_RETRIES
from trialbus.ports.store import Outcome, Query, Store, Write
from trialbus_gateway.core.webhook_settings import Subscription

# Fields of a waiting event that its place in the queue is told by; its body can be large.
BRIEF = ("version", "waiting", "uid", "type", "order", "queued_at", "event_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """id: its name. url: as people may see it. seen_at: when a gateway last had it in its file.
    holder: the gateway that delivers, until held_until. mark: ends of experiments before it are
    known to be queued. failing_since: the first failure after the last success."""

    id: str
    version: int
    url: str
    wants: Subscription
    created_at: float
    seen_at: float
    mark: float
    holder: str = ""
    held_until: float = 0.0
    last_success_at: float | None = None
    last_failure_at: float | None = None
    last_error: str = ""
    failing_since: float | None = None
    delivered: int = 0
    given_up: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One event for one webhook. waiting: the webhook's name, None once it is over; then the rest
    stays for a while, so that a repeat is known. order: sorts by time. body: a CloudEvent."""

    id: str
    version: int
    waiting: str | None
    uid: str
    type: str
    event_id: str
    order: str
    queued_at: float
    done_at: float | None = None
    body: str = ""


WEBHOOK = DocumentCodec(Webhook)
DELIVERY = DocumentCodec(Delivery)


def order_at(at: float) -> str:
    """The beginning of an event's order: its time, in seconds since the epoch."""
    return f"{at:017.6f}"


class WebhookDocuments:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def webhooks(self) -> dict[str, Webhook]:
        """By name."""
        found = await self._store.find(WEBHOOKS.name, Query(order="_id"))
        return {str(it["_id"]): WEBHOOK.decode(it) for it in found}

    async def change(
        self, name: str, change: Callable[[Webhook | None], Webhook | None]
    ) -> Webhook | None:
        """What is stored in the end; `change` may be called again, on what others wrote, and
        returns its argument to leave all as it is. Raises Transient."""
        for _ in range(MAX_COMMIT_RETRIES):
            found = (await self._store.get_many(WEBHOOKS.name, [name])).get(name)
            before = None if found is None else WEBHOOK.decode(found)
            after = change(before)
            if after is None or after == before:
                return before
            after = replace(after, version=1 if before is None else before.version + 1)
            write = Write(base=found, document=WEBHOOK.encode(after))
            if await self._store.commit(WEBHOOKS.name, [write]) == [Outcome.DONE]:
                return after
        raise Transient(f"webhook {name}: others write it all the time")

    async def forget(self, name: str) -> None:
        await self._store.delete(DELIVERIES.name, Query(equals={"waiting": name}))
        await self._store.delete(WEBHOOKS.name, Query(equals={"_id": name}))

    async def queue(self, deliveries: Sequence[Delivery]) -> int:
        """Those that are there already stay as they are; how many are new."""
        if not deliveries:
            return 0
        writes = [Write(base=None, document=DELIVERY.encode(it)) for it in deliveries]
        outcomes = await self._store.commit(DELIVERIES.name, writes)
        return sum(outcome is Outcome.DONE for outcome in outcomes)

    async def known(self, ids: Sequence[str]) -> set[str]:
        return set(await self._store.get_many(DELIVERIES.name, ids, fields=("version",)))

    async def waiting(self, name: str, *, after: str, limit: int) -> list[Delivery]:
        """Oldest first, without bodies."""
        query = Query(
            equals={"waiting": name},
            above={"order": after},
            order="order",
            limit=limit,
            fields=BRIEF,
        )
        return [DELIVERY.decode(it) for it in await self._store.find(DELIVERIES.name, query)]

    async def body(self, delivery: Delivery) -> Document | None:
        """The whole document, None if it does not wait any more."""
        found = (await self._store.get_many(DELIVERIES.name, [delivery.id])).get(delivery.id)
        return found if found is not None and found["waiting"] is not None else None

    async def close(self, document: Document, now: float) -> None:
        """Delivered or given up. Another gateway may have done it before."""
        kept = {name: it for name, it in document.items() if name != "body"}
        over = kept | {"version": document["version"] + 1, "waiting": None, "done_at": now}
        await self._store.commit(DELIVERIES.name, [Write(base=document, document=over)])

    async def count_waiting(self, name: str) -> int:
        return await self._store.count(DELIVERIES.name, Query(equals={"waiting": name}))

    async def drop_waiting(self, name: str, before: float) -> int:
        """What was queued before; how many. An event is never queued before it happened, so the
        order, which an index has, bounds what is looked at."""
        query = Query(
            equals={"waiting": name},
            below={"order": order_at(before), "queued_at": before},
        )
        return await self._store.delete(DELIVERIES.name, query)

    async def expire(self, before: float) -> None:
        await self._store.delete(DELIVERIES.name, Query(below={"done_at": before}))
