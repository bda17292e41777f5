"""The gateway about itself: its status, and the description of its API."""

from collections.abc import Callable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from trialbus_gateway.adapters.answers_json import JsonAnswer, to_json
from trialbus_gateway.adapters.rest.document import openapi
from trialbus_gateway.adapters.rest.operations import (
    JSON,
    Answer,
    DescribedRoute,
    Example,
    Operation,
    described,
)
from trialbus_gateway.adapters.rest.shapes import Status

STATUS = Operation(
    id="getStatus",
    tag="server",
    summary="Version, and which servers the gateway reaches",
    answers={200: Answer(about="The status.", shape=Status)},
    examples=[Example(name="status", about="The status")],
)
OPENAPI = Operation(
    id="getOpenapi",
    tag="server",
    summary="This document",
    answers={200: Answer(about="OpenAPI 3.1.", shape=dict[str, Any])},
    examples=[Example(name="document", about="The document")],
)


class About:
    """status: which servers are in reach."""

    def __init__(self, status: Callable[[], dict[str, bool]]) -> None:
        self._status = status
        # Made once: the routes of an application do not change.
        self._document: bytes | None = None

    def routes(self) -> list[DescribedRoute]:
        return [
            described("GET", "/v1/status", self._tell, STATUS),
            described("GET", "/v1/openapi.json", self._describe, OPENAPI),
        ]

    async def _tell(self, _request: Request) -> Response:
        return JsonAnswer({"version": release(), "services": self._status()})

    async def _describe(self, request: Request) -> Response:
        if self._document is None:
            self._document = to_json(openapi(request.app.routes, release()))
        return Response(self._document, media_type=JSON)


@cache
def release() -> str:
    """Found once: it stands in a file of the installed package."""
    try:
        return version("trialbus")
    except PackageNotFoundError:
        return "unknown"
