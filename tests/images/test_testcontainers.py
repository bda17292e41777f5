"""The contracts of bus and store, and what is built on both, held against the images' servers."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pymongo
import pytest
from pymongo.errors import PyMongoError

from trialbus.testkit.waits import until_sync

REPOSITORY = Path(__file__).parents[2]
SUITES = [
    "contract/test_bus_contract.py",
    "contract/test_bus_requests_contract.py",
    "contract/test_store_contract.py",
    "contract/test_store_queries.py",
    "integration/test_nats_bus_messages.py",
    "integration/test_trial_pages_mongo.py",
    "integration/test_gateway_servers.py",
    "integration/test_gateway_identities.py",
]
# As they are at the time of writing; fewer would mean that the servers are not asked.
LEAST_PASSED = 200
NATS_PORT, MONGO_PORT = 4222, 27017


@pytest.fixture
def servers(
    image_of: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, str]]:
    """Both servers in containers, told as the variables that the root fixtures read."""
    nats, mongod = image_of("nats"), image_of("mongod")
    # Its reaper is an image of others; here each container is ended by the one who started it.
    monkeypatch.setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
    monkeypatch.setenv("TESTCONTAINERS_CONNECTION_MODE", "docker_host")
    from testcontainers.core.container import DockerContainer

    with (
        DockerContainer(nats).with_exposed_ports(NATS_PORT) as bus,
        DockerContainer(mongod).with_exposed_ports(MONGO_PORT) as store,
    ):
        host = bus.get_container_host_ip()
        mongo_url = f"mongodb://{host}:{store.get_exposed_port(MONGO_PORT)}/?directConnection=true"
        make_primary(mongo_url)
        yield {
            "TRIALBUS_TEST_NATS_URL": f"nats://{host}:{bus.get_exposed_port(NATS_PORT)}",
            "TRIALBUS_TEST_MONGO_URL": mongo_url,
        }


def make_primary(url: str) -> None:
    """The only member of its replica set, under the address that it has for itself."""
    members = [{"_id": 0, "host": f"127.0.0.1:{MONGO_PORT}"}]
    with pymongo.MongoClient[dict[str, object]](url, serverSelectionTimeoutMS=500) as client:

        def initiated() -> bool:
            try:
                hello = client.admin.command("hello")
                if not hello.get("setName"):
                    client.admin.command("replSetInitiate", {"_id": "trialbus", "members": members})
            except PyMongoError:
                return False
            return bool(hello.get("isWritablePrimary"))

        until_sync(initiated, "mongod is a primary", within_s=60)


@pytest.mark.timeout(300)
def test_the_contracts_hold_on_the_servers_of_the_images(servers: dict[str, str]) -> None:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", "not memory"]
    done = subprocess.run(
        [*command, *(f"tests/{suite}" for suite in SUITES)],
        cwd=REPOSITORY,
        env={**os.environ, **servers, "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    assert done.stdout.count(".") >= LEAST_PASSED, done.stdout
