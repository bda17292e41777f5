"""The password in the address of MongoDB is for MongoDB alone, whatever goes wrong with it."""

import asyncio
import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from pymongo import MongoClient

from trialbus.local.servers.ports import free_ports
from trialbus.testkit.programs import TRIALBUS, program_environ
from trialbus.testkit.waits import until

pytestmark = pytest.mark.servers

DEADLINE_S = 40.0
USER = "canary-user"


@contextmanager
def serving(
    folder: Path, mongo_url: str, nats_url: str, health_port: int
) -> Iterator["subprocess.Popen[bytes]"]:
    """The gateway in a process of its own; what it says is in `log`."""
    environ = program_environ(folder) | {
        "TRIALBUS_MONGO_URL": mongo_url,
        "TRIALBUS_NATS_URL": nats_url,
        "TRIALBUS_DATA_DIR": str(folder),
        "TRIALBUS_HEALTH_PORT": str(health_port),
        "TRIALBUS_LOG_LEVEL": "debug",
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*TRIALBUS, "serve", "gateway"], env=environ, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(DEADLINE_S)


@contextmanager
def user_of(mongo_url: str, password: str) -> Iterator[None]:
    client: MongoClient[dict[str, Any]]
    with MongoClient(mongo_url) as client:
        client.admin.command("createUser", USER, pwd=password, roles=["root"])
        try:
            yield
        finally:
            client.admin.command("dropUser", USER)


def with_user(mongo_url: str, password: str) -> str:
    parts = urlsplit(mongo_url)
    return f"mongodb://{USER}:{password}@{parts.netloc}/?{parts.query}&authSource=admin"


@pytest.mark.parametrize("trouble", ["none", "another password", "unreadable"])
async def test_the_password_is_in_no_log_answer_or_command_line(
    tmp_path: Path, mongo_url: str, nats_url: str, trouble: str
) -> None:
    right, wrong = (f"canary{secrets.token_hex(16)}" for _ in range(2))
    with user_of(mongo_url, right):
        given, said = {
            "none": (with_user(mongo_url, right), '"listening"'),
            "another password": (with_user(mongo_url, wrong), "AuthenticationFailed"),
            # As a password with a slash looks that nobody has encoded.
            "unreadable": (f"mongodb://{USER}:{right}/x@127.0.0.1:1/", "percent-encoded"),
        }[trouble]
        [health_port] = free_ports(1)
        log = tmp_path / "log"
        with serving(tmp_path, given, nats_url, health_port) as process:
            await until(lambda: said in log.read_text(), said, within_s=DEADLINE_S)
            texts = [*await _answers(health_port), command_line(process.pid)]
        texts.append(log.read_text())
    assert [it for it in texts if right in it or wrong in it] == []


def command_line(pid: int) -> str:
    return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes())


async def _answers(port: int) -> list[str]:
    """Nothing, if it has ended."""
    found = []
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
        for path in ("/healthz", "/readyz", "/metrics"):
            try:
                found.append((await client.get(path)).text)
            except httpx.ConnectError:
                await asyncio.sleep(0)
    return found
