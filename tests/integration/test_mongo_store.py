"""The store on a real mongod that is killed, stopped and asked for its query plans."""

import asyncio
import os
import signal
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import pytest
from pymongo import AsyncMongoClient

from trialbus.adapters.mongo_store import Driver, MongoSettings, MongoStore
from trialbus.adapters.mongo_store.queries import filter_of, sort_of
from trialbus.contracts.collections import COLLECTIONS, CollectionSpec, Index
from trialbus.kernel.errors import Transient
from trialbus.local.servers import MongodSpec, ServerProcess, find_mongod, require
from trialbus.ports.store import Document, Outcome, Query, Write
from trialbus.testkit.waits import until

pytestmark = pytest.mark.servers

# What a busy machine may add.
BUSY_S = 4.0

LOGS = CollectionSpec(name="logs", owner="tests")
DRIVERS = get_args(Driver)


class Mongod:
    """A mongod of one test, which may kill it; it comes back on the same port."""

    def __init__(self, folder: Path) -> None:
        self._spec = MongodSpec(binary=require(find_mongod()), folder=folder)
        self._process: ServerProcess | None = None

    @property
    def process(self) -> ServerProcess:
        assert self._process is not None
        return self._process

    async def start(self) -> None:
        self._process = await self._spec.start()
        await self._process.ready()

    async def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        await self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)


@pytest.fixture
async def mongod(tmp_path: Path) -> AsyncIterator[Mongod]:
    server = Mongod(tmp_path / "mongod")
    await server.start()
    url = server.process.url
    yield server
    assert server.process.url == url
    if server.process.poll() is None:
        await server.process.stop()


@asynccontextmanager
async def opened(url: str, driver: Driver, **settings: Any) -> AsyncIterator[MongoStore]:
    store = MongoStore(MongoSettings(url=url, driver=driver, **settings))
    try:
        yield store
    finally:
        await store.close()


@dataclass
class Load:
    """One task that appends to a group of documents and inserts others, without an end.

    acknowledged: (document, token) of writes that the store called DONE.
    """

    store: MongoStore
    name: str
    acknowledged: set[tuple[str, int]] = field(default_factory=set)
    inserted: set[str] = field(default_factory=set)
    transient: int = 0

    async def run(self) -> None:
        keys = [f"{self.name}.{i}" for i in range(4)]
        token = 0
        while True:
            token += 1
            try:
                await self._step(keys, token)
            except Transient:
                self.transient += 1

    async def _step(self, keys: list[str], token: int) -> None:
        held = await self.store.get_many("logs", keys)
        writes = [
            Write(
                base=held[key],
                document={
                    **held[key],
                    "version": held[key]["version"] + 1,
                    "log": [*held[key]["log"], token],
                },
            )
            if key in held
            else Write(base=None, document={"_id": key, "version": 1, "log": [token]})
            for key in keys
        ]
        new = f"{self.name}+{token}"
        writes.append(Write(base=None, document={"_id": new, "version": 1, "log": [token]}))
        *outcomes, of_insert = await self.store.commit("logs", writes)
        # Nobody else writes these documents and they were just read: a repeat inside the driver
        # that was applied twice would show as a conflict with itself.
        assert set(outcomes) == {Outcome.DONE}
        assert of_insert is Outcome.DONE
        self.acknowledged.update((key, token) for key in keys)
        self.inserted.add(new)


@pytest.mark.parametrize("driver", DRIVERS)
async def test_kill_9_under_load_loses_no_done_write_and_doubles_none(
    mongod: Mongod, driver: Driver
) -> None:
    async with opened(mongod.process.url, driver) as store:
        await store.prepare([LOGS])
        loads = [Load(store=store, name=f"task-{i}") for i in range(4)]
        running = [asyncio.create_task(load.run()) for load in loads]

        def done() -> int:
            assert not any(task.done() for task in running), running
            return min(len(load.inserted) for load in loads)

        await until(lambda: done() >= 20, "each task commits", within_s=30)
        await mongod.kill()
        before = done()
        await mongod.start()
        # All by itself, and soon.
        await until(lambda: done() >= before + 20, "each task commits again", within_s=30)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    async with opened(mongod.process.url, driver) as store:
        kept = {each["_id"]: each for each in await store.find("logs", Query(prefix="task-"))}
    acknowledged = set().union(*(load.acknowledged for load in loads))
    logged = {(key, token) for key, each in kept.items() for token in each["log"]}
    assert acknowledged <= logged
    assert set().union(*(load.inserted for load in loads)) <= kept.keys()
    for each in kept.values():
        assert len(set(each["log"])) == len(each["log"]) == each["version"]


