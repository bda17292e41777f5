"""Commands and workers' words as requests over NATS. Questions need a gateway."""

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import nats
import nats.errors
from nats.aio.client import Client as Connection

from trialbus.client.addresses import Address
from trialbus.client.calls import Answer, Call
from trialbus.client.failures import TrialbusError, Unauthorised, Unavailable
from trialbus.client.traced import with_trace
from trialbus.contracts import subjects
from trialbus.contracts.work import NAME_FIELD

T = TypeVar("T")
CONNECT_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 2.0
MAX_TOLD = 16
# Of the files of `trialbus auth nats`, which are called after their identities.
SEED_ENDING = ".seed"


class NotOverNats(TrialbusError):
    """Only commands and workers' words go over NATS: questions need the gateway's address."""


class AsyncNats:
    answers_questions = False

    def __init__(self, address: Address) -> None:
        self._address = address
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()
        self._told: list[str] = []

    async def send(self, call: Call, timeout_s: float) -> Answer:
        """Raises Unavailable, NotOverNats."""
        word = call.bus
        if word is None:
            raise NotOverNats(f"{call.method} {call.path}: ask a gateway (http://...) for that")
        subject = subjects.command(word.namespace, word.name, word.verb)
        try:
            connection = await self._connected()
            headers = dict(with_trace(word.headers)) or None
            answer = await connection.request(
                subject, word.body, timeout=timeout_s, headers=headers
            )
        except nats.errors.NoRespondersError as error:
            raise Unavailable(f"nobody answers on {subject}") from error
        except (nats.errors.Error, OSError, TimeoutError) as error:
            self._check_access(subject, error)
            why = error or type(error).__name__
            raise Unavailable(f"no answer over {self._address.url} ({why})") from error
        return Answer(status=_status_of(answer.data), body=answer.data)

    @asynccontextmanager
    async def stream(
        self, call: Call, silence_s: float | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Raises NotOverNats."""
        del silence_s
        raise NotOverNats(f"{call.path}: ask a gateway (http://...) for that")
        yield

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(nats.errors.Error, OSError, TimeoutError):
                await asyncio.wait_for(connection.close(), CLOSE_TIMEOUT_S)

    def _check_access(self, subject: str, error: Exception) -> None:
        """Raises Unauthorised: the server says so beside the request, which only gets no answer."""
        denied = [text for text in self._told if f'"{subject}"' in text]
        if denied:
            raise Unauthorised(denied[0]) from error
        if "authorization violation" in str(error).lower():
            raise Unauthorised(f"{self._address.url} wants a key, or another one") from error

    async def _heard(self, error: Exception) -> None:
        """What the server refuses; the newest few."""
        self._told = [*self._told, str(error)][-MAX_TOLD:]

    async def _connected(self) -> Connection:
        async with self._connecting:
            if self._connection is None or self._connection.is_closed:
                self._connection = await nats.connect(
                    name="trialbus-python",
                    connect_timeout=CONNECT_TIMEOUT_S,
                    allow_reconnect=False,
                    error_cb=self._heard,
                    **_servers(self._address),
                )
        return self._connection


class SyncNats:
    """The same, on a loop of its own in a thread beside."""

    answers_questions = False

    def __init__(self, address: Address) -> None:
        self._address = address
        self._starting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._nats: AsyncNats | None = None
        self._process = os.getpid()

    def send(self, call: Call, timeout_s: float) -> Answer:
        """Raises Unavailable, NotOverNats."""
        if call.bus is not None:
            # Here: the loop's thread is in no trace.
            call = replace(call, bus=replace(call.bus, headers=with_trace(call.bus.headers)))
        return self._do(self._running().send(call, timeout_s))

    @contextmanager
    def stream(self, call: Call, silence_s: float | None = None) -> Iterator[Iterator[bytes]]:
        """Raises NotOverNats."""
        del silence_s
        raise NotOverNats(f"{call.path}: ask a gateway (http://...) for that")
        yield

    def close(self) -> None:
        with self._starting:
            loop, thread, found = self._loop, self._thread, self._nats
            self._loop = self._thread = self._nats = None
        if loop is None or thread is None or found is None or self._process != os.getpid():
            return
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(found.close(), loop).result(CLOSE_TIMEOUT_S * 2)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    def _running(self) -> AsyncNats:
        with self._starting:
            if self._nats is None or self._process != os.getpid():
                # The thread and its connection stay in the process that made them.
                self._process = os.getpid()
                self._loop = asyncio.new_event_loop()
                self._nats = AsyncNats(self._address)
                target = self._loop.run_forever
                self._thread = threading.Thread(target=target, name="trialbus-nats", daemon=True)
                self._thread.start()
            return self._nats

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


def _servers(address: Address) -> dict[str, Any]:
    """Where to connect, and as whom. A token that names a file: of `trialbus auth nats`, or the
    credentials that other tools make. Identities with keys hear below an inbox of their own."""
    parts = urlsplit(address.url)
    query = dict(parse_qsl(parts.query))
    found: dict[str, Any] = {"servers": urlunsplit(parts._replace(query=""))}
    token = address.token
    if token is not None and token.endswith(SEED_ENDING) and Path(token).is_file():
        found["nkeys_seed"] = token
        found["inbox_prefix"] = f"_INBOX_worker.{Path(token).stem}"
    elif token is not None and token.endswith(".creds") and Path(token).is_file():
        found["user_credentials"] = token
    elif token is not None:
        found["token"] = token
    if "inbox" in query:
        found["inbox_prefix"] = query["inbox"]
    return found


def _status_of(data: bytes) -> int:
    """As HTTP would say it, so that one reading of answers does for both."""
    try:
        reply = json.loads(data)
    except ValueError:
        return 502
    if not isinstance(reply, dict):
        return 502
    if reply.get("accepted"):
        return 200
    if reply.get("stale"):
        return 409
    # The same field as that of a name that is wrong in an object.
    missing = any(
        it.get("field") == NAME_FIELD
        and str(it.get("message")).startswith("there is no experiment")
        for it in reply.get("problems") or ()
    )
    return 404 if missing else 422
