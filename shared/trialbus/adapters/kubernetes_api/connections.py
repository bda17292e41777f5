"""Requests of the API server: in our turn, with a deadline, repeated when it says so."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from trialbus.adapters.kubernetes_api.credentials import Credentials
from trialbus.adapters.kubernetes_api.pace import Pace
from trialbus.adapters.kubernetes_api.request_metrics import NobodyObserves, RequestObserver
from trialbus.adapters.kubernetes_api.statuses import error_of
from trialbus.kernel import limits
from trialbus.kernel.addresses import is_loopback
from trialbus.kernel.errors import Transient
from trialbus.ports.clock import Clock

_rest: Any = import_module("kubernetes_asyncio.client.rest")

USER_AGENT = "trialbus"
JSON = "application/json"
# Deadlines are ours: of a whole call, or of a stream's silence.
_NO_TIMEOUT = aiohttp.ClientTimeout()
# A server that goes away, in whatever words.
LOST = (aiohttp.ClientError, OSError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """verb: what it is to Kubernetes. path: its parts are quoted already. creating: decides what a
    409 means."""

    verb: str
    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    content_type: str = JSON
    creating: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Connection:
    """jitter: a number from 0 to 1, so that those who were sent away do not come back together.
    observer: is told of every request."""

    def __init__(
        self,
        credentials: Credentials,
        pace: Pace,
        clock: Clock,
        *,
        deadline_s: float = limits.CLUSTER_CALL_DEADLINE_S,
        jitter: Callable[[], float] = random.random,
        observer: RequestObserver | None = None,
    ) -> None:
        configuration = credentials.configuration
        pool = _rest.RESTClientObject(configuration)
        # Its session would look into ~/.netrc in a thread before each request, and send the
        # password that it finds there; ours takes over its pool, with the TLS that it was made for.
        connector = pool.pool_manager.connector
        pool.pool_manager.detach()
        self._session = aiohttp.ClientSession(connector=connector, headers=_headers())
        self._base = str(configuration.host).rstrip("/")
        self._server_hostname: str | None = pool.server_hostname
        self._proxy: str | None = configuration.proxy or _proxy_of_environment(self._base)
        self._credentials = credentials
        self._pace = pace
        self._clock = clock
        self._deadline_s = deadline_s
        self._jitter = jitter
        self._observer = observer or NobodyObserves()
        self._streams: set[aiohttp.ClientResponse] = set()
        self.closed = False

    async def call(self, request: Request) -> bytes:
        """The body of a good answer. Raises Transient or ClusterError."""
        _, body = await self._answer(request, self._deadline_s, streamed=False)
        return body

    async def object(self, request: Request) -> dict[str, Any]:
        """The JSON object of a good answer."""
        body = await self.call(request)
        try:
            parsed = json.loads(body)
        except ValueError as error:
            raise Transient(f"{request}: the answer is no JSON") from error
        if not isinstance(parsed, dict):
            raise Transient(f"{request}: the answer is no JSON object")
        return parsed

    @asynccontextmanager
    async def stream(
        self, request: Request, *, begins_within_s: float | None = None
    ) -> AsyncIterator[aiohttp.StreamReader]:
        """The body of a good answer as it comes. Reading it raises one of LOST, also when we close.
        begins_within_s: where it may be silent before it begins; else the deadline of a call."""
        deadline_s = self._deadline_s if begins_within_s is None else begins_within_s
        response, _ = await self._answer(request, deadline_s, streamed=True)
        self._streams.add(response)
        try:
            yield response.content
        finally:
            self._streams.discard(response)
            # What is left of it is not waited for.
            response.close()

    async def close(self) -> None:
        self.closed = True
        for response in list(self._streams):
            response.close()
        await self._session.close()

    async def _answer(
        self, request: Request, deadline_s: float, *, streamed: bool
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        until = self._clock.monotonic() + deadline_s
        try:
            async with asyncio.timeout(deadline_s):
                return await self._repeated(request, until, streamed=streamed)
        except TimeoutError as error:
            raise Transient(f"{request}: no answer within {deadline_s:g} s") from error
        except LOST as error:
            raise Transient(f"{request}: {str(error) or type(error).__name__}") from error

    async def _repeated(
        self, request: Request, until: float, *, streamed: bool
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        """The first answer that is not "later"; of a stream without its body."""
        renewed = False
        while True:
            asked_at = self._clock.monotonic()
            async with self._pace:
                self._observer.waited(self._clock.monotonic() - asked_at)
                if not streamed:
                    response, body = await self._send(request, streamed=False)
            if streamed:
                # It gave its place up at once: the log of a container that is silent does not
                # even begin.
                response, body = await self._send(request, streamed=True)
            if response.status < 300:
                return response, body
            if response.status == 401 and not renewed:
                # A token that was replaced meanwhile.
                renewed = True
                self._credentials.expire()
                continue
            await self._wait_or_raise(request, response, body, until)

    async def _wait_or_raise(
        self, request: Request, response: aiohttp.ClientResponse, body: bytes, until: float
    ) -> None:
        wait_s = _retry_after_s(response)
        error = error_of(response.status, body, creating=request.creating)
        if wait_s is None:
            raise error
        wait_s *= 1 + self._jitter()
        if self._clock.monotonic() + wait_s >= until:
            raise error
        await self._clock.sleep(wait_s)

    async def _send(
        self, request: Request, *, streamed: bool
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        """With the body, unless it is a good answer that is streamed."""
        options = await self._options(request)
        began, code = self._clock.monotonic(), 0
        try:
            response = await self._session.request(request.method, **options)
            is_begun = streamed and response.status < 300
            body = b"" if is_begun else await response.read()
            code = response.status
        finally:
            self._observer.answered(request.verb, code, self._clock.monotonic() - began)
        return response, body

    async def _options(self, request: Request) -> dict[str, Any]:
        """Of aiohttp."""
        if self.closed:
            raise Transient(f"{request}: we have closed the connection")
        headers = {}
        authorization = await self._credentials.authorization()
        if authorization:
            headers["Authorization"] = authorization
        data = None
        if request.body is not None:
            data = json.dumps(request.body).encode()
            headers["Content-Type"] = request.content_type
        url = URL(self._base + request.path, encoded=True).with_query(request.query)
        return {
            "url": url,
            "headers": headers,
            "data": data,
            "timeout": _NO_TIMEOUT,
            "allow_redirects": False,
            "proxy": self._proxy,
            "server_hostname": self._server_hostname,
        }


def _headers() -> dict[str, str]:
    return {"User-Agent": USER_AGENT, "Accept": f"{JSON}, */*"}


def _retry_after_s(response: aiohttp.ClientResponse) -> float | None:
    """None: asking again at once, or ever, is not asked for. client-go goes by the same rule."""
    told = response.headers.get("Retry-After", "")
    if told.isdigit() and (response.status == 429 or response.status >= 500):
        return float(told)
    return limits.CLUSTER_RETRY_AFTER_S if response.status == 429 else None


def _proxy_of_environment(address: str) -> str | None:
    """As kubectl: nothing goes to this machine through a proxy, whatever NO_PROXY says."""
    parts = urlsplit(address)
    if is_loopback(parts.hostname or "") or proxy_bypass(parts.netloc):
        return None
    return getproxies().get(parts.scheme)
