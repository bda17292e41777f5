"""Answers that go on: lines of a watch, pieces of a log."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import aiohttp

from trialbus.adapters.kubernetes_api.connections import LOST
from trialbus.adapters.kubernetes_api.statuses import error_of_status
from trialbus.kernel.errors import Transient
from trialbus.ports.cluster import WatchEvent, WatchKind


async def lines(reader: aiohttp.StreamReader) -> AsyncGenerator[bytes, None]:
    """Whole lines, of any length. Raises Transient if the last one is cut."""
    pieces: list[bytes] = []
    while piece := await reader.readany():
        *whole, rest = piece.split(b"\n")
        for line in whole:
            yield b"".join((*pieces, line))
            pieces.clear()
        if rest:
            pieces.append(rest)
    if pieces:
        raise Transient("a watch was cut in the middle of an event")


async def watch_events(
    reader: aiohttp.StreamReader, *, within_s: float, closed: Callable[[], bool]
) -> AsyncGenerator[WatchEvent, None]:
    """Ends with the stream, when we have closed it, or `within_s` from now, however silent it is.
    Raises Transient, ClusterError."""
    until = asyncio.get_running_loop().time() + within_s
    async with aclosing(lines(reader)) as coming:
        while True:
            try:
                async with asyncio.timeout_at(until):
                    line = await anext(coming)
            except (StopAsyncIteration, TimeoutError):
                return
            except LOST as error:
                if closed():
                    return
                reason = str(error) or type(error).__name__
                raise Transient(f"a watch broke off: {reason}") from error
            if line:
                yield _event(line)


async def log_pieces(
    reader: aiohttp.StreamReader, *, silence_s: float, closed: Callable[[], bool]
) -> AsyncGenerator[bytes, None]:
    """Ends with the stream, or when we have closed it. Raises Transient: the connection ended
    before the log did, or was silent for so long that it may have."""
    while True:
        try:
            async with asyncio.timeout(silence_s):
                piece = await reader.readany()
        except LOST as error:
            if closed():
                return
            # A timeout is one of them.
            reason = str(error) or type(error).__name__
            raise Transient(f"a followed log broke off: {reason}") from error
        if not piece:
            return
        yield piece


def _event(line: bytes) -> WatchEvent:
    try:
        parsed: dict[str, Any] = json.loads(line)
        kind, found = str(parsed["type"]), parsed["object"]
    except (ValueError, LookupError, TypeError) as error:
        raise Transient("a watch brought something that is no event") from error
    if kind == "ERROR":
        raise error_of_status(int(found.get("code") or 500), found)
    return WatchEvent(kind=WatchKind(kind), object=found)
