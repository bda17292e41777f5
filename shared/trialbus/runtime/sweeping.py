"""What every sweep looks for: experiments that are not at rest, and the rests of deleted ones."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from trialbus.contracts.collections import EXPERIMENTS
from trialbus.kernel.experiment import ExperimentPhase
from trialbus.kernel.limits import LATE_WRITE_S
from trialbus.ports.clock import Clock
from trialbus.ports.store import Query, Store

_SWEPT_EXPERIMENTS = 10_000

# Removes what a service keeps of one experiment; whether that could be done.
Remove = Callable[[str], Awaitable[bool]]


async def active_experiments(store: Store) -> list[str]:
    """The uids of experiments that are not at rest."""
    documents = await store.find(
        EXPERIMENTS.name,
        Query(equals={"active": True}, limit=_SWEPT_EXPERIMENTS, fields=("_id",)),
    )
    return [str(document["_id"]) for document in documents]


class Purging:
    """Removes what a service keeps of deleted experiments, whatever hint was lost.

    What was let in just before a deletion may be stored just after it, so a purge is only the
    last one when it comes late enough; until then the sweep asks for another.
    """

    def __init__(self, store: Store, clock: Clock, remove: Remove) -> None:
        self._store = store
        self._clock = clock
        self._remove = remove
        # Deleted experiments that this process purged; True: for the last time.
        self._purged: dict[str, bool] = {}

    async def purge(self, deleted: Mapping[str, float | None]) -> None:
        """Of deleted experiments: uid -> when, None if even the tombstone has expired."""
        for uid, deleted_at in deleted.items():
            late = self._is_late(deleted_at)
            if await self._remove(uid):
                self._purged[uid] = late

    async def due(self) -> Sequence[str]:
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
