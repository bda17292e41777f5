"""Removing the evidence of deleted experiments, whatever hint was lost and whatever came late."""

from collections.abc import Mapping

from trialbus.contracts.collections import EVIDENCE, EXPERIMENTS
from trialbus.kernel.experiment import ExperimentPhase
from trialbus.kernel.limits import LATE_WRITE_S
from trialbus.ports.clock import Clock
from trialbus.ports.store import Query, Store

_SWEPT_EXPERIMENTS = 10_000


class Purge:
    """Evidence that was decided just before the deletion may be stored just after it, so a purge
    is only the last one when it comes late enough; until then the sweep asks for another."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        # Deleted experiments that were purged by this process; True: for the last time.
        self._purged: dict[str, bool] = {}

    async def purge(self, deleted: Mapping[str, float | None]) -> None:
        """Of experiments that are deleted: uid -> when, None if even the tombstone has expired."""
        for uid, deleted_at in deleted.items():
            late = self._is_late(deleted_at)
            await self._store.delete(EVIDENCE.name, Query(prefix=f"{uid}."))
            self._purged[uid] = late

    async def sweep(self) -> list[str]:
        """Deleted experiments of which something may be left."""
        tombstones = await self._store.find(
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

    def _is_late(self, deleted_at: float | None) -> bool:
        return deleted_at is None or self._clock.now() - deleted_at > LATE_WRITE_S
