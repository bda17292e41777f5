"""`trialbus initiate` with real mongods: a replica set with passwords, again and again."""

import base64
import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from trialbus.kernel.errors import Refused, Transient
from trialbus.local.servers.find import find_mongod
from trialbus.local.servers.ports import free_ports
from trialbus.local.store_initiation import Initiation, initiate, next_config

pytestmark = pytest.mark.servers

DEADLINE_S = 60.0
Start = Callable[[], str]


@contextmanager
def mongod(folder: Path, port: int, key_file: Path | None) -> Iterator[None]:
    """A mongod as the chart runs it: of no replica set yet."""
    folder.mkdir()
    options = ["--dbpath", folder, "--port", port, "--bind_ip", "127.0.0.1", "--nounixsocket"]
    options += ["--replSet", "trialbus", "--oplogSize", 64, "--wiredTigerCacheSizeGB", 0.25]
    options += ["--keyFile", key_file] if key_file else []
    command = [str(find_mongod().path), *map(str, options)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """In base64 with lines, as deploy/helm/secrets makes it."""
    path = tmp_path / "keyfile"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o400), "w") as file:
        file.write(base64.encodebytes(secrets.token_bytes(96)).decode())
    return path


@pytest.fixture
def start(tmp_path: Path, key_file: Path) -> Iterator[Start]:
    """Starts one more server with that key; its address."""
    with ExitStack() as stack:

        def started() -> str:
            [port] = free_ports(1)
            stack.enter_context(mongod(tmp_path / str(port), port, key_file))
            return f"127.0.0.1:{port}"

        yield started


def wanted_of(key_file: Path, *members: str, password: str = "first") -> Initiation:
    return Initiation(
        members=members, database="tuning", key=key_file.read_text(), password=password
    )


def client_of(member: str, password: str) -> MongoClient[dict[str, Any]]:
    return MongoClient(
        f"mongodb://trialbus:{password}@{member}/?replicaSet=trialbus&authSource=admin",
        serverSelectionTimeoutMS=20_000,
    )


async def test_a_server_with_a_key_gets_a_set_and_a_user_of_one_database(
    start: Start, key_file: Path
) -> None:
    member = start()
    for _ in range(2):
        await initiate(wanted_of(key_file, member), within_s=DEADLINE_S)
    with client_of(member, "first") as client:
        client["tuning"]["trials"].insert_one({"_id": "a"})
        client["tuning"].command("collMod", "trials", validator={})
        with pytest.raises(OperationFailure, match="not authorized"):
            client["other"]["trials"].insert_one({"_id": "a"})
        with pytest.raises(OperationFailure, match="not authorized"):
            client.admin.command("replSetGetConfig")


async def test_another_password_takes_the_place_of_the_first(start: Start, key_file: Path) -> None:
    member = start()
    await initiate(wanted_of(key_file, member), within_s=DEADLINE_S)
    await initiate(wanted_of(key_file, member, password="second"), within_s=DEADLINE_S)
    with client_of(member, "second") as client:
        client["tuning"]["trials"].insert_one({"_id": "a"})
    with client_of(member, "first") as client, pytest.raises(OperationFailure, match="failed"):
        client["tuning"]["trials"].insert_one({"_id": "b"})


async def test_one_server_becomes_three_and_keeps_what_it_has(start: Start, key_file: Path) -> None:
    first = start()
    await initiate(wanted_of(key_file, first), within_s=DEADLINE_S)
    with client_of(first, "first") as client:
        client["tuning"]["trials"].insert_one({"_id": "a"})
    members = (first, start(), start())
    await initiate(wanted_of(key_file, *members), within_s=DEADLINE_S)
    with client_of(first, "first") as client:
        assert client["tuning"]["trials"].find_one({}) == {"_id": "a"}
        assert sorted(client.admin.command("hello")["hosts"]) == sorted(members)


async def test_another_key_is_refused_at_once(start: Start, key_file: Path) -> None:
    wanted = Initiation(members=(start(),), database="tuning", key="another" * 10, password="x")
    with pytest.raises(Refused, match="Authentication failed"):
        await initiate(wanted, within_s=DEADLINE_S)


async def test_a_server_that_is_not_there_is_named(key_file: Path) -> None:
    [port] = free_ports(1)
    with pytest.raises(Transient, match=f"127.0.0.1:{port}"):
        await initiate(wanted_of(key_file, f"127.0.0.1:{port}"), within_s=3)


def test_members_come_and_go_one_at_a_time_and_the_primary_last() -> None:
    def config(version: int, *hosts: str) -> dict[str, Any]:
        members = [{"_id": "abcd".index(host), "host": host} for host in hosts]
        return {"_id": "trialbus", "version": version, "members": members}

    assert next_config(config(1, "a"), ["a", "b", "c"], "a") == config(2, "a", "b")
    assert next_config(config(2, "a", "b"), ["a", "b", "c"], "a") == config(3, "a", "b", "c")
    assert next_config(config(3, "a", "b", "c"), ["a"], "b") == config(4, "a", "b")
    assert next_config(config(4, "a", "b"), ["a"], "b") is None
    assert next_config(config(4, "a", "b"), ["a"], "a") == config(5, "a")
    assert next_config(config(5, "a"), ["a"], "a") is None
