"""Failures in Prometheus' words: `{"status": "error", "errorType": ..., "error": ...}`."""

from collections.abc import Callable, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from trialbus_gateway.adapters.answers_json import JsonAnswer
from trialbus_gateway.adapters.failures import CAUGHT, failure_of, headers_of
from trialbus_gateway.adapters.prometheus import is_prometheus

_KINDS: Mapping[int, str] = {
    400: "bad_data",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "bad_data",
    408: "timeout",
    413: "bad_data",
    422: "execution",
    429: "unavailable",
    503: "unavailable",
}
_UNAVAILABLE = {"retry-after": "1"}

Handler = Callable[[Request, Exception], Response]


def told(error: Exception) -> Response:
    """Any failure."""
    if isinstance(error, HTTPException):
        return _failure(error.status_code, error.detail, error.headers)
    if isinstance(error, CAUGHT):
        status, message, _ = failure_of(error)
        usual = _UNAVAILABLE if status == 503 else None
        return _failure(status, message, headers_of(error) or usual)
    return _failure(500, f"the gateway failed: {type(error).__name__}", None)


def by_path(handlers: Mapping[Any, Handler]) -> dict[Any, Handler]:
    """Handlers that tell what fails below Prometheus' prefix as Prometheus does."""
    return {kind: _or_told(handler) for kind, handler in handlers.items()}


def _or_told(handler: Handler) -> Handler:
    def tell(request: Request, error: Exception) -> Response:
        return told(error) if is_prometheus(request.url.path) else handler(request, error)

    return tell


def _failure(status: int, message: str, headers: Mapping[str, str] | None) -> Response:
    kind = _KINDS.get(status, "internal")
    content = {"status": "error", "errorType": kind, "error": message}
    return JsonAnswer(content, status_code=status, headers=headers)
