"""Pods of a run as the API server has them, and runs whose object others have deleted, or suspended
while it ran: they are over when their pods are, so that no other attempt runs beside them."""

from collections.abc import Callable

from trialbus.contracts.cluster_names import RUN_LABEL
from trialbus.kernel import limits
from trialbus.kernel.errors import Transient
from trialbus.ports.clock import Clock
from trialbus.ports.cluster import ClusterApi, ClusterError, Object, Resource
from trialbus_trial_launcher.adapters.kubernetes.logger import Logger
from trialbus_trial_launcher.adapters.kubernetes.records import Record
from trialbus_trial_launcher.app.cluster.object_ends import RunEnd, cut_off, stopped_end

# Every server has them: nothing to ask for, which could fail.
PODS = Resource(group="", version="v1", kind="Pod", plural="pods", namespaced=True)
_LOOK_EVERY_S = 2.0


class Leaving:
    """add: takes note of a pod. finish: of a run's end."""

    def __init__(
        self,
        api: ClusterApi,
        clock: Clock,
        log: Logger,
        *,
        add: Callable[[Record, Object], None],
        finish: Callable[[Record, RunEnd], None],
    ) -> None:
        self._api = api
        self._clock = clock
        self._log = log
        self._add = add
        self._finish = finish

    async def look(self, record: Record) -> frozenset[str]:
        """Takes note of its pods; their names. Raises Transient, ClusterError."""
        by = record.kind.pods_by
        selector = f"{by}={record.name}" if by else f"{RUN_LABEL}={record.run_id}"
        page = await self._api.list(PODS, record.kind.namespace, label_selector=selector)
        for item in page.items:
            self._add(record, item)
        return frozenset(str(item["metadata"]["name"]) for item in page.items)

    async def leave(self, record: Record) -> None:
        """Until it is over, or nobody can tell how much longer: their nodes do not answer."""
        until = self._clock.monotonic() + limits.CLUSTER_STOP_DEADLINE_S
        while record.end is None:
            if await self._has_left(record):
                self._finish(record, end_of_left(record))
            elif self._clock.monotonic() > until:
                left = [pod.name for pod in record.pods.values() if not pod.over]
                self._log.error("pods of a run do not go", run=record.run_id, pods=left)
                self._finish(record, end_of_left(record))
            else:
                await self._clock.sleep(_LOOK_EVERY_S)

    def is_cut_off(self, record: Record) -> bool:
        return self._cut_off(record) is not None

    async def confirm_cut_off(self, record: Record) -> None:
        """A view may be behind, or blind."""
        if await self._refresh(record) and (end := self._cut_off(record)) is not None:
            self._finish(record, end)

    def _cut_off(self, record: Record) -> RunEnd | None:
        if record.sight is None or record.stop:
            return None
        return cut_off(record.sight, record.pods.values(), self._clock.now())

    async def _has_left(self, record: Record) -> bool:
        if not await self._refresh(record):
            return False
        return record.pods_are_over if record.withdrawn is None else record.withdrawn_are_over

    async def _refresh(self, record: Record) -> bool:
        """Whether its pods are as the server has them now."""
        try:
            there = await self.look(record)
        except (Transient, ClusterError) as error:
            record.trouble = str(error)
            return False
        for name in record.pods.keys() - there:
            # No view has told of its going.
            record.pod_gone(name)
        return True


def end_of_left(record: Record) -> RunEnd:
    """Of a run whose pods are gone because of what became of its object."""
    if record.stop:
        return stopped_end(record.stop, record.pods.values())
    if record.withdrawn is not None and not record.gone:
        queue = record.sight.queue if record.sight is not None else ""
        why = f"preempted in Kueue's queue {queue!r}" if queue else "it may run again when resumed"
        return RunEnd(lost=True, message=f"{record} was suspended while it ran: {why}")
    return RunEnd(lost=True, message=f"{record} was deleted by others")
