"""The port on MongoDB."""

import asyncio
from collections.abc import Awaitable, Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import pymongo
from pymongo import UpdateOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError, ConnectionFailure, OperationFailure, PyMongoError

from trialbus.adapters.mongo_store.client import (
    Database,
    MongoSettings,
    connect,
    database_of,
    disconnect,
)
from trialbus.adapters.mongo_store.queries import (
    VALIDATOR,
    filter_of,
    index_of,
    projection_of,
    sort_of,
    without_events,
)
from trialbus.adapters.mongo_store.writes import (
    ENCODING_ERRORS,
    TRANSIENT_CODES,
    Group,
    Operation,
    encodable,
    is_unreadable,
)
from trialbus.kernel.errors import Transient
from trialbus.ports.store import CollectionSpec, Document, Outcome, Query, Write

_T = TypeVar("_T")

_NAMESPACE_EXISTS = 48
# A new index over a large collection takes its time; a service waits for it at its start.
INDEX_TIMEOUT_S = 60.0
# The server's default first batch is 101 documents, each further one a round trip.
_BATCH_DOCUMENTS = 1000


class MongoStore:
    """One per event loop. Commits are CAS by bulk write (see `writes`), majority and journaled.

    A call ends within `settings.call_timeout_s`, with Transient if the server is away; after an
    outage the next call works again, nothing needs to be rebuilt.
    """

    def __init__(self, settings: MongoSettings) -> None:
        self._client = connect(settings)
        self._database: Database = database_of(self._client, settings)
        self._writing: set[asyncio.Task[Any]] = set()

    @property
    def connected(self) -> bool:
        return bool(self._client.topology_description.has_writable_server())

    async def close(self) -> None:
        if self._writing:
            await asyncio.wait(self._writing)
        await disconnect(self._client)

    async def prepare(self, collections: Sequence[CollectionSpec]) -> None:
        for spec in collections:
            await self._prepare(spec)

    async def get_many(
        self, collection: str, ids: Collection[str], *, fields: Sequence[str] | None = None
    ) -> dict[str, Document]:
        if not ids:
            return {}
        wanted = list(ids)
        found = self._collection(collection).find(
            {"_id": wanted[0] if len(wanted) == 1 else {"$in": wanted}},
            projection_of(fields),
            batch_size=len(wanted) + 1,
        )
        return {document["_id"]: document for document in await _answered(found.to_list(None))}

    async def find(self, collection: str, query: Query) -> list[Document]:
        if query.limit == 0:
            return []
        found = self._collection(collection).find(
            filter_of(query),
            projection_of(query.fields),
            sort=sort_of(query) or None,
            limit=query.limit or 0,
            batch_size=query.limit or _BATCH_DOCUMENTS,
        )
        return await _answered(found.to_list(None))

    async def count(self, collection: str, query: Query) -> int:
        if query.limit == 0:
            return 0
        options: dict[str, Any] = {} if query.limit is None else {"limit": query.limit}
        counting = self._collection(collection).count_documents(filter_of(query), **options)
        return await _answered(counting)

    async def commit(self, collection: str, writes: Sequence[Write]) -> list[Outcome]:
        if not writes:
            return []
        group = Group(writes=writes, unstorable={})
        try:
            details = await self._write_group(collection, group)
        except (OperationFailure, *ENCODING_ERRORS) as error:
            if not is_unreadable(error):
                raise
            # Send the others. (A group of more than 48 MB goes in several messages, and has
            # CONFLICT for the documents of those that went before: the caller reads again.)
            group = encodable(writes)
            details = await self._write_group(collection, group)
        return group.outcomes(details)

    async def clear_outbox(self, collection: str, sent: Mapping[str, Collection[str]]) -> None:
        operations: list[Operation] = [
            UpdateOne({"_id": key, "outbox": {"$type": "array"}}, without_events(list(event_ids)))
            for key, event_ids in sent.items()
            if event_ids
        ]
        details = await self._write(collection, operations)
        if details:
            raise Transient(f"an outbox was not cleared: {details}")

    async def delete(self, collection: str, query: Query) -> int:
        condition: dict[str, Any] = filter_of(query)
        if query.limit is not None:
            # The server deletes one or all: choose, then delete what still meets the query.
            chosen = await self.find(collection, query)
            condition = {"$and": [condition, {"_id": {"$in": [each["_id"] for each in chosen]}}]}
        deleting = self._collection(collection).delete_many(condition)
        return (await self._to_its_end(deleting)).deleted_count

    def _collection(self, name: str) -> AsyncCollection[Document]:
        return self._database[name]

    async def _write_group(self, collection: str, group: Group) -> Mapping[str, Any]:
        return await self._write(collection, group.operations())

    async def _write(self, collection: str, operations: Sequence[Operation]) -> Mapping[str, Any]:
        """The details of what failed, {} if nothing did."""
        if not operations:
            return {}
        writing = self._collection(collection).bulk_write(operations, ordered=False)
        try:
            await self._to_its_end(writing)
        except BulkWriteError as error:
            return error.details
        return {}

    async def _to_its_end(self, writing: Awaitable[_T]) -> _T:
        """A cancelled caller leaves at once; the write is not torn from its connection."""
        task = asyncio.ensure_future(_answered(writing))
        self._writing.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._writing.discard(task)
        if not task.cancelled():
            # Nobody may be left who takes it; asyncio would log it as an accident.
            task.exception()

    async def _prepare(self, spec: CollectionSpec) -> None:
        create = {"create": spec.name, "validator": VALIDATOR}
        try:
            await _answered(self._database.command(create))
        except OperationFailure as error:
            if error.code != _NAMESPACE_EXISTS:
                raise
            await self._keep_validator(spec.name)
        if spec.indexes:
            indexes = [index_of(index) for index in spec.indexes]
            with pymongo.timeout(INDEX_TIMEOUT_S):
                await _answered(
                    self._database.command({"createIndexes": spec.name, "indexes": indexes})
                )

    async def _keep_validator(self, name: str) -> None:
        """Changes it only if it differs: that waits for all others who use the collection."""
        listing = await _answered(
            self._database.command({"listCollections": 1, "filter": {"name": name}})
        )
        options = [entry["options"] for entry in listing["cursor"]["firstBatch"]]
        if not options or options[0].get("validator") != VALIDATOR:
            await _answered(self._database.command({"collMod": name, "validator": VALIDATOR}))


def _answered(call: Awaitable[_T]) -> Coroutine[Any, Any, _T]:
    """The driver may swallow a cancellation that comes together with the answer (wait_for of
    Python 3.11 does) or tell it as a lost connection: who was cancelled leaves all the same."""

    async def answer() -> _T:
        before = _cancellations()
        try:
            with _transient():
                result = await call
        except (Transient, PyMongoError):
            if _cancellations() > before:
                raise asyncio.CancelledError from None
            raise
        if _cancellations() > before:
            raise asyncio.CancelledError
        return result

    return answer()


def _cancellations() -> int:
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


@contextmanager
def _transient() -> Iterator[None]:
    """Says Transient where the server is away or has not answered in time."""
    try:
        yield
    except BulkWriteError:
        raise
    except ConnectionFailure as error:
        raise Transient(f"MongoDB is away: {error}") from error
    except PyMongoError as error:
        code = getattr(error, "code", None)
        if error.timeout or code in TRANSIENT_CODES:
            raise Transient(f"MongoDB did not answer in time: {error}") from error
        raise
