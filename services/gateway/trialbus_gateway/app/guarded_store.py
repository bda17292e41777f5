"""The store as the caller may see it: what is of other tenants is not there.

Every read of the gateway goes through here, so that no question, list or watch that is written
later can forget whom it answers.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from trialbus.contracts.collections import ANSWERS, CHUNKS, EVIDENCE, EXPERIMENTS, RUNS, TRIALS
from trialbus.contracts.documents import Document
from trialbus.ports.store import CollectionSpec, Outcome, Query, Store, Write
from trialbus_gateway.app import reach
from trialbus_gateway.app.failures import NotThere
from trialbus_gateway.core.identities import Identity

# Their keys hold the uid of an experiment, which only who sees the experiment can know of.
_KEYED = frozenset({it.name for it in (ANSWERS, CHUNKS, EVIDENCE)})
_NAMESPACE = "namespace"


class GuardedStore:
    """What has no `namespace` is seen by callers without limits only."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def prepare(self, collections: Sequence[CollectionSpec]) -> None:
        await self._store.prepare(collections)

    async def get_many(
        self, collection: str, ids: Collection[str], *, fields: Sequence[str] | None = None
    ) -> dict[str, Document]:
        identity = reach.current()
        if not identity.is_limited or collection in _KEYED:
            return await self._store.get_many(collection, ids, fields=fields)
        needed = _needed(collection, identity)
        asked = None if fields is None else (*fields, *needed)
        found = await self._store.get_many(collection, ids, fields=asked)
        kept = {key: it for key, it in found.items() if _fits(it, needed)}
        return kept if fields is None else _only(kept, fields)

    async def find(self, collection: str, query: Query) -> list[Document]:
        narrowed = _narrowed(collection, query)
        return [] if narrowed is None else await self._store.find(collection, narrowed)

    async def count(self, collection: str, query: Query) -> int:
        narrowed = _narrowed(collection, query)
        return 0 if narrowed is None else await self._store.count(collection, narrowed)

    async def delete(self, collection: str, query: Query) -> int:
        narrowed = _narrowed(collection, query)
        return 0 if narrowed is None else await self._store.delete(collection, narrowed)

    async def commit(self, collection: str, writes: Sequence[Write]) -> list[Outcome]:
        """Raises NotThere, and writes nothing, if one is of another tenant."""
        identity = reach.current()
        for write in writes if identity.is_limited else ():
            if not identity.sees(str(write.document.get(_NAMESPACE))):
                raise NotThere(f"there is no {write.id}")
        return await self._store.commit(collection, writes)

    async def clear_outbox(self, collection: str, sent: Mapping[str, Collection[str]]) -> None:
        await self._store.clear_outbox(collection, sent)

    @property
    def connected(self) -> bool:
        return self._store.connected

    async def close(self) -> None:
        await self._store.close()


def unguarded(store: Store) -> Store:
    """For what works for everybody and chooses itself what it shows to whom."""
    return store._store if isinstance(store, GuardedStore) else store


def _needed(collection: str, identity: Identity) -> dict[str, Collection[Any]]:
    """Field -> the values that documents must have."""
    needed: dict[str, Collection[Any]] = {_NAMESPACE: identity.namespaces or ()}
    if identity.trial is not None:
        if collection == EXPERIMENTS.name:
            needed["_id"] = {identity.trial.uid}
        elif collection in (TRIALS.name, RUNS.name):
            needed |= {"uid": {identity.trial.uid}, "index": {identity.trial.index}}
    return needed


def _narrowed(collection: str, query: Query) -> Query | None:
    """None: nothing that the caller sees can be found."""
    identity = reach.current()
    if not identity.is_limited or collection in _KEYED:
        return query
    equals, among = dict(query.equals), dict(query.among)
    for field, values in _needed(collection, identity).items():
        if field in equals:
            if equals[field] not in values:
                return None
        elif field in among:
            among[field] = [value for value in among[field] if value in values]
        elif len(values) == 1:
            # Equality alone leaves the order of an index as it is.
            equals[field] = next(iter(values))
        else:
            among[field] = sorted(values)
    return replace(query, equals=equals, among=among)


def _fits(document: Document, needed: Mapping[str, Collection[Any]]) -> bool:
    return all(document.get(field) in values for field, values in needed.items())


def _only(found: Mapping[str, Document], fields: Sequence[str]) -> dict[str, Document]:
    wanted = {"_id", *fields}
    return {
        key: {name: value for name, value in document.items() if name in wanted}
        for key, document in found.items()
    }
