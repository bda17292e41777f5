"""The part of the Kubernetes API that kubectl and Katib's client need, on one machine.

Each part of it is a class with `routes()`; they are put together here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Mount
from starlette.types import Scope

from trialbus.kernel.errors import Refused, Transient
from trialbus_gateway.adapters.kubernetes.core_kinds import CORE, GROUPS, Piece, core_pieces
from trialbus_gateway.adapters.kubernetes.discovery import Discovery
from trialbus_gateway.adapters.kubernetes.openapi import OpenApi
from trialbus_gateway.adapters.kubernetes.reading import Reading
from trialbus_gateway.adapters.kubernetes.status_objects import (
    StatusFailure,
    Target,
    expired,
    failure_of,
    method_not_allowed,
    path_not_found,
)
from trialbus_gateway.adapters.kubernetes.writing import Writing
from trialbus_gateway.app.failures import (
    AnotherByNow,
    Expired,
    Forbidden,
    NotThere,
    TooLarge,
    TooMany,
    TooSlow,
    Unauthenticated,
    Unreadable,
)
from trialbus_gateway.app.showing import Showing

# The first word of every path that is Kubernetes'.
_FIRST_WORDS = frozenset({"api", "apis", "openapi", "version", "livez"})


def kubernetes_routes(showing: Showing) -> list[BaseRoute]:
    """The first that matches path and method answers."""
    pieces: Sequence[Piece] = (
        Discovery(CORE, GROUPS),
        OpenApi(),
        *core_pieces(showing),
        Reading(showing.changes, showing.changed),
        Writing(showing.editing, showing.changed),
    )
    routes = [route for piece in pieces for route in piece.routes()]
    app = Starlette(routes=routes, exception_handlers=dict(_HANDLERS))
    return [_Kubernetes("", app=app)]


class _Kubernetes(Mount):
    """An application of its own: whatever fails in it is told as Kubernetes tells it."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] == "http" and is_kubernetes(str(scope.get("path", ""))):
            return Match.FULL, {}
        return Match.NONE, {}


def is_kubernetes(path: str) -> bool:
    return path[1:].partition("/")[0] in _FIRST_WORDS


def told(error: Exception) -> Response:
    """A failure before any route was looked for, in Kubernetes' words."""
    return failure_of(error, Target(resource="")).response()


def target_of(request: Request) -> Target:
    """What a request is about, from the `resource` and `name` of its path."""
    found = request.path_params
    return Target(
        resource=str(found.get("resource", "")),
        name=str(found.get("name", "")),
        group="kubeflow.org" if request.url.path.startswith("/apis/kubeflow.org/") else "",
    )


def _failed(request: Request, error: Exception) -> Response:
    return failure_of(error, target_of(request)).response()


def _expired(_request: Request, error: Exception) -> Response:
    return expired(str(error)).response()


def _of_starlette(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return path_not_found().response()
    if error.status_code == 405:
        return method_not_allowed(target_of(request), request.method).response()
    return StatusFailure(error.status_code, "", error.detail).response()


_TOLD = (
    StatusFailure,
    Refused,
    NotThere,
    AnotherByNow,
    TooLarge,
    Unreadable,
    Transient,
    Forbidden,
    Unauthenticated,
    TooMany,
    TooSlow,
)
_HANDLERS: Mapping[Any, Any] = {
    **dict.fromkeys(_TOLD, _failed),
    Expired: _expired,
    HTTPException: _of_starlette,
    Exception: _failed,
}
