"""What is stored of custom resources: which object stands for which experiment, and who keeps them
in step."""

from dataclasses import dataclass, replace

from trialbus.contracts.collections import RESOURCE_KEEPERS, RESOURCES
from trialbus.contracts.documents import Document, DocumentCodec
from trialbus.kernel.errors import Problem
from trialbus.ports.store import Outcome, Query, Store, Write

KEEPER_ID = "keeper"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceLink:
    """id: uid of the cluster's object. uid: of its experiment, None while it is refused. seen:
    check sum of what people wrote in the object when it was last taken, "" before that. revision:
    of the experiment that the object shows. problems: why what was last written is refused, and
    since when."""

    id: str
    version: int
    namespace: str
    name: str
    uid: str | None
    seen: str = ""
    revision: int = 0
    problems: tuple[Problem, ...] = ()
    refused_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceKeeper:
    """holder: the gateway that keeps objects and store in step, "": none does any more. beat: grows
    while it does, so others see by their own clocks when it has stopped."""

    id: str
    version: int
    holder: str
    beat: int


LINK = DocumentCodec(ResourceLink)
KEEPER = DocumentCodec(ResourceKeeper)


class ResourceDocuments:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def named(self, namespace: str, name: str) -> list[ResourceLink]:
        """Of all objects that have, or had, this name."""
        query = Query(equals={"namespace": namespace, "name": name})
        return [LINK.decode(it) for it in await self._store.find(RESOURCES.name, query)]

    async def names(self) -> set[tuple[str, str]]:
        """Namespaces and names of all."""
        found = await self._store.find(RESOURCES.name, Query(fields=("namespace", "name")))
        return {(str(it["namespace"]), str(it["name"])) for it in found}

    async def put(self, link: ResourceLink) -> ResourceLink:
        """As it is stored then; whatever was there is replaced. Only the keeper writes: where two
        believe to be it, what they say of the same object is the same."""
        base = await self._base(link.id)
        stored = replace(link, version=1 if base is None else int(base["version"]) + 1)
        kept = None if base is None else replace(LINK.decode(base), version=stored.version)
        if kept != stored:
            write = Write(base=base, document=LINK.encode(stored))
            await self._store.commit(RESOURCES.name, [write])
        return stored

    async def forget(self, link: ResourceLink) -> None:
        await self._store.delete(RESOURCES.name, Query(equals={"_id": link.id}))

    async def _base(self, key: str) -> Document | None:
        return (await self._store.get_many(RESOURCES.name, [key])).get(key)

    async def keeper(self) -> ResourceKeeper | None:
        found = await self._store.get_many(RESOURCE_KEEPERS.name, [KEEPER_ID])
        return KEEPER.decode(found[KEEPER_ID]) if KEEPER_ID in found else None

    async def keep(self, before: ResourceKeeper | None, holder: str) -> bool:
        """Take or renew; whether nobody was faster."""
        after = ResourceKeeper(
            id=KEEPER_ID,
            version=1 if before is None else before.version + 1,
            holder=holder,
            beat=1 if before is None else before.beat + 1,
        )
        base = None if before is None else KEEPER.encode(before)
        write = Write(base=base, document=KEEPER.encode(after))
        outcomes = await self._store.commit(RESOURCE_KEEPERS.name, [write])
        return outcomes == [Outcome.DONE]
