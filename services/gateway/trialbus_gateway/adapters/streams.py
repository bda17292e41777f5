"""Answers that go on: server-sent events and logs."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, nullcontext
from typing import Literal

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from trialbus_gateway.adapters.access.guard import Visit, visit_of
from trialbus_gateway.adapters.answers_json import to_json
from trialbus_gateway.adapters.http_metrics import STREAMING
from trialbus_gateway.app.following import CloudEvent

# How soon a stream ends whose token has expired, was revoked, or is of a trial that has ended.
LOOK_EVERY_S = 5.0
# Proxies must pass each event on at once.
Kind = Literal["events", "watch", "log"]
_LIVE = {"cache-control": "no-cache", "x-accel-buffering": "no"}


class LiveAnswer(StreamingResponse):
    """Closes its source whatever ends it: a client that goes, a server that stops, a caller who
    is not welcome any more."""

    def __init__(self, source: AsyncGenerator[bytes, None], media_type: str, kind: Kind) -> None:
        super().__init__(source, media_type=media_type, headers=_LIVE)
        self._source = source
        self._kind = kind
        self._visit: Visit | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises TooMany before anything is sent."""
        self._visit = visit = visit_of(scope)
        streaming = scope.get(STREAMING, nullcontext)
        if visit is None:
            with streaming(self._kind):
                await super().__call__(scope, receive, send)
            return
        async with aclosing(self._source):
            with visit.door.streaming(visit.identity), streaming(self._kind):
                await super().__call__(scope, receive, send)

    async def stream_response(self, send: Send) -> None:
        async with aclosing(self._source):
            if self._visit is None or not self._visit.door.asks:
                await super().stream_response(send)
                return
            try:
                async with asyncio.timeout(None) as welcome:
                    looking = asyncio.create_task(_end_with(self._visit, welcome))
                    try:
                        await super().stream_response(send)
                    finally:
                        looking.cancel()
            except TimeoutError:
                await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _end_with(visit: Visit, stream: asyncio.Timeout) -> None:
    while await visit.is_welcome():  # noqa: ASYNC110 - nobody tells of a token that is revoked
        await asyncio.sleep(LOOK_EVERY_S)
    stream.reschedule(asyncio.get_running_loop().time())


async def event_stream(events: AsyncGenerator[CloudEvent | None, None]) -> LiveAnswer:
    """Raises what the source raises before its first item, so that it can still be told."""
    return LiveAnswer(await _begun(_event_lines(events)), "text/event-stream", "events")


async def text_stream(pieces: AsyncGenerator[str, None]) -> LiveAnswer:
    """As `event_stream`."""
    return LiveAnswer(await _begun(_encoded(pieces)), "text/plain", "log")


async def _begun(source: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    return _resumed(await anext(source, b""), source)


async def _resumed(
    first: bytes, source: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    async with aclosing(source):
        yield first
        async for piece in source:
            yield piece


async def _event_lines(
    events: AsyncGenerator[CloudEvent | None, None],
) -> AsyncGenerator[bytes, None]:
    """A comment where there is nothing new: it shows that the connection lives."""
    async with aclosing(events):
        async for event in events:
            if event is None:
                yield b": still here\n\n"
            else:
                yield b"id: " + _one_line(event["id"]) + b"\ndata: " + to_json(event) + b"\n\n"


async def _encoded(pieces: AsyncGenerator[str, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(pieces):
        async for piece in pieces:
            yield piece.encode("utf-8", "replace")


def _one_line(text: str) -> bytes:
    return "".join(text.splitlines()).encode("utf-8", "replace")
