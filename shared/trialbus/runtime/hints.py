"""Hints: from the bus and from the sweep, grouped by experiment, handled, and only then acked."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

from trialbus.contracts.envelope import decode_event
from trialbus.kernel.errors import Poison, Transient
from trialbus.kernel.limits import FETCH_MESSAGES, MAX_DELIVERIES, PARTITIONS
from trialbus.kernel.traces import TraceContext, kept
from trialbus.ports.bus import Delivery
from trialbus.runtime import metrics
from trialbus.runtime.parts import Beside, Parts, Reactor
from trialbus.runtime.repairs import Look, Repairs
from trialbus.runtime.traced import handling

_FETCH_TIMEOUT_S = 5.0
_FIRST_RETRY_S = 0.2
_LAST_RETRY_S = 30.0


class HintLoop:
    """Feeds one reactor. Experiments in hand are never handled twice at the same time here."""

    def __init__(self, service: str, reactor: Reactor, parts: Parts) -> None:
        self._service = service
        self._reactor = reactor
        self._parts = parts
        self._repairs = Repairs(parts.telemetry, parts.clock)
        self._pending: dict[str, list[Delivery]] = {}
        # What asked for them without a message, where it is traced.
        self._nudged: dict[str, TraceContext] = {}
        self._in_hand: set[str] = set()
        self._resting: set[str] = set()
        # To be looked at later, when what they wait for is due.
        self._later: set[str] = set()
        self._wake = asyncio.Event()
        self._draining = False
        self._tasks = asyncio.TaskGroup()
        parts.telemetry.watch(metrics.HINTS_WAITING, lambda: len(self._pending))

    async def run(self) -> None:
        """Until cancelled. Any task's failure is the loop's failure."""
        async with self._tasks as tasks:
            for partition in range(PARTITIONS):
                tasks.create_task(self._receive(partition))
            for _ in range(self._reactor.max_groups):
                tasks.create_task(self._handle_groups())
            tasks.create_task(self._sweep())

    async def drain(self) -> None:
        """Take nothing new, finish what is in hand."""
        self._draining = True
        while self._in_hand:
            await self._parts.clock.sleep(0.01)

    def add(self, uids: Sequence[str], after_s: float = 0.0) -> None:
        """Look at these experiments without a message: soon, or later, once for all who ask for
        that before it comes."""
        if after_s > 0:
            for uid in uids:
                if uid not in self._later:
                    self._later.add(uid)
                    asyncio.get_running_loop().call_later(after_s, self._fall_due, uid)
            return
        tracing = self._parts.telemetry.tracing
        if tracing.on and (current := tracing.current()) is not None and current.sampled:
            self._nudged.update(dict.fromkeys(uids, current))
        for uid in uids:
            self._pending.setdefault(uid, [])
        if uids:
            self._wake.set()

    def _fall_due(self, uid: str) -> None:
        self._later.discard(uid)
        # The timer has the context of the look before.
        with self._parts.telemetry.tracing.outside():
            self.add([uid])

    async def _receive(self, partition: int) -> None:
        async with self._parts.bus.inbox(self._service, self._reactor.listens, partition) as inbox:
            while not self._draining:
                deliveries = await inbox.fetch(
                    max_messages=FETCH_MESSAGES, timeout_s=_FETCH_TIMEOUT_S
                )
                for delivery in deliveries:
                    await self._accept(delivery)

    async def _accept(self, delivery: Delivery) -> None:
        telemetry, attempt = self._parts.telemetry, delivery.attempt
        if attempt > 1:
            telemetry.add(metrics.REDELIVERIES)
        if attempt > MAX_DELIVERIES and not self._is_in_hand(delivery):
            # Whoever handled it so often never answered: it may be what kills the handlers.
            await self._bury(delivery, f"delivered {attempt} times without an answer")
            return
        try:
            event = decode_event(delivery.message)
        except Poison as poison:
            await self._bury(delivery, str(poison))
            return
        telemetry.add(metrics.HINTS, source="bus")
        if attempt == 1:
            trace = kept(event.traceparent) if telemetry.tracing.on else None
            telemetry.observe(metrics.HINT_DELAY, self._parts.clock.now() - event.at, trace)
        self._repairs.hear(event.uid, event.at)
        self._pending.setdefault(event.uid, []).append(delivery)
        self._wake.set()

    def _is_in_hand(self, delivery: Delivery) -> bool:
        """Something is being done about it, which takes its time."""
        try:
            return bool(self._in_hand) and decode_event(delivery.message).uid in self._in_hand
        except Poison:
            return False

    async def _bury(self, delivery: Delivery, reason: str) -> None:
        telemetry = self._parts.telemetry
        telemetry.log.warning("dead letter", subject=delivery.message.subject, reason=reason)
        try:
            await delivery.bury(reason)
        except Transient as error:
            telemetry.log.warning("dead letter waits", error=str(error))
        else:
            telemetry.add(metrics.DEAD_LETTERS)

    async def _sweep(self) -> None:
        while True:
            await self._parts.clock.sleep(self._parts.settings.sweep_interval_s)
            if self._draining:
                continue
            try:
                uids = await self._reactor.sweep()
            except Transient as error:
                self._parts.telemetry.log.warning("sweep waits", error=str(error))
                continue
            self._parts.telemetry.add(metrics.HINTS, len(uids), source="sweep")
            self._repairs.sweep(uids, self._pending.keys() | self._in_hand | self._later)
            self.add(uids)

    async def _handle_groups(self) -> None:
        while True:
            group = self._take_group()
            if not group:
                self._wake.clear()
                await self._wake.wait()
                continue
            beside: set[str] = set()
            try:
                beside = await self._handle(group)
            finally:
                self._let_go(group.keys() - beside)

    def _let_go(self, uids: Iterable[str]) -> None:
        """They may be taken again, those that rest a little later."""
        for uid in uids:
            self._in_hand.discard(uid)
            rest_s = 0.0 if self._draining else self._reactor.rest_s(uid)
            if rest_s > 0:
                self._resting.add(uid)
                asyncio.get_running_loop().call_later(rest_s, self._rested, uid)
        self._wake.set()

    def _rested(self, uid: str) -> None:
        self._resting.discard(uid)
        self._wake.set()

    def _take_group(self) -> dict[str, list[Delivery]]:
        if self._draining:
            return {}
        busy = self._in_hand | self._resting
        free = [uid for uid in self._pending if uid not in busy]
        group = {uid: self._pending.pop(uid) for uid in free[: self._reactor.max_group_keys]}
        self._in_hand.update(group)
        return group

    async def _handle(self, group: Mapping[str, list[Delivery]]) -> set[str]:
        """Those that go on beside the others, and stay in hand."""
        look = self._repairs.begin(group)
        started = self._parts.clock.monotonic()
        with self._span(group):
            outcomes = await self._react(list(group))
            taken_s = self._parts.clock.monotonic() - started
            self._parts.telemetry.observe(metrics.GROUPS, taken_s)
        beside: set[str] = set()
        failed: dict[str, Exception] = {}
        for uid, outcome in outcomes.items():
            if isinstance(outcome, Beside):
                beside.add(uid)
                self._tasks.create_task(self._finish(uid, outcome, group[uid], look))
            else:
                failed[uid] = outcome
        here = [uid for uid in group if uid not in beside]
        for uid in here:
            self._repairs.end(look, uid)
        await asyncio.gather(*(self._answer_all(uid, group[uid], failed.get(uid)) for uid in here))
        return beside

    async def _finish(
        self, uid: str, beside: Beside, deliveries: Sequence[Delivery], look: Look | None
    ) -> None:
        error: Exception | None = None
        try:
            try:
                with self._span({uid: deliveries}):
                    await beside.work()
            except Exception as raised:  # noqa: BLE001 - as in `_react`
                error = raised
            self._repairs.end(look, uid)
            await self._answer_all(uid, deliveries, error)
        finally:
            self._let_go([uid])

    def _span(self, group: Mapping[str, Sequence[Delivery]]) -> AbstractContextManager[object]:
        tracing = self._parts.telemetry.tracing
        if not tracing.on:
            return nullcontext()
        nudged = {uid: self._nudged.pop(uid) for uid in group if uid in self._nudged}
        return handling(tracing, self._service, group, nudged)

    async def _answer_all(
        self, uid: str, deliveries: Sequence[Delivery], error: Exception | None
    ) -> None:
        if error is not None:
            self._report(uid, error)
        await asyncio.gather(*(self._answer(delivery, error) for delivery in deliveries))

    async def _react(self, uids: list[str]) -> Mapping[str, Exception | Beside]:
        """What failed, or goes on. An experiment that breaks the handler must not take the others
        with it."""
        try:
            return await self._reactor.react(uids)
        except Transient as away:
            return dict.fromkeys(uids, away)
        except Exception as error:  # noqa: BLE001 - reported, retried and in the end buried
            if len(uids) == 1:
                return {uids[0]: error}
        outcomes: dict[str, Exception | Beside] = {}
        for uid in uids:
            outcomes |= await self._react([uid])
        return outcomes

    def _report(self, uid: str, error: Exception) -> None:
        self._parts.telemetry.add(metrics.FAILURES, error=type(error).__name__)
        self._parts.telemetry.log.warning(
            "handling failed", uid=uid, error=f"{type(error).__name__}: {error}"
        )

    async def _answer(self, delivery: Delivery, error: Exception | None) -> None:
        """Ack after the commit; a failed one comes again later, and in the end is buried."""
        try:
            if error is None:
                await delivery.ack()
            elif isinstance(error, Transient) and delivery.attempt >= MAX_DELIVERIES:
                await delivery.ack()  # nothing is wrong with it; the sweep looks again
            elif isinstance(error, Poison) or delivery.attempt >= MAX_DELIVERIES:
                await self._bury(delivery, f"{type(error).__name__}: {error}")
            else:
                delay = min(_FIRST_RETRY_S * 2**delivery.attempt, _LAST_RETRY_S)
                await delivery.retry(delay)
                self._parts.telemetry.add(metrics.RETRIES_ASKED)
        except Transient as lost:
            # Delivered again after the ack wait; handling it again commits nothing (law 1).
            self._parts.telemetry.log.debug("answer lost", error=str(lost))
