"""Webhooks: which there are by the operator's file, who delivers, and how they do."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

from trialbus.contracts.katib.times import rfc3339_or_none
from trialbus.kernel.errors import Problem, Refused, Transient
from trialbus.kernel.limits import EVENT_RETENTION_S
from trialbus.runtime.parts import Parts
from trialbus_gateway.app.webhook_documents import Webhook, WebhookDocuments
from trialbus_gateway.app.webhook_queue import WebhookQueue
from trialbus_gateway.app.webhook_sending import Post, Target, WebhookSender
from trialbus_gateway.core import webhook_retries as retries
from trialbus_gateway.core.webhook_settings import shown_url

# How soon a changed file, or secret, is seen.
RELOAD_S = 2.0
# A gateway says so often that a webhook is in its file ...
_SEEN_EVERY_S = 60.0
# ... and what is in nobody's file for this long is forgotten, with what waits for it.
FORGOTTEN_AFTER_S = 3600.0
# Beyond what the stream can bring again.
_REMEMBERED_S = EVENT_RETENTION_S + 24 * 3600.0

# The file as it is now; raises Refused.
Load = Callable[[], Awaitable[Sequence[Target]]]


@dataclass(slots=True)
class _Running:
    sender: WebhookSender
    task: "asyncio.Task[None]"


class Webhooks:
    """load: None when there is no file. Then nothing runs, and nothing is asked of the store."""

    def __init__(self, parts: Parts, load: Load | None = None, post: Post | None = None) -> None:
        self._parts = parts
        self._load = load
        self._post = post
        self._holder = parts.ids.new_id()
        self._documents = WebhookDocuments(parts.store)
        self._queue = WebhookQueue(parts, self._documents, self._wake)
        self._running: dict[str, _Running] = {}
        self._problems: tuple[Problem, ...] = ()
        self._seen_at = 0.0
        self._filling: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Until it is cancelled."""
        if self._load is None:
            await asyncio.Event().wait()
            return
        try:
            while True:
                try:
                    await self._follow_file()
                except Exception as error:  # noqa: BLE001 - no webhook may end the gateway
                    self._parts.telemetry.log.error("webhooks broke off", error=repr(error))
                await self._parts.clock.sleep(RELOAD_S)
        finally:
            await self._stop(list(self._running))
            if self._filling is not None:
                self._filling.cancel()
                await asyncio.gather(self._filling, return_exceptions=True)

    async def shown(self) -> dict[str, Any]:
        """How each webhook does, of all gateways' files."""
        now = self._parts.clock.now()
        return {
            "items": [
                await self._shown(it, now) for it in (await self._documents.webhooks()).values()
            ],
            "problems": [{"field": it.field, "message": it.message} for it in self._problems],
        }

    async def _shown(self, webhook: Webhook, now: float) -> dict[str, Any]:
        waiting = await self._documents.count_waiting(webhook.id)
        oldest = await self._documents.waiting(webhook.id, after="", limit=1)
        return _shown(webhook, waiting, oldest[0].queued_at if oldest else None, now)

    # The file ---------------------------------------------------------------------------------

    async def _follow_file(self) -> None:
        assert self._load is not None
        try:
            targets = await self._load()
        except Refused as refused:
            if refused.problems != self._problems:
                self._problems = refused.problems
                self._parts.telemetry.log.error(
                    "the file of webhooks is wrong, the last good one stays", error=str(refused)
                )
            await self._say_seen({})
            return
        self._problems = ()
        wanted = {it.settings.name: it for it in targets}
        # What is new is known to the store before its first event is looked for.
        if await self._say_seen(wanted):
            await self._change_to(wanted)

    async def _say_seen(self, wanted: dict[str, Target]) -> bool:
        """Whether the store knows them."""
        now = self._parts.clock.now()
        changed = {
            name: it
            for name, it in wanted.items()
            if name not in self._running or self._running[name].sender.target != it
        }
        is_time = now - self._seen_at >= _SEEN_EVERY_S
        due = changed
        if is_time:
            due = {name: it.sender.target for name, it in self._running.items()} | wanted
        try:
            for name, target in due.items():
                await self._documents.change(name, _seen(name, target, now))
            if is_time:
                await self._forget(now)
                self._seen_at = now
        except Transient as error:
            self._parts.telemetry.log.warning("webhooks wait for the store", error=str(error))
            return False
        return True

    async def _forget(self, now: float) -> None:
        for name, webhook in (await self._documents.webhooks()).items():
            if now - webhook.seen_at > FORGOTTEN_AFTER_S:
                await self._documents.forget(name)
                self._parts.telemetry.log.info("webhook forgotten", webhook=name)
        await self._documents.expire(now - _REMEMBERED_S)

    async def _change_to(self, wanted: dict[str, Target]) -> None:
        await self._stop([name for name in self._running if name not in wanted])
        for name, target in wanted.items():
            running = self._running.get(name)
            if running is not None and not running.task.done():
                running.sender.target = target
                continue
            if running is not None:
                await self._stop([name])
            self._start(name, target)
        if wanted and (self._filling is None or self._filling.done()):
            self._filling = asyncio.create_task(self._fill(), name="webhook queue")

    async def _fill(self) -> None:
        """Begins anew after whatever breaks it: nothing is acknowledged that is not stored."""
        try:
            await self._queue.fill()
        except* Exception as group:  # noqa: BLE001 - told, and begun anew
            self._parts.telemetry.log.error("webhook queue broke off", error=repr(group.exceptions))

    def _start(self, name: str, target: Target) -> None:
        assert self._post is not None
        sender = WebhookSender(
            self._parts,
            self._documents,
            target,
            self._post,
            holder=self._holder,
            sweep=self._queue.sweep,
        )
        self._running[name] = _Running(sender, asyncio.create_task(sender.run(), name=name))
        self._parts.telemetry.log.info("webhook", webhook=name, url=shown_url(target.settings.url))

    async def _stop(self, names: Sequence[str]) -> None:
        stopped = [self._running.pop(name) for name in names]
        async with AsyncExitStack() as stack:
            for it in stopped:
                it.task.cancel()
                stack.push_async_callback(it.sender.leave)
            ended = await asyncio.gather(*(it.task for it in stopped), return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception):
                self._parts.telemetry.log.error("webhook broke off", error=repr(error))

    def _wake(self, names: set[str]) -> None:
        for name in names & self._running.keys():
            self._running[name].sender.wake()


