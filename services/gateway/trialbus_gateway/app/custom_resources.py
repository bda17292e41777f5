"""Keeps the cluster's Experiment, Suggestion and Trial objects and the store in step, both ways.

What changes on either side only says which experiment to look at; a look compares what is there
now and does what is missing. So a change that nobody saw costs time: all of them are looked at
when it begins, and again now and then.
"""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Protocol

from trialbus.contracts.collections import EXPERIMENTS
from trialbus.contracts.katib.views import EXPERIMENT_LABEL
from trialbus.kernel.errors import Transient
from trialbus.ports.cluster import ClusterApi, ClusterError, Conflict
from trialbus.ports.store import Query
from trialbus.runtime import metrics
from trialbus.runtime.parts import Parts
from trialbus_gateway.app import reach
from trialbus_gateway.app.changes import Changes
from trialbus_gateway.app.commanding import Commanding
from trialbus_gateway.app.failures import Expired, NotThere
from trialbus_gateway.app.lasting_troubles import LastingTroubles
from trialbus_gateway.app.resource_cluster import ResourceCluster
from trialbus_gateway.app.resource_documents import ResourceDocuments
from trialbus_gateway.app.resource_home import HomeOfResources, OtherCluster
from trialbus_gateway.app.resource_keeping import ResourceKeeping
from trialbus_gateway.app.resource_mirroring import ResourceMirroring, Shown
from trialbus_gateway.app.resource_queue import Key, ResourceQueue
from trialbus_gateway.app.resource_taking import Again, ResourceTaking
from trialbus_gateway.core.change_log import Change, Kind
from trialbus_gateway.core.identities import ANYBODY
from trialbus_gateway.core.resource_versions import version_of

# An experiment's objects are written at most so often.
REST_S = 1.0
# How soon what nobody told is found.
SWEEP_S = 60.0
# After a failure; doubled up to the second with each further one.
RETRY_S = 2.0
MAX_RETRY_S = 60.0
# Every so many sweeps all are looked at, with all trials of those that go on.
WHOLE_SWEEPS = 10
# In a cluster that is not ours; doubled from RETRY_S up to this.
_OTHER_CLUSTER_S = 30.0
# So many looks one after the other that something came in between of are trouble.
_RESTLESS_LOOKS = 10
_WORKERS = 4
_FOLLOW_PAUSE_S = 300.0
# Of troubles that are no experiment's.
_BROKEN, _SWEEP = "broken", "sweep"


class ResourceFeed(Protocol):
    """The Experiment objects of the cluster, as they change."""

    def keys(self) -> set[Key]:
        """Of all that there are."""

    async def run(self, changed: Callable[[Key], None]) -> None:
        """For ever, first for all that there are."""

    async def wait_synced(self) -> None: ...


