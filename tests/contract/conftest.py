"""What the contracts are held against: stores and launchers, in memory and real."""

import itertools
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pymongo import AsyncMongoClient

from trialbus.adapters.mongo_store import MongoSettings, MongoStore
from trialbus.ports.launcher import Launcher
from trialbus.ports.store import Document, Store
from trialbus.testkit.launcher_benches import Bench, LocalBench, MemoryBench, ended_status
from trialbus.testkit.memory_store import MemoryStore
from trialbus.testkit.store_probes import THINGS, Stores


@pytest.fixture(
    params=[
        "memory",
        pytest.param("motor", marks=pytest.mark.servers),
        pytest.param("pymongo", marks=pytest.mark.servers),
    ]
)
def store_settings(request: pytest.FixtureRequest) -> MongoSettings | None:
    """None: in memory. Not async, because the server's fixture runs an event loop."""
    if request.param == "memory":
        return None
    url = request.getfixturevalue("mongo_url")
    return MongoSettings(url=url, database=f"t{uuid.uuid4().hex[:16]}", driver=request.param)


@pytest.fixture
async def stores(store_settings: MongoSettings | None) -> AsyncIterator[Stores]:
    if store_settings is None:
        world = MemoryStore()
        stores = Stores(lambda: world.client("a service"))
    else:
        stores = Stores(lambda: MongoStore(store_settings))
    yield stores
    await stores.close()
    if store_settings is not None:
        async with AsyncMongoClient[Document](store_settings.url) as client:
            await client.drop_database(store_settings.database)


@pytest.fixture
async def store(stores: Stores) -> Store:
    store = stores.open()
    await store.prepare([THINGS])
    return store


@pytest.fixture(params=["memory", "local"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    return MemoryBench() if request.param == "memory" else LocalBench(tmp_path)


@pytest.fixture
async def launcher(bench: Bench) -> AsyncIterator[Launcher]:
    launcher = bench.launcher()
    yield launcher
    await launcher.close()


_numbers = itertools.count()


@pytest.fixture
async def run_id(launcher: Launcher) -> AsyncIterator[str]:
    run_id = f"5f0c.{next(_numbers)}.1"
    yield run_id
    await launcher.stop(run_id, reason="end of test", grace_s=0.0)
    await ended_status(launcher, run_id)
