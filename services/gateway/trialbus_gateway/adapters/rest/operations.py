"""A route and its description in one: what is served and what is documented cannot part."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trialbus_gateway.adapters.rest.parameters import Parameter
from trialbus_gateway.app.failures import Unreadable

Json = Any
Endpoint = Callable[[Request], Awaitable[Response]]
Method = Literal["GET", "PUT", "POST", "PATCH", "DELETE"]

JSON = "application/json"
_SHOWN_CHARS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """about: one sentence. shape: a type that pydantic makes a schema of; None: not JSON."""

    about: str
    shape: Any = None
    media_type: str = JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """shapes: media type -> a type that pydantic makes a schema of."""

    about: str
    shapes: Mapping[str, Any]
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A request that can be sent as it stands, and the status of its answer. Values of the path
    that are not given are those of the parameters' own examples."""

    name: str
    about: str
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, Json] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Json = None
    media_type: str = JSON
    status: int = 200


# What any call may get: unreadable, no token, not allowed, too many calls, a server away.
USUAL_FAILURES = (400, 401, 403, 429, 503)
# And one with a body: it came too slowly, or is too large.
BODY_FAILURES = (408, 413)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What a caller must know of one method of one path.

    id: unique, in camelCase. answers: status -> answer, of calls that do not fail. failures: other
    statuses, all of one shape, beside the usual ones. failure_shape: of its failures, where it is
    another API's; None: the usual one. examples: at least one.
    """

    id: str
    tag: str
    summary: str
    answers: Mapping[int, Answer]
    examples: Sequence[Example]
    about: str = ""
    parameters: Sequence[Parameter] = ()
    body: Body | None = None
    failures: Sequence[int] = ()
    failure_shape: Any = None

    @property
    def all_failures(self) -> list[int]:
        of_body = () if self.body is None else BODY_FAILURES
        return sorted({*self.failures, *USUAL_FAILURES, *of_body} - set(self.answers))


class DescribedRoute(Route):
    """A route with one method, and its description."""

    def __init__(self, method: Method, path: str, endpoint: Endpoint, operation: Operation) -> None:
        super().__init__(path, _strict(endpoint, operation), methods=[method])
        self.method = method
        self.operation = operation
        described = {it.name for it in operation.parameters if it.place == "path"}
        if described != set(self.param_convertors):
            raise ValueError(f"{method} {path}: its path has {set(self.param_convertors)}")


def _strict(endpoint: Endpoint, operation: Operation) -> Endpoint:
    """A misspelt filter would let everything through, so what is not known is refused."""
    known = sorted(it.name for it in operation.parameters if it.place == "query")
    told = f"known are {', '.join(known)}" if known else "there are none here"

    async def asked(request: Request) -> Response:
        unknown = next((name for name in request.query_params if name not in known), None)
        if unknown is not None:
            raise Unreadable(f"no query parameter {unknown[:_SHOWN_CHARS]!r}: {told}")
        return await endpoint(request)

    return asked


def described(
    method: Method, path: str, endpoint: Endpoint, operation: Operation
) -> DescribedRoute:
    """Raises ValueError where the description tells of another path."""
    return DescribedRoute(method, path, endpoint, operation)
