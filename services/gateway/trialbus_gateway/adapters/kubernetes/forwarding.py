"""The Kubernetes API of the cluster itself, through the gateway, with the caller's own token.

Whoever has a token of the cluster uses one address for everything; what the token may do is the
API server's to judge, so nothing here asks who is calling. One thing is different from talking to
the API server: Katib's clients ask for a trial's output by the name of Katib's sidecar. There is no
such container here; they get the output of the trial's own.
"""

import re
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, nullcontext, suppress
from typing import Any
from urllib.parse import urlencode

import httpx
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from trialbus.kernel.errors import Transient
from trialbus.kernel.limits import CLUSTER_CALL_DEADLINE_S, MAX_CLUSTER_BODY_BYTES
from trialbus_gateway.adapters.http_metrics import CLUSTER, ROUTE, STREAMING
from trialbus_gateway.adapters.kubernetes import is_kubernetes, told
from trialbus_gateway.app.failures import TooLarge

_POD_LOG = re.compile(r"/api/v1/namespaces/[^/]+/pods/[^/]+(?=/log$)")
# As Katib's clients name them (pod_objects.py shows them on one machine).
_KATIB_CONTAINERS = frozenset({"metrics-logger-and-collector", "metrics-collector"})
_DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
# Of one connection, not of what is sent through it (RFC 9110, section 7.6.1), or made anew.
_HOP_BY_HOP = frozenset(
    {"connection", "host", "keep-alive", "proxy-authenticate", "proxy-authorization", "te"}
    | {"trailer", "transfer-encoding", "upgrade", "content-length"}
)
# A watch or a log may be silent for long; its caller ends it.
_TIMEOUT = httpx.Timeout(CLUSTER_CALL_DEADLINE_S, read=None)

# As they came: name, value.
Headers = list[tuple[str, str]]


class ForwardingToCluster:
    """In front of everything else: such a request is not the gateway's."""

    def __init__(self, app: ASGIApp, client: httpx.AsyncClient) -> None:
        self._app = app
        self._client = client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not is_kubernetes(str(scope["path"])):
            await self._app(scope, receive, send)
            return
        scope[ROUTE] = CLUSTER
        request = Request(scope, receive)
        try:
            response = await self._forwarded(request)
        except (TooLarge, Transient) as error:
            response = told(error)
        except ClientDisconnect:
            return
        kind = _stream_kind(request)
        streaming = scope.get(STREAMING) if response.status_code < 300 else None
        with (
            nullcontext() if kind is None or streaming is None else streaming(kind),
            # Left without its end, which the server tells by closing the connection.
            suppress(httpx.HTTPError),
        ):
            await response(scope, receive, send)

    async def _forwarded(self, request: Request) -> Response:
        """Raises TooLarge, Transient."""
        headers = _passed_on(request.headers.items())
        query = await self._query(request, headers)
        body = await _body(request)
        path = request.scope["raw_path"].decode("latin-1").partition("?")[0]
        asked = self._client.build_request(
            request.method, f"{path}?{query}" if query else path, headers=headers, content=body
        )
        try:
            answer = await self._client.send(asked, stream=True)
        except httpx.HTTPError as error:
            raise Transient(f"the cluster's API server cannot be asked: {error!r}") from None
        # As it comes on the wire: a compressed answer stays what its headers say.
        response = StreamingResponse(_pieces(answer), status_code=answer.status_code)
        response.raw_headers = [
            (name.lower(), value)
            for name, value in answer.headers.raw
            if name.lower().decode("latin-1") not in _HOP_BY_HOP
        ]
        return response

    async def _query(self, request: Request, headers: Headers) -> str:
        query, log = request.query_params, _POD_LOG.match(request.url.path)
        if log is not None and query.get("container") in _KATIB_CONTAINERS:
            own = _own_container(query["container"], await self._pod(log[0], headers))
            if own is not None:
                rest = [(name, it) for name, it in query.multi_items() if name != "container"]
                return urlencode([*rest, ("container", own)])
        said: bytes = request.scope["query_string"]
        return said.decode("latin-1")

    async def _pod(self, path: str, headers: Headers) -> Mapping[str, Any]:
        """With the caller's token, too; {}: the API server is to say what is wrong."""
        shown = [(name, it) for name, it in headers if name == "authorization"]
        try:
            answer = await self._client.get(path, headers=shown, timeout=CLUSTER_CALL_DEADLINE_S)
            found = answer.json() if answer.is_success else {}
        except (httpx.HTTPError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


@asynccontextmanager
async def cluster_client(address: str, authorities: str | None) -> AsyncIterator[httpx.AsyncClient]:
    """authorities: file of the certificates that the server's is checked by; None: the system's."""
    checked = ssl.create_default_context(cafile=authorities)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    async with httpx.AsyncClient(
        base_url=address,
        verify=checked,
        trust_env=False,
        timeout=_TIMEOUT,
        limits=limits,
        # What a caller does not say it can read must not be compressed.
        headers={"accept-encoding": "identity"},
    ) as client:
        yield client


def _stream_kind(request: Request) -> str | None:
    """Whether the answer to it goes on, if it is a good one."""
    query, true = request.query_params, ("true", "1")
    if query.get("watch") in true:
        return "watch"
    return "log" if query.get("follow") in true and request.url.path.endswith("/log") else None


def _passed_on(headers: Iterable[tuple[str, str]]) -> Headers:
    """Some come more than once, such as the groups that a caller impersonates."""
    return [(name, value) for name, value in headers if name.lower() not in _HOP_BY_HOP]


async def _body(request: Request) -> bytes:
    """Raises TooLarge."""
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > MAX_CLUSTER_BODY_BYTES:
            raise TooLarge(f"a body has at most {MAX_CLUSTER_BODY_BYTES} bytes")
        pieces.append(piece)
    return b"".join(pieces)


async def _pieces(answer: httpx.Response) -> AsyncIterator[bytes]:
    """Until either side has enough. Raises httpx.HTTPError when it is cut off: so it comes cut off
    to the caller, too, and does not look complete."""
    try:
        async for piece in answer.aiter_raw():
            yield piece
    finally:
        await answer.aclose()


def _own_container(asked: str, pod: Mapping[str, Any]) -> str | None:
    """What stands for a container of Katib's; None: the pod has it, or is not known."""
    spec = pod.get("spec") or {}
    names = [str(it.get("name")) for it in spec.get("containers") or ()]
    others = [it.get("name") for it in spec.get("initContainers") or ()]
    if asked in names or asked in others or not names:
        return None
    annotations = (pod.get("metadata") or {}).get("annotations") or {}
    chosen = str(annotations.get(_DEFAULT_CONTAINER, ""))
    return chosen if chosen in names else names[0]
