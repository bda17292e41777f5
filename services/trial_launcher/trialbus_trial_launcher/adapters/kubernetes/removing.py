"""Taking objects of runs away: never another than the one that is meant."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from trialbus.kernel import limits
from trialbus.kernel.errors import Transient
from trialbus.ports.clock import Clock
from trialbus.ports.cluster import ClusterApi, ClusterError, Conflict, NoSuchKind, NotFound
from trialbus_trial_launcher.adapters.kubernetes.records import Record
from trialbus_trial_launcher.app.cluster.objects import STOP_ANNOTATION

_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Removing:
    api: ClusterApi
    clock: Clock
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))

    async def stop(self, record: Record) -> None:
        """Write down why, then delete: other launchers that see it go know that it was stopped."""
        await self._repeated(record, self._annotate)
        await self.delete(record)

    async def delete(self, record: Record) -> None:
        await self._repeated(record, self._delete)

    async def _annotate(self, record: Record) -> None:
        assert record.resource is not None and record.sight is not None
        metadata = {"uid": record.sight.uid, "annotations": {STOP_ANNOTATION: record.stop}}
        await self.api.patch(
            record.resource, self._namespace(record), record.name, {"metadata": metadata}
        )

    async def _delete(self, record: Record) -> None:
        assert record.resource is not None and record.sight is not None
        await self.api.delete(
            record.resource, self._namespace(record), record.name, uid=record.sight.uid
        )

    def _namespace(self, record: Record) -> str | None:
        namespaced = record.resource is None or record.resource.namespaced
        return record.kind.namespace if namespaced else None

    async def _repeated(self, record: Record, call: Callable[[Record], Awaitable[None]]) -> None:
        """Until it is done, or somebody else has done it."""
        pause_s = limits.CLUSTER_BACKOFF_S
        while True:
            try:
                async with self.turns:
                    await call(record)
            except (NotFound, Conflict, NoSuchKind):
                return
            except (Transient, ClusterError) as error:
                record.trouble = str(error)
            else:
                return
            await self.clock.sleep(pause_s)
            pause_s = min(2 * pause_s, limits.MAX_CLUSTER_BACKOFF_S)
