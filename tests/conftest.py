"""Fixtures for every test: the real nats-server and mongod, once per test process.

A test makes its own database, stream and subject names, so tests share the servers.
TRIALBUS_TEST_NATS_URL and TRIALBUS_TEST_MONGO_URL name servers that run already; streams on them
are deleted.
"""

import asyncio
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from trialbus.local.servers import ServerHandle, running_mongod, running_nats

# Laws are not about time, and the first draw in a fresh checkout builds Hypothesis' tables for
# seconds: on a busy machine a deadline of 200 ms would fail tests that hold.
settings.register_profile(
    "tests", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("tests")


def pytest_configure() -> None:
    """In the background of a script SIGINT is ignored, and every program started here inherits
    that; tests interrupt programs."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever uses a real server carries the marker `servers`."""
    for item in items:
        if {"nats_url", "mongo_url"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.servers)


@pytest.fixture(scope="session")
def nats_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a nats-server with JetStream."""
    if given := os.environ.get("TRIALBUS_TEST_NATS_URL"):
        yield given
        return
    folder = tmp_path_factory.mktemp("nats")
    yield from _served(folder, running_nats(folder))


@pytest.fixture(scope="session")
def mongo_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a mongod that is the primary of its own replica set."""
    if given := os.environ.get("TRIALBUS_TEST_MONGO_URL"):
        yield given
        return
    folder = tmp_path_factory.mktemp("mongod")
    yield from _served(folder, running_mongod(folder))


def _served(folder: Path, server: AbstractAsyncContextManager[ServerHandle]) -> Iterator[str]:
    # An event loop of its own, in the main thread (the server dies with the thread that forked it),
    # and never the current one, which belongs to the tests.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        handle = runner.run(server.__aenter__())
        try:
            yield handle.url
        finally:
            runner.run(server.__aexit__(None, None, None))
            shutil.rmtree(folder)
