"""Removing the chunks of deleted experiments, whatever hint was lost and whatever came late."""

from collections.abc import Mapping, Sequence

from trialbus.contracts.collections import CHUNKS, EXPERIMENTS
from trialbus.kernel.experiment import ExperimentPhase
from trialbus.kernel.limits import LATE_WRITE_S
from trialbus.ports.store import Query
from trialbus.runtime.parts import Parts
from trialbus_metrics_collector.app.experiments import Experiments
from trialbus_metrics_collector.app.tails import Tails

_SWEPT_EXPERIMENTS = 10_000


class Purge:
    """A chunk that was let in just before the deletion may be stored just after it, so a purge is
    only the last one when it comes late enough; until then the sweep asks for another."""

    def __init__(self, parts: Parts, experiments: Experiments, tails: Tails) -> None:
        self._parts = parts
        self._experiments = experiments
        self._tails = tails
        # Deleted experiments that were purged by this process; True: for the last time.
        self._purged: dict[str, bool] = {}

    async def react(self, uids: Sequence[str]) -> Mapping[str, Exception]:
        """Purge those that are deleted, by their own documents."""
        documents = await self._parts.store.get_many(
            EXPERIMENTS.name, uids, fields=("phase", "completed_at")
        )
        for uid in uids:
            document = documents.get(uid)
            if document is None:
                # Even its tombstone has expired.
                await self._purge(uid)
            elif document["phase"] == ExperimentPhase.DELETED.value:
                late = self._is_late(document["completed_at"])
                await self._purge(uid)
                self._purged[uid] = late
        return {}

    async def sweep(self) -> Sequence[str]:
        """Deleted experiments of which something may be left."""
        tombstones = await self._parts.store.find(
            EXPERIMENTS.name,
            Query(
                equals={"phase": ExperimentPhase.DELETED.value},
                order="-completed_at",
                limit=_SWEPT_EXPERIMENTS,
                fields=("completed_at",),
            ),
        )
        deleted_at = {str(it["_id"]): it["completed_at"] for it in tombstones}
        self._purged = {uid: last for uid, last in self._purged.items() if uid in deleted_at}
        return [
            uid
            for uid, at in deleted_at.items()
            if uid not in self._purged or (not self._purged[uid] and self._is_late(at))
        ]

    async def _purge(self, uid: str) -> None:
        removed = await self._parts.store.delete(CHUNKS.name, Query(prefix=f"{uid}."))
        self._experiments.forget(uid)
        self._tails.forget(uid)
        self._parts.telemetry.log.debug("purged", uid=uid, chunks=removed)

    def _is_late(self, deleted_at: float | None) -> bool:
        return deleted_at is None or self._parts.clock.now() - deleted_at > LATE_WRITE_S
