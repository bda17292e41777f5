"""What is stored of custom resources: which object stands for which experiment, who keeps them in
step, and in which cluster they are."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from trialbus.contracts.collections import RESOURCE_HOMES, RESOURCE_KEEPERS, RESOURCES
from trialbus.contracts.documents import Document, DocumentCodec
from trialbus.kernel.errors import Problem
from trialbus.ports.store import Outcome, Query, Store, Write

KEEPER_ID = "keeper"
HOME_ID = "home"
_INTENT = "making-"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceHome:
    """namespaces: uids by name, of some that the cluster is known by. newest: the newest
    resourceVersion that was seen there. restored: it was found to be of another time since."""

    id: str
    version: int
    namespaces: Mapping[str, str] = field(default_factory=dict)
    newest: int = 0
    restored: bool = False


LINK = DocumentCodec(ResourceLink)
KEEPER = DocumentCodec(ResourceKeeper)
HOME = DocumentCodec(ResourceHome)


def intent_of(uid: str | None) -> str:
    """The key of what says that an object is about to be made for an experiment."""
    return f"{_INTENT}{uid}"


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

    async def made(self) -> list[ResourceLink]:
        """Of all objects that there are, or were, and that experiments were made of or for."""
        found = await self._store.find(RESOURCES.name, Query())
        links = [LINK.decode(it) for it in found]
        return [it for it in links if it.uid is not None and not it.id.startswith(_INTENT)]

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

    async def home(self) -> ResourceHome | None:
        found = await self._store.get_many(RESOURCE_HOMES.name, [HOME_ID])
        return HOME.decode(found[HOME_ID]) if HOME_ID in found else None

    async def settle(self, before: ResourceHome | None, after: ResourceHome) -> None:
        """Who is slower than another leaves it as that one says."""
        if before is not None and replace(after, version=before.version) == before:
            return
        base = None if before is None else HOME.encode(before)
        version = 1 if before is None else before.version + 1
        write = Write(base=base, document=HOME.encode(replace(after, version=version)))
        await self._store.commit(RESOURCE_HOMES.name, [write])
