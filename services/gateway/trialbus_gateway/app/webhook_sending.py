"""One webhook's deliveries: by one gateway at a time, in order of time for each experiment."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from trialbus.kernel.errors import Transient
from trialbus.runtime import metrics
from trialbus.runtime.parts import Parts
from trialbus_gateway.app.webhook_documents import Delivery, Webhook, WebhookDocuments
from trialbus_gateway.core import webhook_retries as retries
from trialbus_gateway.core.webhook_retries import Answer, Verdict
from trialbus_gateway.core.webhook_settings import WebhookSettings
from trialbus_gateway.core.webhook_signatures import headers_of

# A gateway that died is replaced after this long; a living one says so three times as often.
HELD_S = 15.0
# What others have queued is found this soon.
POLL_S = 1.0
# Ends that no event told of are looked for.
SWEEP_S = 30.0
# What comes together is sorted before it is sent.
GATHER_S = 0.2
CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
_PAGE = 500
_MAX_LANES = 8

# Url, headers, body, seconds; never raises for what the other side does.
Post = Callable[[str, Mapping[str, str], bytes, float], Awaitable[Answer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """secrets: the newest first."""

    settings: WebhookSettings
    secrets: tuple[bytes, ...]


@dataclass(slots=True, kw_only=True)
class _Lane:
    """The events of one experiment, one after the other. tried_at: on the monotonic clock."""

    failures: int = 0
    not_before: float = 0.0
    tried_at: float = 0.0


class WebhookSender:
    """holder: this gateway. sweep: see `WebhookQueue.sweep`."""

    def __init__(
        self,
        parts: Parts,
        documents: WebhookDocuments,
        target: Target,
        post: Post,
        *,
        holder: str,
        sweep: Callable[[str], Awaitable[None]],
    ) -> None:
        self._parts = parts
        self._clock = parts.clock
        self._documents = documents
        self._post = post
        self._holder = holder
        self._sweep = sweep
        self._lanes: dict[str, _Lane] = {}
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._not_before = 0.0
        self._held_until = 0.0
        # What is told of it and not yet stored.
        self._state: Webhook | None = None
        # As the metric has it of this webhook.
        self._told_waiting = 0
        self.target = target

    def wake(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        """Until it is cancelled. The store's absence is waited out."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._hold())
            tasks.create_task(self._send())

    async def leave(self) -> None:
        """Let another gateway go on at once."""
        self._tell_waiting(0)
        with suppress(Transient):
            await self._store_state(held_until=0.0)

    # Holding it -------------------------------------------------------------------------------

    @property
    def _is_held(self) -> bool:
        return self._clock.monotonic() < self._held_until

    async def _hold(self) -> None:
        swept_at: float | None = None
        while True:
            try:
                await self._store_state(held_until=self._clock.now() + HELD_S)
                now = self._clock.monotonic()
                await self._look_how_many_wait()
                if self._is_held and (swept_at is None or now - swept_at >= SWEEP_S):
                    await self._drop_old()
                    await self._sweep(self.target.settings.name)
                    swept_at = now
            except Transient as error:
                if not self._is_held:
                    # Another gateway may tell them by now.
                    self._tell_waiting(0)
                self._parts.telemetry.log.warning(
                    "webhook waits for the store",
                    webhook=self.target.settings.name,
                    error=str(error),
                )
            self.wake()
            await self._clock.sleep(HELD_S / 3)

    async def _look_how_many_wait(self) -> None:
        if not self._parts.settings.metrics:
            return
        waiting = 0
        if self._is_held:
            waiting = await self._documents.count_waiting(self.target.settings.name)
        self._tell_waiting(waiting)

    def _tell_waiting(self, count: int) -> None:
        """Only who delivers knows; all gateways together tell each event once."""
        self._parts.telemetry.add(metrics.WEBHOOK_WAITING, count - self._told_waiting)
        self._told_waiting = count

    async def _drop_old(self) -> None:
        """A webhook that takes nothing is tried too seldom to be rid of what is too old for it."""
        name = self.target.settings.name
        dropped = await self._documents.drop_waiting(name, self._clock.now() - retries.KEPT_S)
        if not dropped:
            return
        self._parts.telemetry.add(metrics.WEBHOOK_ATTEMPTS, dropped, outcome="given_up")
        self._parts.telemetry.log.error("events too old for webhook", webhook=name, count=dropped)
        if self._state is not None:
            self._state = replace(self._state, given_up=self._state.given_up + dropped)

    async def _store_state(self, *, held_until: float) -> None:
        """Claim it, or hold it longer, and store how it does."""
        began, told = self._clock.monotonic(), self._state
        now = self._clock.now()

        def claim(stored: Webhook | None) -> Webhook | None:
            if stored is None:
                return None
            if stored.holder != self._holder and stored.held_until > now:
                return stored
            mine = stored
            if told is not None and stored.holder == self._holder:
                mine = replace(
                    stored,
                    last_success_at=told.last_success_at,
                    last_failure_at=told.last_failure_at,
                    last_error=told.last_error,
                    failing_since=told.failing_since,
                    delivered=told.delivered,
                    given_up=told.given_up,
                )
            return replace(mine, holder=self._holder, held_until=held_until)

        stored = await self._documents.change(self.target.settings.name, claim)
        if stored is None or stored.holder != self._holder:
            self._held_until, self._state = 0.0, None
            return
        # The claim counts from before it was made.
        self._held_until = began + max(0.0, held_until - now)
        if self._state is told:
            self._state = stored

    # Sending ----------------------------------------------------------------------------------

    async def _send(self) -> None:
        try:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_S):
                        await self._wake.wait()
                self._wake.clear()
                await self._clock.sleep(GATHER_S)
                if not self._is_held or self._state is None:
                    await self._stop()
                    continue
                try:
                    await self._begin_due()
                except Transient:
                    continue  # `_hold` tells of it
        finally:
            await self._stop()

    async def _stop(self) -> None:
        for task in self._busy.values():
            task.cancel()
        await asyncio.gather(*self._busy.values(), return_exceptions=True)
        self._busy.clear()
        self._lanes.clear()

    async def _begin_due(self) -> None:
        """Reads on until the lanes are full: experiments that wait must not keep up the others."""
        after, found = "", True
        seen: set[str] = set()
        while found and self._free > 0:
            page = await self._documents.waiting(
                self.target.settings.name, after=after, limit=_PAGE
            )
            found = len(page) == _PAGE
            after = page[-1].order if page else ""
            queues: dict[str, list[Delivery]] = {}
            for delivery in page:
                queues.setdefault(delivery.uid, []).append(delivery)
            # What was begun on an earlier page goes on there when that is done.
            due = [uid for uid in queues if uid not in seen and self._is_due(uid)]
            due.sort(key=lambda uid: self._lane(uid).tried_at)
            seen.update(queues)
            for uid in due[: self._free]:
                self._begin(uid, queues[uid])

    @property
    def _free(self) -> int:
        now = self._clock.monotonic()
        if now < self._not_before or self._state is None:
            return 0
        most = 1 if self._is_paused else _MAX_LANES
        return max(0, most - len(self._busy))

    @property
    def _is_paused(self) -> bool:
        since = None if self._state is None else self._state.failing_since
        return retries.is_paused(self._clock.now(), since)

    def _lane(self, uid: str) -> _Lane:
        return self._lanes.get(uid, _Lane())

    def _is_due(self, uid: str) -> bool:
        return uid not in self._busy and self._lane(uid).not_before <= self._clock.monotonic()

    def _begin(self, uid: str, deliveries: Sequence[Delivery]) -> None:
        task = asyncio.ensure_future(self._deliver_all(uid, deliveries))
        self._busy[uid] = task
        task.add_done_callback(lambda _: self._ended(uid, task))

    def _ended(self, uid: str, task: "asyncio.Task[None]") -> None:
        if self._busy.get(uid) is task:
            del self._busy[uid]
        self.wake()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._parts.telemetry.log.warning(
                "webhook delivery broke off", webhook=self.target.settings.name, error=str(error)
            )
            lane = self._lanes.setdefault(uid, _Lane())
            lane.not_before = self._clock.monotonic() + POLL_S

    async def _deliver_all(self, uid: str, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            if not self._is_held or not await self._deliver(uid, delivery):
                return

    async def _deliver(self, uid: str, delivery: Delivery) -> bool:
        """Whether it is over, so that the next of its experiment may follow."""
        document = await self._documents.body(delivery)
        if document is None:
            return True
        answer = await self._attempt(delivery, document["body"].encode("utf-8", "replace"))
        verdict = retries.verdict_of(answer.status)
        now = self._clock.now()
        if verdict is Verdict.DELIVERED:
            await self._documents.close(document, now)
            self._succeeded(uid, now)
            return True
        self._failed(uid, answer, now)
        last_success_at = None if self._state is None else self._state.last_success_at
        old = retries.is_given_up(now, delivery.queued_at, last_success_at)
        if verdict is Verdict.REFUSED or old:
            await self._documents.close(document, now)
            self._gave_up(uid, delivery, answer)
            return True
        return False

    async def _attempt(self, delivery: Delivery, body: bytes) -> Answer:
        settings = self.target.settings
        signed = headers_of(self.target.secrets, delivery.event_id, int(self._clock.now()), body)
        headers = {"content-type": CONTENT_TYPE, **signed}
        return await self._post(settings.url, headers, body, settings.timeout_s)

    # Telling ----------------------------------------------------------------------------------

    def _succeeded(self, uid: str, now: float) -> None:
        state = self._state
        self._lanes.pop(uid, None)
        self._parts.telemetry.add(metrics.WEBHOOK_ATTEMPTS, outcome="delivered")
        if state is None:
            return
        if state.failing_since is not None:
            # It is back: nobody has to wait for what was tried in vain.
            self._lanes.clear()
            self._not_before = 0.0
            self._parts.telemetry.log.info("webhook is back", webhook=state.id)
        self._state = replace(
            state, last_success_at=now, failing_since=None, delivered=state.delivered + 1
        )

    def _failed(self, uid: str, answer: Answer, now: float) -> None:
        state, monotonic = self._state, self._clock.monotonic()
        lane = self._lanes.setdefault(uid, _Lane())
        lane.failures += 1
        lane.tried_at = monotonic
        lane.not_before = monotonic + retries.delay_s(lane.failures, random.random())
        if asked_s := retries.retry_after_s(answer.retry_after, now):
            # It is meant for all that comes from here.
            self._not_before = max(self._not_before, monotonic + asked_s)
        self._parts.telemetry.add(metrics.WEBHOOK_ATTEMPTS, outcome="failed")
        if state is None:
            return
        was_paused = self._is_paused
        self._state = replace(
            state,
            last_failure_at=now,
            last_error=answer.told()[:200],
            failing_since=now if state.failing_since is None else state.failing_since,
        )
        if self._is_paused:
            self._not_before = max(self._not_before, monotonic + retries.PROBE_INTERVAL_S)
        if self._is_paused or lane.failures == 1:
            event = "webhook paused" if self._is_paused else "webhook failed"
            level = (
                self._parts.telemetry.log.debug if was_paused else self._parts.telemetry.log.warning
            )
            level(event, webhook=state.id, error=answer.told())

    def _gave_up(self, uid: str, delivery: Delivery, answer: Answer) -> None:
        self._lanes.pop(uid, None)
        self._parts.telemetry.add(metrics.WEBHOOK_ATTEMPTS, outcome="given_up")
        self._parts.telemetry.log.error(
            "event given up for webhook",
            webhook=self.target.settings.name,
            id=delivery.event_id,
            error=answer.told(),
        )
        if self._state is not None:
            self._state = replace(self._state, given_up=self._state.given_up + 1)
