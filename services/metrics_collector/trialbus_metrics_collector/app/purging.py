"""Removing the chunks of deleted experiments."""

from collections.abc import Mapping, Sequence

from trialbus.contracts.collections import CHUNKS, EXPERIMENTS
from trialbus.kernel.experiment import ExperimentPhase
from trialbus.ports.store import Query
from trialbus.runtime.parts import Parts
from trialbus.runtime.sweeping import Purging
from trialbus_metrics_collector.app.experiments import Experiments
from trialbus_metrics_collector.app.tails import Tails


class Purge:
    """The collector's reaction to "experiment X was deleted"."""

    def __init__(self, parts: Parts, experiments: Experiments, tails: Tails) -> None:
        self._parts = parts
        self._experiments = experiments
        self._tails = tails
        self._purging = Purging(parts.store, parts.clock, self._remove)

    async def react(self, uids: Sequence[str]) -> Mapping[str, Exception]:
        """Purge those that are deleted, by their own documents."""
        documents = await self._parts.store.get_many(
            EXPERIMENTS.name, uids, fields=("phase", "completed_at")
        )
        deleted: dict[str, float | None] = {uid: None for uid in uids if uid not in documents}
        for uid, document in documents.items():
            if document["phase"] == ExperimentPhase.DELETED.value:
                deleted[uid] = document["completed_at"]
        await self._purging.purge(deleted)
        return {}

    async def sweep(self) -> Sequence[str]:
        """Deleted experiments of which something may be left."""
        return await self._purging.due()

    async def _remove(self, uid: str) -> bool:
        prefix = f"{uid}."
        removed = await self._parts.store.delete(CHUNKS.name, Query(prefix=prefix))
        self._experiments.forget(uid)
        self._tails.forget(prefix)
        self._parts.telemetry.log.debug("purged", uid=uid, chunks=removed)
        return True
