"""The runs that this process knows, and what changes on the cluster make of them."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from trialbus.adapters.kubernetes_api.reflector import ObjectKey
from trialbus.contracts.cluster_names import RUN_LABEL
from trialbus.kernel.errors import InvariantBroken
from trialbus.ports.cluster import Object
from trialbus.ports.launcher import ObjectPlan, Plan
from trialbus_trial_launcher.adapters.kubernetes.creating import owner_of
from trialbus_trial_launcher.adapters.kubernetes.leaving import end_of_left
from trialbus_trial_launcher.adapters.kubernetes.records import Record, record_of
from trialbus_trial_launcher.app.cluster.object_ends import (
    ObjectSight,
    RunEnd,
    end_of,
    is_inconclusive,
    object_sight,
    stopped_end,
)
from trialbus_trial_launcher.app.cluster.pod_ends import PodSight, pod_sight


class Ledger:
    """look_again: asks for the pods of a run whose end they do not explain yet. running: hears of
    runs whose command has begun, once. leave: waits for the pods of an object that was deleted or
    suspended, and ends its run."""

    def __init__(
        self,
        look_again: Callable[[Record], None],
        running: Callable[[str], None],
        leave: Callable[[Record], None],
    ) -> None:
        self._leave = leave
        self._running = running
        self._look_again = look_again
        self.records: dict[str, Record] = {}
        self._names: dict[tuple[str, str, str], Record] = {}
        # Of objects that name their pods by a label of their own.
        self._by_label: dict[tuple[str, str, str], Record] = {}
        self._pod_runs: dict[ObjectKey, str] = {}
        self._ended: list[str] = []
        self._news = asyncio.Event()

    def known(self, plan: Plan) -> Record:
        record = self.records.get(plan.run_id)
        if record is None:
            record = record_of(object_plan(plan))
            self.records[record.run_id] = self._names[record.key] = record
            if record.kind.pods_by:
                self._by_label[record.kind.pods_by, record.kind.namespace, record.name] = record
        return record

    def forget(self, record: Record) -> None:
        self.records.pop(record.run_id, None)
        if self._names.get(record.key) is record:
            del self._names[record.key]
        self._by_label.pop((record.kind.pods_by, record.kind.namespace, record.name), None)
        for name in record.pods:
            self._pod_runs.pop(ObjectKey(record.kind.namespace, name), None)

    # Seeing ------------------------------------------------------------------------------------

    def see_object(self, item: Object) -> ObjectSight:
        run = owner_of(item)
        record = self.records.get(run)
        return object_sight(item, run, None if record is None else record.kind.conditions)

    def see_pod(self, pod: Object, by: str) -> PodSight:
        """Of none of our runs: empty."""
        metadata = pod["metadata"]
        labels = metadata.get("labels") or {}
        if by:
            key = (by, str(metadata.get("namespace")), str(labels.get(by)))
            record = self._by_label.get(key)
        else:
            record = self.records.get(str(labels.get(RUN_LABEL, "")))
        if record is None:
            return PodSight()
        return pod_sight(pod, record.run_id, record.kind.container, record.kind.pod_labels)

    def add_pod(self, record: Record, pod: Object) -> None:
        sight = self.see_pod(pod, record.kind.pods_by)
        if sight.run == record.run_id:
            self._pod_runs[ObjectKey(sight.namespace, sight.name)] = record.run_id
            record.pods[sight.name] = sight

    def object_changed(self, kind: str, key: ObjectKey, sight: ObjectSight | None) -> None:
        record = self._names.get((kind, key.namespace, key.name))
        if record is None:
            return
        if sight is None:
            record.gone = record.gone or record.seen
        elif sight.run == record.run_id:
            record.sight, record.seen, record.absent = sight, True, False
        self.judge(record)

    def pod_changed(self, key: ObjectKey, sight: PodSight | None) -> None:
        run = self._pod_runs.get(key, "") if sight is None else sight.run
        record = self.records.get(run)
        if sight is None or record is None:
            self._pod_runs.pop(key, None)
        if record is None:
            return
        if sight is None:
            record.pod_gone(key.name)
        else:
            self._pod_runs[key] = record.run_id
            record.pods[key.name] = sight
        self.judge(record)

    # Ends --------------------------------------------------------------------------------------

    def judge(self, record: Record) -> None:
        """After each change: is it over?"""
        self._see_begun(record)
        sight = record.sight
        if record.end is not None or sight is None or record.body is not None:
            return
        pods = record.pods.values()
        if sight.stop or record.stop:
            if record.gone and record.pods_are_over:
                self.finish(record, stopped_end(sight.stop or record.stop, pods))
            return
        if record.sees_withdrawal() and not record.ended_well:
            # Whatever its object says later is of another beginning.
            if record.withdrawn_are_over:
                self.finish(record, end_of_left(record))
            else:
                self.leave(record)
            return
        end = end_of(sight, pods, shipped=record.kind.shipped, gone=record.lost_pods)
        if end is not None and is_inconclusive(sight, pods) and not record.looked:
            if not record.looking:
                record.looking = True
                self._look_again(record)
        elif end is not None:
            self.finish(record, end)
        elif record.gone or record.withdrawn is not None:
            self.leave(record)

    def leave(self, record: Record) -> None:
        """Others have deleted or suspended its object; its pods may be in their grace period."""
        if not record.leaving:
            record.leaving = True
            self._leave(record)

    def _see_begun(self, record: Record) -> None:
        if record.running:
            return
        if any(it.primary and it.started_at is not None for it in record.pods.values()):
            record.running = True
            self._running(record.run_id)

    def finish(self, record: Record, end: RunEnd) -> None:
        if record.end is None:
            record.end, record.body = end, None
            primary = record.primary
            record.finished_at = primary.finished_at if primary is not None else None
            self._ended.append(record.run_id)
            self._news.set()

    async def ended(self, timeout_s: float) -> list[str]:
        if not self._ended:
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._news.wait()
        ended, self._ended = self._ended, []
        return ended


def object_plan(plan: Plan) -> ObjectPlan:
    if not isinstance(plan, ObjectPlan):
        raise InvariantBroken(f"{plan.run_id} is a command of a machine")
    return plan
