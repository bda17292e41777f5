"""Whether the cluster is still the one whose objects are linked to experiments.

In another cluster, one that was built anew or one whose state is of another time, every linked
object seems to be deleted. So nothing is taken for deleted, and nothing is kept in step, before
somebody has said what is to become of the experiments whose objects are not there.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from trialbus.ports.clock import Clock
from trialbus.ports.cluster import Forbidden
from trialbus.runtime.telemetry import Logger
from trialbus_gateway.app.resource_cluster import Named, ResourceCluster
from trialbus_gateway.app.resource_documents import (
    HOME_ID,
    ResourceDocuments,
    ResourceHome,
    ResourceLink,
)

# Cannot be deleted, so its uid is the cluster's own.
KUBE_SYSTEM = "kube-system"
# Of restored snapshots etcd's guide adds a billion to the version, for the sake of watches. A busy
# cluster takes weeks for half of that.
RESTORED_STEP = 500_000_000
# So often a version that went back is asked for again: a server that lags catches up, one that was
# restored does not.
_OLD_ANSWERS = 3
_ASK_AGAIN_S = 0.3
# An object of ours that is there says that it is ours; so many are looked for.
_WITNESSES = 100
_ACCEPTED = re.compile("(recreate|drop):(.+)")


class OtherCluster(Exception):
    """Nothing may be taken for deleted here. mark: of this cluster, as it is to be accepted; "": it
    cannot be told from others."""

    def __init__(self, reason: str, mark: str) -> None:
        self.mark = mark
        super().__init__(reason)

    @property
    def remedy(self) -> str:
        if not self.mark:
            return "let the gateway get namespaces"
        return (
            f"point the gateway at the cluster that it kept, or set TRIALBUS_ACCEPT_CLUSTER to "
            f"recreate:{self.mark}, which makes the missing objects anew, or to drop:{self.mark}, "
            "which deletes the experiments whose objects are not there"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sight:
    """uids: of the namespaces that the cluster is known by. barred: why they may not be seen."""

    uids: Mapping[str, str] = field(default_factory=dict)
    barred: str = ""

    @property
    def mark(self) -> str:
        return self.uids[min(self.uids)] if self.uids else ""


class HomeOfResources:
    """namespaces: that are kept, None: all. accept: the setting accept_cluster. Every call may
    raise Transient, ClusterError."""

    def __init__(
        self,
        documents: ResourceDocuments,
        cluster: ResourceCluster,
        clock: Clock,
        log: Logger,
        *,
        namespaces: frozenset[str] | None,
        accept: str = "",
    ) -> None:
        self._documents = documents
        self._cluster = cluster
        self._clock = clock
        self._log = log
        self._namespaces = namespaces
        self._known_by = (KUBE_SYSTEM,) if namespaces is None else tuple(sorted(namespaces))
        # A Role in a namespace lets its own be listed, and no others.
        self._listed = None if namespaces is None else self._known_by[0]
        self._accept = accept

    async def check(self) -> None:
        """Before anything is kept, and now and then; the first time this cluster is remembered.
        Raises OtherCluster."""
        home, sight = await self._documents.home(), await self._look()
        newest = await self._newest(home)
        other = await self._other(home, sight, newest)
        if other is not None:
            await self._accept_or_raise(other)
        await self._remember(home, sight, newest)

    async def has_lost(self, link: ResourceLink) -> bool:
        """Whether an object of ours was deleted, as far as its cluster knows. Raises OtherCluster:
        it does not know."""
        home = await self._documents.home()
        known = None if home is None else home.namespaces
        before = await self._look(known)
        named = await self._named(home, link)
        if link.id in named.uids:
            return False
        # On both sides of the list, behind which the server may have become another's.
        for sight in (before, await self._look(known)):
            if (other := await self._other(home, sight, named.newest)) is not None:
                raise other
        return True

    # What it is compared by ----------------------------------------------------------------------

    async def _other(
        self, home: ResourceHome | None, sight: _Sight, newest: int
    ) -> OtherCluster | None:
        """None: it is the one that we know, or there is nothing to lose."""
        is_known = home is not None and _is_shared(home.namespaces, sight.uids)
        is_restored = home is not None and (home.restored or _is_of_another_time(home, newest))
        if is_known and not is_restored:
            return None
        links = await self._links()
        if not links:
            return None
        if not is_known and not await self._is_ours(home, sight, links):
            return OtherCluster(_why_other(home, sight, self._known_by), sight.mark)
        if home is None or not is_restored or await self._first_missing(links) is None:
            return None
        await self._documents.settle(home, replace(home, restored=True))
        reason = (
            f"the cluster's state is of another time: it was at version {home.newest}, now it is "
            f"at {newest}, and objects are missing"
        )
        return OtherCluster(reason, sight.mark and f"{sight.mark}.{home.newest}")

    async def _look(self, known: Mapping[str, str] | None = None) -> _Sight:
        """known: one of these is enough."""
        uids, barred = dict[str, str](), ""
        for name in self._known_by:
            try:
                uid = await self._cluster.namespace_uid(name)
            except Forbidden as error:
                barred = str(error)
                continue
            if uid:
                uids[name] = uid
            if known is not None and _is_shared(known, uids):
                break
        return _Sight(uids=uids, barred=barred)

    async def _newest(self, home: ResourceHome | None) -> int:
        """Of the cluster, by a list; one that is older than what is known is asked for again."""
        for _ in range(_OLD_ANSWERS):
            newest = await self._cluster.newest(self._listed)
            if not _went_back(home, newest):
                return newest
            await self._clock.sleep(_ASK_AGAIN_S)
        return await self._cluster.newest(self._listed)

    async def _named(self, home: ResourceHome | None, link: ResourceLink) -> Named:
        """The same of the objects that have a link's name."""
        for _ in range(_OLD_ANSWERS):
            named = await self._cluster.named(link.namespace, link.name)
            if not _went_back(home, named.newest):
                return named
            await self._clock.sleep(_ASK_AGAIN_S)
        return await self._cluster.named(link.namespace, link.name)

    async def _links(self) -> list[ResourceLink]:
        """Of the namespaces that are kept: others may not be looked at."""
        found = await self._documents.made()
        kept = self._namespaces
        return found if kept is None else [it for it in found if it.namespace in kept]

    async def _is_ours(
        self, home: ResourceHome | None, sight: _Sight, links: Sequence[ResourceLink]
    ) -> bool:
        """By the objects that it has. Where a namespace has another uid than before, those may
        have been linked since: then it is ours if none is missing."""
        if home is not None and home.namespaces.keys() & sight.uids.keys():
            return await self._first_missing(links) is None
        return await self._is_witnessed(links)

    async def _is_witnessed(self, links: Sequence[ResourceLink]) -> bool:
        for link in links[:_WITNESSES]:
            if await self._is_there(link):
                return True
        return False

    async def _first_missing(self, links: Sequence[ResourceLink]) -> ResourceLink | None:
        for link in links:
            if not await self._is_there(link):
                return link
        return None

    async def _is_there(self, link: ResourceLink) -> bool:
        found = await self._cluster.experiment(link.namespace, link.name)
        return found is not None and found["metadata"]["uid"] == link.id

    # What somebody decides -----------------------------------------------------------------------

    async def _accept_or_raise(self, other: OtherCluster) -> None:
        accepted = _ACCEPTED.fullmatch(self._accept)
        if accepted is None or not other.mark or accepted[2] != other.mark:
            raise other
        missing = [it for it in await self._links() if not await self._is_there(it)]
        if accepted[1] == "recreate":
            for link in missing:
                await self._documents.forget(link)
        self._log.warning(
            "another cluster is accepted",
            reason=str(other),
            missing_objects=len(missing),
            they_are="made anew" if accepted[1] == "recreate" else "taken for deleted",
        )

    async def _remember(self, home: ResourceHome | None, sight: _Sight, newest: int) -> None:
        known = {} if home is None else home.namespaces
        if sight.uids and not _is_shared(known, sight.uids):
            known = {}
        after = ResourceHome(
            id=HOME_ID, version=1, namespaces={**known, **sight.uids}, newest=newest
        )
        await self._documents.settle(home, after)


def _is_shared(known: Mapping[str, str], seen: Mapping[str, str]) -> bool:
    """Whether both have a namespace with the same uid, which no other cluster has."""
    return bool(known.items() & seen.items())


def _went_back(home: ResourceHome | None, newest: int) -> bool:
    """newest: 0: it cannot be compared."""
    return home is not None and 0 < newest < home.newest


def _is_of_another_time(home: ResourceHome, newest: int) -> bool:
    jumped = home.newest > 0 and newest - home.newest >= RESTORED_STEP
    return _went_back(home, newest) or jumped


def _why_other(home: ResourceHome | None, sight: _Sight, known_by: Sequence[str]) -> str:
    names = ", ".join(known_by)
    if sight.barred:
        return f"whether this is the cluster that was kept is not known: {sight.barred}"
    if home is None:
        return "of the objects that experiments are linked to none is in this cluster"
    if not sight.uids:
        return f"this is not the cluster that was kept: it has no namespace {names}"
    return f"this is not the cluster that was kept: {names} there had another uid"
