"""The span of every HTTP request: part of the caller's trace, or the first of one."""

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trialbus.contracts.envelope import TRACEPARENT
from trialbus.kernel.traces import TraceContext, parse_traceparent
from trialbus.ports.tracing import Span, SpanKind, Tracing
from trialbus_gateway.adapters.http_metrics import ROUTE, UNMATCHED

_HEADER: Final = TRACEPARENT.encode()
# Asked every few seconds by what watches the process: nobody looks for these.
_UNTRACED = frozenset({"/metrics", "/healthz", "/livez", "/readyz"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SERVER_ERROR = 500


class TracedRequests:
    """In front of all others."""

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _UNTRACED:
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in _METHODS else "other"
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with self._tracing.span(
            method, kind=SpanKind.SERVER, parent=_asked_in(scope), root=True
        ) as span:
            try:
                await self._app(scope, receive, sending)
            finally:
                _tell(span, method, scope.get(ROUTE, UNMATCHED), status)


def _tell(span: Span, method: str, route: str, status: int) -> None:
    span.rename(f"{method} {route}")
    span.note(
        {
            "http.request.method": method,
            "http.route": route,
            "http.response.status_code": status,
        }
    )
    if status >= _SERVER_ERROR:
        span.fail(f"status {status}")


def _asked_in(scope: Scope) -> TraceContext | None:
    """None: no `traceparent`, more than one, or one that is none."""
    found = [value for name, value in scope["headers"] if name == _HEADER]
    return parse_traceparent(found[0].decode("latin-1").strip()) if len(found) == 1 else None
