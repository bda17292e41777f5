"""HTTP with asyncio's streams; connections are kept."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from trialbus.client.calls import Answer, Call, good
from trialbus.client.failures import Unavailable
from trialbus.client.http1 import Base, ResponseReader
from trialbus.client.sync_http import (
    ANSWER_S,
    BLOCK_BYTES,
    CONNECT_TIMEOUT_S,
    MAX_IDLE_CONNECTIONS,
)


@dataclass(frozen=True, slots=True)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class AsyncHttp:
    answers_questions = True

    def __init__(self, base: Base) -> None:
        self._base = base
        self._idle: list[_Connection] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tls = ssl.create_default_context() if base.tls else None

    async def send(self, call: Call, timeout_s: float) -> Answer:
        """Raises Unavailable."""
        data = self._base.request(call)
        try:
            async with asyncio.timeout(timeout_s):
                while (kept := self._take()) is not None:
                    # A server closes what is idle for long: this was not heard, and is said anew.
                    with contextlib.suppress(_Unheard):
                        return await self._exchange(kept, data, fresh=False)
                return await self._exchange(await self._connect(), data, fresh=True)
        except TimeoutError as error:
            raise Unavailable(f"no answer from {self._base.url} in time") from error

    @asynccontextmanager
    async def stream(
        self, call: Call, silence_s: float | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The body as it comes. Raises what the status means; Unavailable when it breaks off, or
        is silent for so long."""
        connection = await self._connect()
        try:
            connection.writer.write(self._base.request(call))
            reader = ResponseReader()
            while not reader.has_head:
                await _receive(connection, reader, ANSWER_S)
            if reader.status >= 400:
                while not reader.complete:
                    await _receive(connection, reader, ANSWER_S)
                good(reader.answer())
            yield _pieces(connection, reader, silence_s)
        finally:
            connection.writer.close()

    async def close(self) -> None:
        for connection in self._idle:
            connection.writer.close()
        self._idle.clear()

    def _take(self) -> _Connection | None:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            # Connections belong to the loop that made them.
            self._idle.clear()
            self._loop = loop
        return self._idle.pop() if self._idle else None

    async def _exchange(self, connection: _Connection, data: bytes, *, fresh: bool) -> Answer:
        reader, heard = ResponseReader(), False
        try:
            connection.writer.write(data)
            while not reader.complete:
                heard = await _receive(connection, reader) or heard
        except BaseException as error:
            connection.writer.close()
            if isinstance(error, Unavailable) and not heard and not fresh:
                raise _Unheard from error
            raise
        if reader.keeps_alive and len(self._idle) < MAX_IDLE_CONNECTIONS:
            self._idle.append(connection)
        else:
            connection.writer.close()
        return reader.answer()

    async def _connect(self) -> _Connection:
        base = self._base
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                found = await asyncio.open_connection(base.host, base.port, ssl=self._tls)
        except OSError as error:
            why = error or type(error).__name__
            raise Unavailable(f"no stack answers at {base.url} ({why})") from error
        return _Connection(*found)


class _Unheard(Exception):
    """The connection was closed before it said anything."""


async def _receive(
    connection: _Connection, reader: ResponseReader, silence_s: float | None = None
) -> bool:
    """Whether anything came; else the connection was closed, which may be the answer's end."""
    try:
        async with asyncio.timeout(silence_s):
            data = await connection.reader.read(BLOCK_BYTES)
    except OSError as error:
        raise Unavailable(f"the connection failed ({error or type(error).__name__})") from error
    if data:
        reader.feed(data)
    else:
        reader.end()
    return bool(data)


async def _pieces(
    connection: _Connection, reader: ResponseReader, silence_s: float | None
) -> AsyncIterator[bytes]:
    while True:
        if piece := reader.pieces():
            yield piece
        if reader.complete:
            return
        await _receive(connection, reader, silence_s)
