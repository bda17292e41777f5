"""Objects of ours that no living run stands for: removed now and then, without finalizers."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field

from trialbus.contracts.cluster_names import RUN_LABEL, run_selector
from trialbus.kernel import limits
from trialbus.kernel.errors import Transient
from trialbus.kernel.timestamps import rfc3339_seconds
from trialbus.ports.clock import Clock
from trialbus.ports.cluster import ClusterApi, ClusterError, Conflict, NotFound, Object, Resource
from trialbus_trial_launcher.adapters.kubernetes.logger import Logger
from trialbus_trial_launcher.app.cluster.objects import RETAIN_LABEL

# Run id -> whether it has ended; those that the store does not know are absent.
Ended = Callable[[Collection[str]], Awaitable[Mapping[str, bool]]]
KindName = tuple[str, str]
_JOB: KindName = ("batch/v1", "Job")


@dataclass(slots=True)
class Leftovers:
    """kinds: that experiments in the store use. ended: asks the store about runs."""

    api: ClusterApi
    clock: Clock
    log: Logger
    instance: str
    namespaces: tuple[str | None, ...]
    kinds: Callable[[], Awaitable[Collection[KindName]]]
    ended: Ended
    _known: set[KindName] = field(default_factory=lambda: {_JOB})

    async def run(self) -> None:
        """For ever."""
        while True:
            await self.clock.sleep(limits.CLUSTER_ORPHANS_S)
            try:
                removed = await self.sweep()
            except Transient as error:
                self.log.warning("leftovers wait", reason=str(error))
            else:
                if removed:
                    self.log.info("removed leftovers", objects=removed)

    async def sweep(self) -> int:
        """How many were removed. Raises Transient: the store does not answer."""
        self._known.update(await self.kinds())
        removed = 0
        for api_version, kind in sorted(self._known):
            for namespace in self.namespaces:
                removed += await self._sweep(api_version, kind, namespace)
        return removed

    async def _sweep(self, api_version: str, kind: str, namespace: str | None) -> int:
        """What one kind or namespace refuses keeps no other one. Raises Transient of the store."""
        removed, after = 0, ""
        while True:
            try:
                resource = await self.api.resource(api_version, kind)
                page = await self.api.list(
                    resource, namespace, label_selector=run_selector(self.instance), next=after
                )
            except (ClusterError, Transient) as error:
                # A kind that has gone took its objects along; what we may not list we did not make.
                self.log.debug("cannot look for leftovers", kind=kind, error=str(error))
                return removed
            removed += await self._remove(resource, page.items)
            if not page.next:
                return removed
            after = page.next

    async def _remove(self, resource: Resource, items: Collection[Object]) -> int:
        """A young object may be of a run that ends just now: its launcher removes it."""
        now, removed = self.clock.now(), 0
        old = [item for item in items if now - _made_at(item) > limits.CLUSTER_ORPHANS_S]
        known = await self.ended({_run(item) for item in old}) if old else {}
        for item in old:
            labels, metadata = item["metadata"]["labels"], item["metadata"]
            ended = known.get(_run(item))
            if ended is False or (ended and labels.get(RETAIN_LABEL) == "true"):
                continue
            try:
                await self.api.delete(
                    resource, metadata.get("namespace"), metadata["name"], uid=metadata["uid"]
                )
                removed += 1
            except (NotFound, Conflict):
                continue
            except (ClusterError, Transient) as error:
                # The next sweep comes by.
                self.log.debug("cannot remove a leftover", kind=resource.kind, error=str(error))
        return removed


def _run(item: Object) -> str:
    return str(item["metadata"]["labels"].get(RUN_LABEL, ""))


def _made_at(item: Object) -> float:
    return rfc3339_seconds(str(item["metadata"].get("creationTimestamp"))) or 0.0
