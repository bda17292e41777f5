"""Who is compared: each is a server, if it needs one, and the command of a worker."""

import asyncio
import socket
import sys
import tempfile
import uuid
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from loadtests.stack import Stack, experiment

_PORT_DEADLINE_S = 30.0

# The command of a worker, while what it needs is there.
Running = AbstractAsyncContextManager[Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """begin: seconds of work -> its server and the command of a worker. durable: whether results
    survive the death of everything but the disk."""

    name: str
    durable: bool
    begin: Callable[[float], Running]


def ours(stack: Stack, address: str, *, ahead: int) -> Callable[[float], Running]:
    """address: `http` or `nats`, as the stack tells it."""

    @asynccontextmanager
    async def begin(seconds: float) -> AsyncIterator[Sequence[str]]:
        name = f"peers-{uuid.uuid4().hex[:8]}"
        asked = experiment(name, ["true"], trials=1_000_000, parallel=max(32, 4 * ahead))
        asked["metadata"]["annotations"] = {"trialbus.io/trials-by": "workers"}
        del asked["spec"]["trialTemplate"]
        await stack.apply(asked)
        module = "loadtests.peers.our_worker"
        try:
            yield (
                sys.executable, "-m", module,
                str(stack.status[address]), name, str(ahead), str(seconds),
            )  # fmt: skip
        finally:
            await stack.delete(name)

    return begin


def optuna_journal(python: str) -> Callable[[float], Running]:
    @asynccontextmanager
    async def begin(seconds: float) -> AsyncIterator[Sequence[str]]:
        with tempfile.TemporaryDirectory() as folder:
            yield _optuna(python, f"journal:{folder}/journal.log", seconds)

    return begin


def optuna_postgres(python: str) -> Callable[[float], Running]:
    @asynccontextmanager
    async def begin(seconds: float) -> AsyncIterator[Sequence[str]]:
        with tempfile.TemporaryDirectory() as folder:
            server = await asyncio.create_subprocess_exec(
                python, "-m", "loadtests.peers.postgres", folder, stdin=PIPE, stdout=PIPE
            )
            try:
                assert server.stdout is not None
                said = (await server.stdout.readline()).decode().strip()
                url = said.replace("postgresql:", "postgresql+psycopg2:", 1)
                yield _optuna(python, url, seconds)
            finally:
                assert server.stdin is not None
                server.stdin.close()
                # Not for the end of its output: what it started has that too.
                await server.wait()

    return begin


def optuna_proxy(python: str, *, over: str) -> Callable[[float], Running]:
    """over: `memory` or `journal`."""

    @asynccontextmanager
    async def begin(seconds: float) -> AsyncIterator[Sequence[str]]:
        with tempfile.TemporaryDirectory() as folder:
            port = _free_port()
            kind = "memory" if over == "memory" else f"journal:{folder}/journal.log"
            server = await asyncio.create_subprocess_exec(
                python, "-m", "loadtests.peers.optuna_proxy", str(port), kind,
                stdout=DEVNULL, stderr=DEVNULL,
            )  # fmt: skip
            try:
                await _until_open(port)
                yield _optuna(python, f"proxy:{port}", seconds)
            finally:
                server.terminate()
                await server.wait()

    return begin


def _optuna(python: str, storage: str, seconds: float) -> Sequence[str]:
    return (python, "-m", "loadtests.peers.optuna_worker", storage, "peers", str(seconds))


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


async def _until_open(port: int) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _PORT_DEADLINE_S
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            if loop.time() > deadline:
                raise
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return
