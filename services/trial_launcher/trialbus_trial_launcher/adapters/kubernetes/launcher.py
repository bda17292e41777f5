"""The launcher of a cluster: what it knows of runs is on the cluster, in their objects and pods.

Several launchers may follow the same runs: objects have names that follow from their runs, why one
is stopped is written on it before it is deleted, and ends are recorded by compare-and-set.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

from trialbus.kernel import limits
from trialbus.kernel.errors import Transient
from trialbus.kernel.run import StopReason
from trialbus.ports.clock import Clock
from trialbus.ports.cluster import ClusterApi, ClusterError, NoSuchKind, NotFound, Object
from trialbus.ports.launcher import Plan, RunState, RunStatus
from trialbus_trial_launcher.adapters.kubernetes.creating import Creating, owner_of
from trialbus_trial_launcher.adapters.kubernetes.folders import NoFolders
from trialbus_trial_launcher.adapters.kubernetes.leaving import PODS, Leaving
from trialbus_trial_launcher.adapters.kubernetes.ledger import Ledger, object_plan
from trialbus_trial_launcher.adapters.kubernetes.log_stream import LogStream
from trialbus_trial_launcher.adapters.kubernetes.logger import Logger
from trialbus_trial_launcher.adapters.kubernetes.records import Record
from trialbus_trial_launcher.adapters.kubernetes.removing import Removing
from trialbus_trial_launcher.adapters.kubernetes.views import Eyes, Views
from trialbus_trial_launcher.app.cluster.object_ends import (
    RunEnd,
    overdue,
    stopped_end,
    waiting_of,
)
from trialbus_trial_launcher.app.hand import LaunchObserver, NobodyObserves

# Creations in hand at once; the client paces them besides.
_CREATIONS_AT_ONCE = 32
_TAKEN_OVER_AT_ONCE = 16
# An object that its view has not shown for so long is asked for; so are pods that do not go.
_UNSEEN_S = 5.0
# How much the news of pods are behind those of their objects, mostly.
_PODS_LAG_S = 1.0
_UNTOLD = "Looking for its object"


class ClusterLauncher(NoFolders):
    """Implements the port Launcher. namespaces: that have our Roles; (None,): all. observer: hears
    of launches. outside: of the span in which a task is begun that outlives it."""

    def __init__(
        self,
        api: ClusterApi,
        clock: Clock,
        log: Logger,
        *,
        instance: str,
        namespaces: tuple[str | None, ...],
        observer: LaunchObserver | None = None,
        outside: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._api = api
        self._clock = clock
        self._log = log
        self._observer = observer or NobodyObserves()
        self._outside = outside
        ledger = Ledger(
            lambda record: self._spawn(self._look_again(record)),
            self._observer.running,
            lambda record: self._spawn(self._leaving.leave(record)),
        )
        self._ledger, self._records = ledger, ledger.records
        self._creating = Creating(api, clock)
        self._leaving = Leaving(api, clock, log, add=ledger.add_pod, finish=ledger.finish)
        self._turns = asyncio.Semaphore(_CREATIONS_AT_ONCE)
        eyes = Eyes(
            object_of=ledger.see_object,
            pod_of=ledger.see_pod,
            object_changed=ledger.object_changed,
            pod_changed=ledger.pod_changed,
        )
        self.views = Views(api, clock, log, instance, namespaces, eyes, outside)
        self._removing = Removing(api, clock)
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """Runs that are remembered."""
        return len(self._records)

    def record(self, run_id: str) -> Record:
        """What is remembered of a run. Raises KeyError."""
        return self._records[run_id]

    # The port ----------------------------------------------------------------------------------

    async def start(self, plans: Sequence[Plan]) -> None:
        for plan in plans:
            record = self._ledger.known(plan)
            if record.sight is None and record.body is None and record.end is None:
                record.body, record.absent = dict(object_plan(plan).body), False
                self._spawn(self._create(record))

    async def take_over(self, plans: Sequence[Plan]) -> None:
        turns = asyncio.Semaphore(_TAKEN_OVER_AT_ONCE)

        async def find(record: Record) -> None:
            async with turns:
                await self._find(record)

        unknown = [plan for plan in plans if plan.run_id not in self._records]
        await asyncio.gather(*(find(self._ledger.known(plan)) for plan in unknown))

    async def status(self, run_ids: Sequence[str]) -> dict[str, RunStatus]:
        return {run_id: self._status(run_id) for run_id in run_ids}

    async def stop(self, run_id: str, *, reason: str, grace_s: float) -> None:  # noqa: ARG002
        record = self._records.get(run_id)
        if record is None or record.end is not None or record.stop:
            return
        record.stop = reason
        record.stop_until = self._clock.monotonic() + limits.CLUSTER_STOP_DEADLINE_S
        if record.absent:
            self._ledger.finish(record, RunEnd(stop_reason=reason))
        elif record.sight is not None:
            self._spawn(self._stop(record))

    async def ended(self, *, timeout_s: float) -> Sequence[str]:
        return await self._ledger.ended(timeout_s)

    async def read(self, run_id: str, from_byte: int, max_bytes: int) -> bytes:
        """Of a run whose output is followed. Raises Transient."""
        record = self._records.get(run_id)
        stream = None if record is None else self._stream(record)
        return b"" if stream is None else await stream.read(from_byte, max_bytes)

    async def tail(self, run_id: str, max_bytes: int) -> bytes:
        record = self._records.get(run_id)
        if record is None:
            return b""
        if record.log is not None and record.log.tail:
            return record.log.tail[-max_bytes:]
        if record.kept_tail is None:
            record.kept_tail = await self.log_of(run_id, tail=True)
        return record.kept_tail[-max_bytes:]

    async def log_of(self, run_id: str, *, tail: bool) -> bytes:
        """What its pod has of its output now, from the beginning or only the last lines."""
        record = self._records.get(run_id)
        pod = None if record is None else record.primary
        if record is None or pod is None:
            return b""
        try:
            return await self._api.log(
                pod.namespace,
                pod.name,
                container=record.kind.container,
                tail_lines=limits.CLUSTER_TAIL_LINES if tail else None,
                limit_bytes=limits.MAX_CLUSTER_LOG_BYTES,
            )
        except (ClusterError, Transient) as error:
            self._log.debug("no log", run=run_id, error=str(error))
            return b""

    async def address(self, run_id: str) -> str:
        record = self._records.get(run_id)
        pod = None if record is None else record.primary
        return "" if pod is None else pod.ip

    async def forget(self, run_ids: Sequence[str]) -> None:
        """In the background: what may not be removed just now keeps nobody waiting. What nobody
        here knows of them is found by the sweep over leftovers."""
        for record in [it for key in run_ids if (it := self._records.get(key)) is not None]:
            # Its creation may be in hand: then it is stopped as soon as it is there.
            record.stop = record.stop or StopReason.DELETED.value
            self._spawn(self._remove(record))

    async def tidy(self, run_ids: Sequence[str]) -> None:
        records = [it for key in run_ids if (it := self._records.get(key)) is not None]
        gone = [record for record in records if record.stays or record.sight is None]
        for record in gone:
            await self._drop(record)
        for record in records:
            if record.run_id in self._records:
                self._spawn(self._remove(record))

    async def close(self) -> None:
        await self.views.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for record in self._records.values():
            if record.log is not None:
                await record.log.close()
        await self._api.close()

    # Beginning ---------------------------------------------------------------------------------

    async def _create(self, record: Record) -> None:
        async with self._turns:
            made = await self._creating.create(record)
        record.body = None
        if isinstance(made, RunEnd):
            self._observer.failed(record.run_id, "machine" if made.lost else "command")
            self._ledger.finish(record, made)
        elif made is None:
            if record.sight is None and record.end is None:
                self._ledger.finish(record, RunEnd(stop_reason=record.stop))
        else:
            self._observer.launched(record.run_id)
            self._there(record, made)

    def _there(self, record: Record, item: Object) -> None:
        record.trouble = ""
        record.checked_at = self._clock.monotonic()
        if record.sight is None:
            record.sight = self._ledger.see_object(item)
        assert record.resource is not None
        self.views.follow_objects(record.resource)
        self.views.follow_pods(PODS)
        if record.kind.pods_by:
            self.views.follow_pods(PODS, record.kind.pods_by)
        if record.stop:
            self._spawn(self._stop(record))
        self._ledger.judge(record)

    async def _find(self, record: Record) -> None:
        """Raises Transient. What we may not look at now is asked for again: it may well run."""
        try:
            await self._look(record)
        except Transient:
            self._ledger.forget(record)
            raise
        except ClusterError as error:
            record.trouble = str(error)
            record.checked_at = self._clock.monotonic()

    async def _look(self, record: Record) -> None:
        """From a quorum: is it there, and what are its pods? Raises Transient, ClusterError."""
        try:
            found = await self._ask(record)
        except NoSuchKind:
            # It took its objects along.
            found = None
        if found is None or owner_of(found) != record.run_id:
            await self._leaving.look(record)
            record.absent = record.pods_are_over
            if not record.absent:
                record.gone = True
                self._ledger.leave(record)
            return
        await self._leaving.look(record)
        record.absent = False
        self._observer.found(record.run_id)
        self._there(record, found)

    async def _ask(self, record: Record) -> Object | None:
        """None: it is not there. Raises Transient, ClusterError."""
        kind = record.kind
        try:
            record.resource = await self._api.resource(kind.api_version, kind.kind)
            namespace = kind.namespace if record.resource.namespaced else None
            return await self._api.get(record.resource, namespace, record.name)
        except NotFound:
            return None

    # Looking ----------------------------------------------------------------------------------

    async def _look_again(self, record: Record) -> None:
        """Its pods' last news may be behind those of its object: they mostly come by themselves."""
        await self._clock.sleep(_PODS_LAG_S)
        while record.end is None:
            try:
                await self._leaving.look(record)
                break
            except (Transient, ClusterError) as error:
                record.trouble = str(error)
                await self._clock.sleep(limits.CLUSTER_RETRY_AFTER_S)
        record.looked = True
        self._ledger.judge(record)

    def _status(self, run_id: str) -> RunStatus:
        record = self._records.get(run_id)
        if record is None:
            return RunStatus(run_id=run_id, state=RunState.ABSENT)
        if record.end is None:
            self._watch_deadlines(record)
        return record.status(self._waiting(record))

    def _watch_deadlines(self, record: Record) -> None:
        now = self._clock.monotonic()
        if record.absent and not record.kind.shipped:
            age_s = self._clock.now() - record.created_at
            if age_s > limits.CLUSTER_LOST_AFTER_S:
                message = "its object is not there, and no other launcher may create it any more"
                self._ledger.finish(record, RunEnd(lost=True, message=message))
            elif now - record.checked_at > limits.CLUSTER_RETRY_AFTER_S:
                record.checked_at = now
                self._spawn(self._check(record))
        elif record.stop and now > record.stop_until:
            left = [pod.name for pod in record.pods.values() if not pod.over]
            end = stopped_end(record.stop, record.pods.values())
            self._log.error("pods of a stopped run do not go", run=record.run_id, pods=left)
            self._ledger.finish(record, end)
        elif not record.stop and (end_ := overdue(record.pods.values(), self._clock.now())):
            self._ledger.finish(record, end_)
        elif now - record.checked_at > _UNSEEN_S and self._leaving.is_cut_off(record):
            record.checked_at = now
            self._spawn(self._leaving.confirm_cut_off(record))
        elif not record.expected and now - record.checked_at > _UNSEEN_S:
            record.checked_at = now
            self._spawn(self._check(record))

    async def _check(self, record: Record) -> None:
        """Of a run whose object no view has shown: ask."""
        sight = record.sight
        try:
            if sight is None:
                await self._look(record)
                return
            if record.resource is not None and self.views.shows(
                record.resource, record.kind.namespace, record.name, sight.uid
            ):
                # Since before it was taken over.
                record.seen = True
                return
            found = await self._ask(record)
        except (ClusterError, Transient) as error:
            record.trouble = str(error)
            return
        if found is None:
            record.gone = True
        elif found["metadata"].get("uid") == sight.uid:
            record.sight = self._ledger.see_object(found)
        self._ledger.judge(record)

    def _waiting(self, record: Record) -> str:
        if record.end is not None:
            return ""
        if record.sight is None:
            return record.trouble or (_UNTOLD if record.absent else "")
        age_s = self._clock.now() - record.created_at
        return waiting_of(record.sight, record.pods.values(), age_s) or self.views.trouble

    # Stopping and removing ---------------------------------------------------------------------

    async def _stop(self, record: Record) -> None:
        if record.stopping:
            return
        record.stopping = True
        if record.log is None:
            record.kept_tail = await self.log_of(record.run_id, tail=True)
        await self._removing.stop(record)
        if not record.seen:
            # No view will tell of its going.
            with suppress(ClusterError, Transient):
                await self._leaving.look(record)
            record.gone = True
        self._ledger.judge(record)

    async def _remove(self, record: Record) -> None:
        """With what is remembered of it."""
        if record.sight is not None and not record.gone:
            await self._removing.delete(record)
        await self._drop(record)

    async def _drop(self, record: Record) -> None:
        if record.log is not None:
            await record.log.close()
        self._ledger.forget(record)

    # Output ------------------------------------------------------------------------------------

    def _stream(self, record: Record) -> LogStream | None:
        pod = record.primary
        if not record.kind.follows or pod is None or pod.started_at is None:
            return record.log
        if record.log is None:
            record.log = LogStream(
                self._api,
                self._clock,
                pod.namespace,
                pod.name,
                record.kind.container,
                lambda: record.is_silent,
                self._outside,
            )
        return record.log

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        with self._outside():
            task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.error("work for a run failed", error=f"{type(error).__name__}: {error}")
