"""nats-server and mongod for one machine: found, started on loopback, dying with their parent.

    async with running_servers(folder) as servers:
        ...  # servers.nats.url, servers.mongod.url

A supervisor that restarts them owns a `NatsServerSpec` and a `MongodSpec` itself.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from trialbus.local.servers.find import (
    Problem,
    ServerBinary,
    find_mongod,
    find_nats_server,
)
from trialbus.local.servers.mongod import MongodSpec
from trialbus.local.servers.nats_server import NatsServerSpec
from trialbus.local.servers.process import ServerFailed, ServerProcess, ServerSpec

__all__ = [
    "MongodSpec",
    "NatsServerSpec",
    "Problem",
    "RunningServers",
    "ServerBinary",
    "ServerFailed",
    "ServerHandle",
    "ServerMissing",
    "ServerProcess",
    "ServerSpec",
    "find_mongod",
    "find_nats_server",
    "require",
    "running_mongod",
    "running_nats",
    "running_servers",
]


class ServerMissing(RuntimeError):
    """No usable binary. The text lists every problem with its remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerHandle:
    """What a user of a running server needs to know of it."""

    url: str
    pid: int
    log_path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningServers:
    nats: ServerHandle
    mongod: ServerHandle


def require(found: ServerBinary) -> Path:
    """The path of a usable binary. Raises ServerMissing with what to do about it."""
    if found.path is None or found.problems:
        raise ServerMissing("\n".join(map(str, found.problems)))
    return found.path


@asynccontextmanager
async def running_nats(folder: Path, port: int | None = None) -> AsyncIterator[ServerHandle]:
    """A nats-server with its data, config and log in the folder; stopped at the end."""
    async with AsyncExitStack() as stack:
        yield await _start_nats(stack, folder, port)


@asynccontextmanager
async def running_mongod(folder: Path, port: int | None = None) -> AsyncIterator[ServerHandle]:
    """A writable mongod with its data, config and log in the folder; stopped at the end."""
    async with AsyncExitStack() as stack:
        yield await _start_mongod(stack, folder, port)


@asynccontextmanager
async def running_servers(folder: Path) -> AsyncIterator[RunningServers]:
    """Both, started side by side, in folders of their own below `folder`."""
    async with AsyncExitStack() as stack:
        try:
            async with asyncio.TaskGroup() as starting:
                nats = starting.create_task(_start_nats(stack, folder / "nats", None))
                mongod = starting.create_task(_start_mongod(stack, folder / "mongod", None))
        except ExceptionGroup as group:
            raise group.exceptions[0] from group
        yield RunningServers(nats=nats.result(), mongod=mongod.result())


async def _start_nats(stack: AsyncExitStack, folder: Path, port: int | None) -> ServerHandle:
    binary = require(await asyncio.to_thread(find_nats_server))
    return await _start(stack, NatsServerSpec(binary=binary, folder=folder, port=port))


async def _start_mongod(stack: AsyncExitStack, folder: Path, port: int | None) -> ServerHandle:
    binary = require(await asyncio.to_thread(find_mongod))
    return await _start(stack, MongodSpec(binary=binary, folder=folder, port=port))


async def _start(stack: AsyncExitStack, spec: ServerSpec) -> ServerHandle:
    process = await spec.start()
    stack.push_async_callback(process.stop)
    await process.ready()
    return ServerHandle(url=process.url, pid=process.pid, log_path=process.log_path)
