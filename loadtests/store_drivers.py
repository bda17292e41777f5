"""Compares the two MongoDB drivers behind the store: rate, latency and CPU seconds per operation.

    python loadtests/store_drivers.py --url mongodb://127.0.0.1:27017/?replicaSet=rs0

prints the table of docs/decisions/0004-mongodb-driver.md. The drivers take turns, so that both meet
the same noise; figures are medians (lowest to highest) over the rounds, CPU is this process's own.
"""

import argparse
import asyncio
import itertools
import statistics
import time
import uuid
from collections import defaultdict
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar, get_args

import uvloop
from pymongo import AsyncMongoClient

from trialbus.adapters.mongo_store import Driver, MongoSettings, MongoStore
from trialbus.ports.store import CollectionSpec, Document, Outcome, Write

_T = TypeVar("_T")

COLLECTION = "documents"
# (what, documents in a call, tasks)
CASES = [
    *(("commit", size, tasks) for tasks in (1, 8) for size in (1, 8, 64)),
    *(("get_many", 8, tasks) for tasks in (1, 8)),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Of one case: documents a second, and per document microseconds of this process's CPU."""

    documents_per_s: float
    cpu_us: float
    p99_ms: float


def _document(key: str, version: int) -> Document:
    """About 1.2 kB, like an experiment with eight open trials."""
    return {
        "_id": key,
        "version": version,
        "uid": "b4b2e1f6-6f1e-4f43-9a52-4f2a0c7d3a11",
        "phase": "running",
        "counters": {"succeeded": version, "failed": 0, "running": 8},
        "open": {str(i): {"attempt": 1, "state": "opened", "stop": None} for i in range(8)},
        "outbox": [{"id": f"{key}:{i}", "type": "trial.created", "at": 1.5} for i in range(4)],
        "outbox_at": None,
        "parameters": {f"parameter-{i}": i / 7 for i in range(10)},
    }


async def _timed(call: Awaitable[_T], waited: list[float]) -> _T:
    started = time.perf_counter()
    answer = await call
    waited.append(time.perf_counter() - started)
    return answer


async def _commits(store: MongoStore, keys: list[str], rounds: int) -> list[float]:
    waited: list[float] = []
    held = [_document(key, 1) for key in keys]
    for version in range(2, rounds + 2):
        new = [_document(key, version) for key in keys]
        writes = [
            Write(base=base, document=document) for base, document in zip(held, new, strict=True)
        ]
        outcomes = await _timed(store.commit(COLLECTION, writes), waited)
        if set(outcomes) != {Outcome.DONE}:
            raise RuntimeError(f"nobody else writes here, but: {outcomes}")
        held = new
    return waited


async def _reads(store: MongoStore, keys: list[str], rounds: int) -> list[float]:
    waited: list[float] = []
    for _ in range(rounds):
        if len(await _timed(store.get_many(COLLECTION, keys), waited)) != len(keys):
            raise RuntimeError("a document is missing")
    return waited


async def _measure(
    url: str, driver: Driver, what: str, size: int, tasks: int, documents: int
) -> Figure:
    database = f"drivers-{uuid.uuid4().hex[:8]}"
    store = MongoStore(MongoSettings(url=url, driver=driver, database=database))
    try:
        await store.prepare([CollectionSpec(name=COLLECTION, owner="loadtest")])
        groups = [[f"{task}.{i}" for i in range(size)] for task in range(tasks)]
        for keys in groups:
            await store.commit(
                COLLECTION, [Write(base=None, document=_document(key, 1)) for key in keys]
            )
        rounds = max(20, documents // (size * tasks))
        one = _commits if what == "commit" else _reads
        await _reads(store, groups[0], 20)
        started, cpu = time.perf_counter(), time.process_time()
        waited = await asyncio.gather(*(one(store, keys, rounds) for keys in groups))
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    finally:
        await store.close()
        await _drop(url, database)
    count = size * tasks * rounds
    return Figure(
        documents_per_s=count / seconds,
        cpu_us=1e6 * cpu / count,
        p99_ms=1e3 * statistics.quantiles(itertools.chain(*waited), n=100)[98],
    )


async def _drop(url: str, database: str) -> None:
    async with AsyncMongoClient[Document](url) as client:
        await client.drop_database(database)


def _spread(values: list[float], digits: int) -> str:
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--documents", type=int, default=2000, help="in each measurement")
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    arguments = parser.parse_args()
    figures: dict[tuple[tuple[str, int, int], Driver], list[Figure]] = defaultdict(list)
    factory = uvloop.new_event_loop if arguments.loop == "uvloop" else asyncio.new_event_loop
    for _ in range(arguments.rounds):
        for case in CASES:
            for driver in get_args(Driver):
                with asyncio.Runner(loop_factory=factory) as runner:
                    figures[case, driver].append(
                        runner.run(_measure(arguments.url, driver, *case, arguments.documents))
                    )
    print("| call | in a group | tasks | driver | documents/s | CPU us/document | p99 ms |")
    print("|---|---|---|---|---|---|---|")
    for ((what, size, tasks), driver), of_case in figures.items():
        print(
            f"| {what} | {size} | {tasks} | {driver}"
            f" | {_spread([each.documents_per_s for each in of_case], 0)}"
            f" | {_spread([each.cpu_us for each in of_case], 0)}"
            f" | {_spread([each.p99_ms for each in of_case], 1)} |"
        )


if __name__ == "__main__":
    main()