def _seen(name: str, target: Target, now: float) -> Callable[[Webhook | None], Webhook]:
    def change(stored: Webhook | None) -> Webhook:
        url, wants = shown_url(target.settings.url), target.settings.wants
        if stored is not None:
            return replace(stored, url=url, wants=wants, seen_at=now)
        return Webhook(
            id=name, version=1, url=url, wants=wants, created_at=now, seen_at=now, mark=now
        )

    return change


def _shown(webhook: Webhook, waiting: int, oldest_at: float | None, now: float) -> dict[str, Any]:
    state = "active"
    if webhook.held_until <= now:
        state = "waiting"
    elif webhook.failing_since is not None:
        state = "paused" if retries.is_paused(now, webhook.failing_since) else "failing"
    return {
        "name": webhook.id,
        "url": webhook.url,
        "namespaces": list(webhook.wants.namespaces),
        "experiments": webhook.wants.experiments,
        "types": list(webhook.wants.types),
        "state": state,
        "waiting": waiting,
        "lagSeconds": 0.0 if oldest_at is None else round(max(0.0, now - oldest_at), 3),
        "lastSuccess": rfc3339_or_none(webhook.last_success_at),
        "lastFailure": rfc3339_or_none(webhook.last_failure_at),
        "lastError": webhook.last_error,
        "failingSince": rfc3339_or_none(webhook.failing_since),
        "delivered": webhook.delivered,
        "givenUp": webhook.given_up,
        "created": rfc3339_or_none(webhook.created_at),
    }
