"""The first thing that a request meets: who is it, and is it one too many? And what every answer
carries for browsers."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trialbus.kernel.errors import Transient
from trialbus_gateway.adapters.access.door import Door
from trialbus_gateway.adapters.access.needs import NEEDS
from trialbus_gateway.adapters.access.needs import Scope as NeedScope
from trialbus_gateway.adapters.http_metrics import REFUSED, ROUTE
from trialbus_gateway.app import reach
from trialbus_gateway.app.failures import TooMany, Unauthenticated
from trialbus_gateway.core.identities import ANYBODY, Identity

# Where what goes on finds how to ask whether its caller is still welcome.
VISIT = "trialbus.visit"
_OPEN_PATHS = frozenset(path for path, it in NEEDS.items() if it.scope is NeedScope.OPEN)
# Answers are data: no page may be made of them, none may hold them.
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
# And what is one caller's own is not to be kept for others.
_PRIVATE_HEADERS = (*_HEADERS, (b"cache-control", b"no-store"))

# A failure as an answer, in the words of the API that the path belongs to.
Tell = Callable[[Request, Exception], Response]


class Visit:
    """One request of one caller."""

    def __init__(self, door: Door, identity: Identity, shown: list[str], address: str) -> None:
        self.door = door
        self.identity = identity
        self._shown = shown
        self._address = address

    async def is_welcome(self) -> bool:
        """Whether the same token would still open the door to the same. A server that is away
        changes nothing."""
        try:
            now = await self.door.identify(self._shown, self._address)
        except Unauthenticated:
            return False
        except (TooMany, Transient):
            return True
        return (now.role, now.namespaces) == (self.identity.role, self.identity.namespaces)


class AccessGuard:
    def __init__(self, app: ASGIApp, door: Door, tell: Tell) -> None:
        self._app = app
        self._door = door
        self._tell = tell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = _with_headers(send, private=self._door.asks)
        try:
            visit = await self._visit(scope)
        except (Unauthenticated, TooMany, Transient) as error:
            scope[ROUTE] = REFUSED
            await self._tell(Request(scope), error)(scope, receive, send)
            return
        scope[VISIT] = visit
        with reach.acting_as(visit.identity):
            await self._app(scope, receive, send)

    async def _visit(self, scope: Scope) -> Visit:
        address = (scope.get("client") or ("",))[0]
        if not self._door.asks or scope["path"] in _OPEN_PATHS:
            return Visit(self._door, ANYBODY, [], address)
        shown = [
            value.decode("latin-1") for name, value in scope["headers"] if name == b"authorization"
        ]
        identity = await self._door.identify(shown, address)
        self._door.admit(identity)
        return Visit(self._door, identity, shown, address)


def visit_of(scope: MutableMapping[str, Any]) -> Visit | None:
    """None: nobody asked who is calling."""
    return scope.get(VISIT)


def _with_headers(send: Send, *, private: bool) -> Callable[[Message], Awaitable[None]]:
    """What an answer says itself stays. private: it is one caller's own."""
    ours = _PRIVATE_HEADERS if private else _HEADERS

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            said = {name for name, _ in headers}
            headers += [header for header in ours if header[0] not in said]
            message = {**message, "headers": headers}
        await send(message)

    return sending
