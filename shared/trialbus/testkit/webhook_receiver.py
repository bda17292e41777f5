"""An HTTP endpoint that takes webhooks, and misbehaves as it is told."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trialbus.adapters.http import serving

HANG = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One attempt. status: what it was answered."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    status: int

    @property
    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.body)
        return event


@dataclass
class Receiver:
    """answers: of the next attempts, a status each (`HANG`: none), then `status` for ever; of
    events of the experiments in `refusing`, always theirs. extra: headers of what is no success."""

    url: str = ""
    status: int = 204
    answers: deque[int] = field(default_factory=deque)
    refusing: dict[str, int] = field(default_factory=dict)
    extra: dict[str, str] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)

    @property
    def taken(self) -> list[dict[str, Any]]:
        """Events that were answered with success, in order."""
        return [it.event for it in self.received if 200 <= it.status < 300]

    def types(self, experiment: str | None = None) -> list[str]:
        """Of what was taken, without `io.trialbus.` and `.v1`."""
        return [
            it["type"].removeprefix("io.trialbus.").removesuffix(".v1")
            for it in self.taken
            if experiment in (None, it["experiment"])
        ]

    async def take(self, request: Request) -> Response:
        body = await request.body()
        about = json.loads(body).get("experiment", "")
        status = self.answers.popleft() if self.answers else self.status
        status = self.refusing.get(about, status)
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.append(
            Received(path=request.url.path, headers=headers, body=body, status=status)
        )
        if status == HANG:
            await asyncio.Event().wait()
        return Response(status_code=status, headers={} if 200 <= status < 300 else self.extra)


@asynccontextmanager
async def receiving(port: int = 0) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    routes = [Route("/{path:path}", receiver.take, methods=["POST"])]
    async with serving(Starlette(routes=routes), host="127.0.0.1", port=port) as bound:
        receiver.url = f"http://127.0.0.1:{bound}/hook"
        yield receiver
