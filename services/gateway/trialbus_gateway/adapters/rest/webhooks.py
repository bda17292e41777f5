"""How webhooks do."""

from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from trialbus_gateway.adapters.answers_json import JsonAnswer
from trialbus_gateway.adapters.rest.operations import (
    Answer,
    DescribedRoute,
    Example,
    Operation,
    described,
)
from trialbus_gateway.adapters.rest.shapes import Moment, ProblemShape, Shape
from trialbus_gateway.app.webhooks import Webhooks


class WebhookShape(Shape):
    """A webhook of the operator's file, and how it does."""

    name: str
    url: str
    """Without credentials and query."""
    namespaces: list[str]
    """Empty: all."""
    experiments: str
    """A name, or one with * and ?."""
    types: list[str]
    state: Literal["active", "failing", "paused", "waiting"]
    """`failing`: no success since the last failure; `paused`: for so long that one event every few
    minutes tries it; `waiting`: no gateway delivers at the moment."""
    waiting: int
    """Events that are to be delivered."""
    lag_seconds: float
    """How long the oldest of them has waited."""
    last_success: Moment | None
    last_failure: Moment | None
    last_error: str
    failing_since: Moment | None
    delivered: int
    given_up: int
    """Refused by the receiver, or too old."""
    created: Moment


class WebhookList(Shape):
    """All webhooks."""

    items: list[WebhookShape]
    problems: list[ProblemShape]
    """Of the file as it is now; the last good one stays in use."""


LIST = Operation(
    id="listWebhooks",
    tag="webhooks",
    summary="Webhooks, and how each does",
    answers={200: Answer(about="All of them.", shape=WebhookList)},
    examples=[Example(name="all", about="All webhooks")],
)


class WebhookReading:
    def __init__(self, webhooks: Webhooks) -> None:
        self._webhooks = webhooks

    def routes(self) -> list[DescribedRoute]:
        return [described("GET", "/v1/webhooks", self._list, LIST)]

    async def _list(self, _request: Request) -> Response:
        return JsonAnswer(await self._webhooks.shown())
