"""Answers that go on: server-sent events and logs."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.responses import StreamingResponse
from starlette.types import Send

from trialbus_gateway.adapters.answers_json import to_json
from trialbus_gateway.app.following import CloudEvent

# Proxies must pass each event on at once.
_LIVE = {"cache-control": "no-cache", "x-accel-buffering": "no"}


class LiveAnswer(StreamingResponse):
    """Closes its source whatever ends it: a client that goes, a server that stops."""

    def __init__(self, source: AsyncGenerator[bytes, None], media_type: str) -> None:
        super().__init__(source, media_type=media_type, headers=_LIVE)
        self._source = source

    async def stream_response(self, send: Send) -> None:
        async with aclosing(self._source):
            await super().stream_response(send)


async def event_stream(events: AsyncGenerator[CloudEvent | None, None]) -> LiveAnswer:
    """Raises what the source raises before its first item, so that it can still be told."""
    return LiveAnswer(await _begun(_event_lines(events)), "text/event-stream")


async def text_stream(pieces: AsyncGenerator[str, None]) -> LiveAnswer:
    """As `event_stream`."""
    return LiveAnswer(await _begun(_encoded(pieces)), "text/plain")


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
