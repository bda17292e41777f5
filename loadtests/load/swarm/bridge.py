"""A process that speaks NATS for people of another event loop:
python -m loadtests.load.swarm.bridge URL

Lines of JSON come in, `{"id", "subject", "body", "headers", "timeout"}` for a request or
`{"follow": SUBJECT}`; lines go out, `{"id", "ms", "answer" | "problem"}` and `{"event_ms"}` for
each event that was followed. Latencies are measured here, next to the connection. It ends with its
input.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import nats
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from loadtests.load.people import TOLD_LATER
from loadtests.load.recent import Recent

MAX_LINE_BYTES = 16 * 1024 * 1024


async def main() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=MAX_LINE_BYTES)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    bus = await nats.connect(sys.argv[1], name="loadtests")
    asking: set[asyncio.Task[None]] = set()
    async for line in reader:
        said = json.loads(line)
        if "follow" in said:
            await bus.subscribe(said["follow"], cb=_listener())
            continue
        task = asyncio.create_task(_ask(bus, said))
        asking.add(task)
        task.add_done_callback(asking.discard)
    await bus.close()


async def _ask(bus: Client, said: dict[str, Any]) -> None:
    began = time.perf_counter()
    reply: dict[str, Any] = {"id": said["id"]}
    try:
        answer = await bus.request(
            said["subject"],
            json.dumps(said["body"]).encode(),
            timeout=said["timeout"],
            headers=said["headers"],
        )
        reply["answer"] = json.loads(answer.data)
    except (nats.errors.Error, TimeoutError, OSError) as error:
        reply["problem"] = str(error) or type(error).__name__
    reply["ms"] = (time.perf_counter() - began) * 1000
    _write(reply)


def _listener() -> Callable[[Msg], Awaitable[None]]:
    """Of one subscriber; an event that comes again is heard once."""
    recent = Recent()

    async def heard(message: Msg) -> None:
        headers = message.headers or {}
        if "ce-time" not in headers or not recent.is_new(headers["ce-id"]):
            return
        if headers["ce-type"] in TOLD_LATER:
            return
        at = datetime.fromisoformat(headers["ce-time"]).timestamp()
        _write({"event_ms": max(0.0, time.time() - at) * 1000})

    return heard


def _write(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