class CustomResources:
    """feed: a new one for each time that this gateway begins to keep them; namespaces: those that
    are kept, None: all; accept: the setting accept_cluster."""

    def __init__(
        self,
        parts: Parts,
        commanding: Commanding,
        changes: Changes,
        api: ClusterApi,
        feed: Callable[[], ResourceFeed],
        *,
        namespaces: frozenset[str] | None = None,
        accept: str = "",
        rest_s: float = REST_S,
        sweep_s: float = SWEEP_S,
        retry_s: float = RETRY_S,
        keeping: ResourceKeeping | None = None,
    ) -> None:
        self._parts = parts
        self._changes = changes
        self._feed = feed
        self._namespaces = namespaces
        self._rest_s = rest_s
        self._sweep_s = sweep_s
        self._retry_s = retry_s
        self._keeping = keeping or ResourceKeeping(parts)
        cluster = ResourceCluster(api)
        self._documents = ResourceDocuments(parts.store)
        self._troubles = LastingTroubles(parts.clock, parts.telemetry.log)
        self._home = HomeOfResources(
            self._documents,
            cluster,
            parts.clock,
            parts.telemetry.log,
            namespaces=namespaces,
            accept=accept,
        )
        self._taking = ResourceTaking(parts, commanding, cluster, self._home, hold_s=sweep_s / 2)
        self._mirroring = ResourceMirroring(parts.store, changes, cluster)
        self._queue = ResourceQueue(parts.clock, rest_s=rest_s)
        self._shown: dict[Key, Shown] = {}
        self._trials: dict[Key, set[str]] = {}
        # How often each has failed since it was last brought together.
        self._failures: dict[Key, int] = {}
        # How often each was looked at anew because something had come in between.
        self._restless: dict[Key, int] = {}
        # When it was heard that an experiment changed, until its objects show it.
        self._changed_at: dict[Key, float] = {}

    async def run(self) -> None:
        """Until it is cancelled."""
        with reach.acting_as(ANYBODY):
            await self._keeping.run(self._keep)

    async def _keep(self) -> None:
        """One time of being the keeper; begun anew after whatever breaks it."""
        self._troubles.forget()
        away = 0
        try:
            while True:
                try:
                    await self._keep_this_cluster()
                except OtherCluster as other:
                    self._halt(other)
                    pause_s = min(self._retry_s * 2**away, _OTHER_CLUSTER_S)
                    away = min(away + 1, 16)
                else:
                    pause_s, away = self._retry_s, 0
                await self._parts.clock.sleep(pause_s)
        finally:
            self._parts.telemetry.set(metrics.RESOURCES_HALTED, 0)

    def _halt(self, other: OtherCluster) -> None:
        self._parts.telemetry.set(metrics.RESOURCES_HALTED, 1)
        self._troubles.met(
            OtherCluster,
            "custom resources are not kept: this may be another cluster",
            reason=str(other),
            cluster=other.mark,
            remedy=other.remedy,
        )

    async def _keep_this_cluster(self) -> None:
        """Until something breaks it, which is told. Raises OtherCluster."""
        self._forget()
        try:
            await self._home.check()
            self._parts.telemetry.set(metrics.RESOURCES_HALTED, 0)
            self._troubles.over(OtherCluster)
            async with asyncio.TaskGroup() as group:
                feed = self._feed()
                group.create_task(feed.run(lambda key: self._queue.add([key])))
                group.create_task(self._sweep(feed))
                for kind in (Kind.EXPERIMENTS, Kind.TRIALS):
                    group.create_task(self._follow(kind))
                for _ in range(_WORKERS):
                    group.create_task(self._work(feed))
        except OtherCluster:
            raise
        except Exception as error:
            # Told, and begun anew.
            found = _causes(error)
            if others := [it for it in found if isinstance(it, OtherCluster)]:
                raise others[0] from error
            told = "; ".join(f"{type(it).__name__}: {it}" for it in found)
            self._troubles.met(_BROKEN, "custom resources broke off", error=told)

    def _forget(self) -> None:
        """What this process knew, which may be wrong by now."""
        self._queue = ResourceQueue(self._parts.clock, rest_s=self._rest_s)
        for known in (self._shown, self._trials, self._failures, self._restless, self._changed_at):
            known.clear()

    # What says that something changed ---------------------------------------------------------

    async def _follow(self, kind: Kind) -> None:
        """Experiments and trials of the store. What is lost in between is compared anew."""
        while True:
            try:
                index = await self._changes.index()
                since = version_of(index.log.newest)
                self._look_at_all_anew(await self._living())
                changes = self._changes.follow(kind, since, lambda: _FOLLOW_PAUSE_S)
                async with aclosing(changes):
                    async for change in changes:
                        if isinstance(change, Change):
                            self._take_note(change)
            except (Transient, Expired) as error:
                self._parts.telemetry.log.debug("changes begin anew", error=str(error))
            await self._parts.clock.sleep(self._rest_s)

    def _take_note(self, change: Change) -> None:
        metadata = change.view["metadata"]
        name = metadata["name"]
        if change.kind is Kind.TRIALS:
            name = metadata["labels"][EXPERIMENT_LABEL]
        key = Key(str(metadata["namespace"]), str(name))
        if not self._covers(key):
            return
        if change.kind is Kind.TRIALS:
            self._trials.setdefault(key, set()).add(str(metadata["uid"]))
        self._changed_at.setdefault(key, self._parts.clock.monotonic())
        self._queue.add([key])

    async def _sweep(self, feed: ResourceFeed) -> None:
        await feed.wait_synced()
        self._troubles.over(_BROKEN)
        self._parts.telemetry.log.info("keeps custom resources")
        sweeps = 0
        while True:
            try:
                if sweeps:
                    await self._home.check()
                living, there = await self._living(), feed.keys()
                linked = {
                    key for it in await self._documents.names() if self._covers(key := Key(*it))
                }
                # What only one of them knows; all of them at first, and now and then.
                odd = (living ^ there) | (linked ^ there)
                self._queue.add(odd if sweeps % WHOLE_SWEEPS else living | linked | there)
                if sweeps and sweeps % WHOLE_SWEEPS == 0:
                    self._look_at_all_anew(await self._living(active=True))
                sweeps += 1
                self._troubles.over(_SWEEP)
            except (Transient, ClusterError) as error:
                self._troubles.met(_SWEEP, "sweep waits", error=str(error))
            await self._parts.clock.sleep(self._sweep_s)

    def _look_at_all_anew(self, keys: set[Key]) -> None:
        for key in keys:
            if key in self._shown:
                self._shown[key].whole = False
        self._queue.add(keys)

    async def _living(self, *, active: bool = False) -> set[Key]:
        """All, or those that are not at rest."""
        found, last = set[Key](), ""
        while True:
            query = Query(
                equals={"active": True} if active else {},
                above={} if active else {"alive_name": last},
                order=None if active else "alive_name",
                limit=None if active else 500,
                fields=("alive_name",),
            )
            page = await self._parts.store.find(EXPERIMENTS.name, query)
            names = [str(it["alive_name"]) for it in page if it.get("alive_name")]
            found |= {key for it in names if self._covers(key := Key(*it.split("/", 1)))}
            if active or len(page) < 500:
                return found
            last = names[-1]

    def _covers(self, key: Key) -> bool:
        return self._namespaces is None or key.namespace in self._namespaces

    # A look -----------------------------------------------------------------------------------

    async def _work(self, feed: ResourceFeed) -> None:
        # What the cluster has is known first: nothing is made that is there.
        await feed.wait_synced()
        while True:
            async with self._queue.taken() as key:
                await self._look(key)

    async def _look(self, key: Key) -> None:
        # What changes from now on may be shown with the next look only.
        changed_at = self._changed_at.pop(key, None)
        try:
            is_shown = await self._bring_together(key)
            self._come_to_rest(key)
            if is_shown and changed_at is not None:
                taken_s = self._parts.clock.monotonic() - changed_at
                self._parts.telemetry.observe(metrics.RESOURCE_SYNC, taken_s)
        except OtherCluster:
            raise
        except (Again, NotThere, Conflict) as error:
            self._still_changed(key, changed_at)
            self._look_again(key, error)
        except Exception as error:  # noqa: BLE001 - one experiment must not stop the others
            self._still_changed(key, changed_at)
            self._fail(key, error)

    def _come_to_rest(self, key: Key) -> None:
        self._failures.pop(key, None)
        self._restless.pop(key, None)
        self._troubles.over(key, namespace=key.namespace, experiment=key.name)

    def _look_again(self, key: Key, error: Exception) -> None:
        """Something came in between, which is nobody's fault; unless it goes on."""
        self._queue.add([key])
        looks = self._restless[key] = self._restless.get(key, 0) + 1
        if looks > _RESTLESS_LOOKS:
            self._tell(key, "objects do not come to rest", error)

    def _still_changed(self, key: Key, at: float | None) -> None:
        if at is not None:
            self._changed_at[key] = at

    def _fail(self, key: Key, error: Exception) -> None:
        """Whatever was to be shown is compared as a whole the next time."""
        self._shown.pop(key, None)
        self._tell(key, "objects wait", error)
        failures = self._failures.get(key, 0)
        self._failures[key] = min(failures + 1, 16)
        self._parts.telemetry.add(metrics.RESOURCE_FAILURES)
        self._queue.add([key], min(self._retry_s * 2**failures, MAX_RETRY_S))

    def _tell(self, key: Key, event: str, error: Exception) -> None:
        told = f"{type(error).__name__}: {error}".removesuffix(": ")
        self._troubles.met(key, event, namespace=key.namespace, experiment=key.name, error=told)

    async def _bring_together(self, key: Key) -> bool:
        """Whether there is something to show, which is shown now."""
        pair = await self._taking.pair(key.namespace, key.name)
        trials = self._trials.pop(key, set())
        if pair is None:
            self._shown.pop(key, None)
            return False
        owner = str(pair.resource["metadata"]["uid"])
        shown = self._shown.get(key)
        if shown is None or shown.owner != owner:
            shown = self._shown[key] = Shown(owner=owner)
        try:
            await self._mirroring.show(pair, shown, trials)
        except Exception:
            self._trials.setdefault(key, set()).update(trials)
            raise
        return True


def _causes(error: BaseException) -> list[BaseException]:
    """Of a group those that are none themselves."""
    if isinstance(error, BaseExceptionGroup):
        return [cause for it in error.exceptions for cause in _causes(it)]
    return [error]
