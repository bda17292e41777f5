"""Who the caller is to the gateway."""

from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from trialbus.contracts.katib.times import rfc3339_or_none
from trialbus.kernel.access import ALLOWED, EVERY_NAMESPACE
from trialbus_gateway.adapters.access.guard import visit_of
from trialbus_gateway.adapters.answers_json import JsonAnswer
from trialbus_gateway.adapters.rest.operations import (
    Answer,
    DescribedRoute,
    Example,
    Operation,
    described,
)
from trialbus_gateway.adapters.rest.shapes import Moment, Shape
from trialbus_gateway.app import reach


class IdentityShape(Shape):
    """Who a token is, and what it may do where."""

    required: bool
    """False: the gateway listens on loopback only and asks nobody for a token."""
    name: str
    by: str
    """The way in which the name was proved."""
    role: Literal["reader", "writer", "worker", "admin", "trial"]
    actions: list[str]
    namespaces: list[str] | Literal["*"]
    expires: Moment | None


IDENTITY = Operation(
    id="getIdentity",
    tag="access",
    summary="Who the caller is, and what it may do",
    answers={200: Answer(about="The caller.", shape=IdentityShape)},
    examples=[Example(name="identity", about="Who am I")],
)


class Access:
    def routes(self) -> list[DescribedRoute]:
        return [described("GET", "/v1/identity", self._tell, IDENTITY)]

    async def _tell(self, request: Request) -> Response:
        identity, visit = reach.current(), visit_of(request.scope)
        namespaces = identity.namespaces
        return JsonAnswer(
            {
                "required": visit is not None and visit.door.asks,
                "name": identity.name,
                "by": identity.by,
                "role": identity.role.value,
                "actions": sorted(ALLOWED[identity.role]),
                "namespaces": EVERY_NAMESPACE if namespaces is None else sorted(namespaces),
                "expires": rfc3339_or_none(identity.expires_at),
            }
        )
