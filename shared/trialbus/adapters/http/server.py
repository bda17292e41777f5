"""Uvicorn inside an event loop that somebody else runs: no signal handlers, no log of its own."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from trialbus.adapters.http.protocol import GuardedProtocol

# Streams to clients end when the server does: this long for requests that are being answered.
GRACE_S = 1
_BACKLOG = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Paths of PEM files: the certificate with its chain, and its key."""

    certificate: str
    key: str


@asynccontextmanager
async def serving(
    app: ASGIApp, *, host: str, port: int, tls: Tls | None = None
) -> AsyncIterator[int]:
    """Serves `app` while the context is open; gives the port (a free one for port 0).

    Raises OSError when the address or the files of TLS cannot be had.
    """
    config = _config(app, tls)
    config.load()
    listener = _listen(host, port)
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]), name=f"http {host}:{port}")
    try:
        await _started(server, task)
        yield int(listener.getsockname()[1])
    finally:
        server.stop()
        # Also when we are cancelled ourselves: nothing is left behind.
        await asyncio.shield(asyncio.wait([task]))
        listener.close()
    task.result()


def _listen(host: str, port: int) -> socket.socket:
    [(family, kind, protocol, _, address), *_] = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    listener = socket.socket(family, kind, protocol)
    try:
        # A restarted service takes its port back although old connections linger.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # Clients that come before uvicorn has begun wait instead of being refused.
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _config(app: ASGIApp, tls: Tls | None) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=GuardedProtocol,
        ssl_certfile=None if tls is None else tls.certificate,
        ssl_keyfile=None if tls is None else tls.key,
        backlog=_BACKLOG,
        lifespan="off",
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )


async def _started(server: "_Server", task: "asyncio.Task[None]") -> None:
    waiting = asyncio.create_task(server.begun.wait())
    try:
        await asyncio.wait([waiting, task], return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
    if task.done():
        task.result()


class _Server(uvicorn.Server):
    """Starts and stops by events; uvicorn itself would wake up ten times a second to look."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.begun = asyncio.Event()
        self._ending = asyncio.Event()

    def stop(self) -> None:
        self._ending.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The service's own handlers stay."""
        yield

    async def startup(self, *args: Any, **kwargs: Any) -> None:
        await super().startup(*args, **kwargs)
        # Once: the headers that every answer carries.
        await self.on_tick(0)
        self.begun.set()

    async def main_loop(self) -> None:
        await self._ending.wait()