@pytest.mark.parametrize("driver", DRIVERS)
async def test_an_outage_is_transient_within_six_seconds_and_ends_by_itself(
    mongod: Mongod, driver: Driver
) -> None:
    async with opened(mongod.process.url, driver) as store:
        assert not store.connected
        await store.prepare([LOGS])
        assert store.connected
        await mongod.kill()
        started = time.monotonic()
        write = Write(base=None, document={"_id": "a", "version": 1})
        failed = await asyncio.gather(
            store.commit("logs", [write]),
            store.get_many("logs", ["a"]),
            store.find("logs", Query(prefix="a")),
            store.count("logs", Query(prefix="a")),
            store.clear_outbox("logs", {"a": ["e"]}),
            store.delete("logs", Query(prefix="a")),
            store.prepare([LOGS]),
            return_exceptions=True,
        )
        assert time.monotonic() - started < 6 + BUSY_S
        assert [type(each) for each in failed] == [Transient] * 7
        assert not store.connected
        await mongod.start()
        # Without any call.
        await until(lambda: store.connected, "connected", within_s=30)
        assert await store.commit("logs", [write]) == [Outcome.DONE]


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_server_that_accepts_calls_but_answers_none_is_transient(
    mongod: Mongod, driver: Driver
) -> None:
    async with opened(mongod.process.url, driver) as patient:
        await patient.prepare([LOGS])
    async with opened(mongod.process.url, driver, call_timeout_s=2.0) as store:
        await store.prepare([LOGS])
        mongod.signal(signal.SIGSTOP)
        try:
            started = time.monotonic()
            for call in (
                store.commit("logs", [Write(base=None, document={"_id": "a", "version": 1})]),
                store.get_many("logs", ["a"]),
            ):
                with pytest.raises(Transient):
                    await call
            assert time.monotonic() - started < 6 + BUSY_S
        finally:
            mongod.signal(signal.SIGCONT)
        await until(lambda: store.connected, "connected", within_s=30)
        assert await store.commit(
            "logs", [Write(base=None, document={"_id": "b", "version": 1})]
        ) == [Outcome.DONE]


@pytest.fixture
async def database(mongo_url: str) -> AsyncIterator[str]:
    name = f"t{uuid.uuid4().hex[:16]}"
    yield name
    async with AsyncMongoClient[Document](mongo_url) as client:
        await client.drop_database(name)


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_write_that_was_begun_ends_though_its_caller_is_cancelled(
    mongo_url: str, database: str, driver: Driver
) -> None:
    async with opened(mongo_url, driver, database=database) as store:
        await store.prepare([LOGS])
        for i in range(20):
            write = Write(base=None, document={"_id": str(i), "version": 1})
            writing = asyncio.create_task(store.commit("logs", [write]))
            await asyncio.sleep(0)
            writing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await writing
    async with opened(mongo_url, driver, database=database) as store:
        assert await store.count("logs", Query()) == 20


@pytest.mark.parametrize(
    "document",
    [
        {"_id": 1, "version": 1},
        {"_id": "a"},
        {"_id": "a", "version": 0},
        {"_id": "a", "version": "1"},
    ],
)
async def test_the_validator_refuses_what_is_no_document_of_ours(
    mongo_url: str, database: str, document: Document
) -> None:
    async with opened(mongo_url, "pymongo", database=database) as store:
        await store.prepare([LOGS])
    async with AsyncMongoClient[Document](mongo_url) as client:
        with pytest.raises(Exception, match="failed validation"):
            await client[database]["logs"].insert_one(document)


async def test_prepare_gives_an_old_collection_the_validator(mongo_url: str, database: str) -> None:
    async with AsyncMongoClient[Document](mongo_url) as client:
        await client[database].create_collection("logs")
        async with opened(mongo_url, "pymongo", database=database) as store:
            await store.prepare([LOGS])
        with pytest.raises(Exception, match="failed validation"):
            await client[database]["logs"].insert_one({"_id": "a"})


def _queries(index: Index) -> list[Query]:
    """What an index is for: equality on all fields, and on all but the last with a range there."""
    equal: dict[str, Any] = dict.fromkeys(index.fields, "x")
    *first, last = index.fields
    leading = dict.fromkeys(first, "x")
    return [
        Query(equals=equal),
        Query(equals={index.fields[0]: 1.5}),
        Query(among={index.fields[0]: ["x", "y"]}),
        Query(equals=leading, above={last: 1}),
        Query(equals=leading, at_least={last: "x"}),
        Query(equals=leading, at_most={last: 1.5}, order=last),
        Query(equals=leading, below={last: "x"}, order=f"-{last}", limit=5),
    ]


@pytest.mark.parametrize("spec", COLLECTIONS, ids=lambda spec: spec.name)
async def test_the_declared_indexes_serve_their_queries_and_orders(
    mongo_url: str, database: str, spec: CollectionSpec
) -> None:
    async with opened(mongo_url, "pymongo", database=database) as store:
        await store.prepare([spec])
    queries = [Query(prefix="x"), Query(prefix="x", order="-_id", limit=1)]
    for index in (*spec.indexes, Index(fields=("_id",))):
        queries += _queries(index)
    async with AsyncMongoClient[Document](mongo_url) as client:
        for query in queries:
            find: dict[str, Any] = {"find": spec.name, "filter": filter_of(query)}
            if query.order is not None:
                find["sort"] = dict(sort_of(query))
            explain = {"explain": find, "verbosity": "queryPlanner"}
            explained = await client[database].command(explain)
            stages = _stages(explained["queryPlanner"]["winningPlan"])
            assert stages & {"IXSCAN", "IDHACK"}, query
            assert not stages & {"COLLSCAN", "SORT"}, query


def _stages(plan: Any) -> set[str]:
    if isinstance(plan, list):
        return set().union(*map(_stages, plan))
    if not isinstance(plan, dict):
        return set()
    own = {plan["stage"]} if "stage" in plan else set()
    return own.union(*map(_stages, plan.values()))
