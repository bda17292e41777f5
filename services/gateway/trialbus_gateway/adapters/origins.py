"""A browser must not become a stranger's arm: pages of other sites may not use this API.

An experiment is a command to run. A gateway on loopback trusts whoever reaches it, so it answers
only to loopback's own names (a name of somebody else's that leads here is refused), and takes no
change from a page that it did not serve itself.
"""

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from trialbus.kernel.addresses import is_loopback
from trialbus_gateway.adapters.failures import failure
from trialbus_gateway.adapters.http_metrics import REFUSED, ROUTE

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class OriginGuard:
    """listens_on: the address that the server was told to listen on."""

    def __init__(self, app: ASGIApp, listens_on: str) -> None:
        self._app = app
        self._on_loopback = is_loopback(listens_on)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reason = self._refusal(scope) if scope["type"] == "http" else None
        if reason is None:
            await self._app(scope, receive, send)
        else:
            scope[ROUTE] = REFUSED
            await failure(403, reason)(scope, receive, send)

    def _refusal(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if self._on_loopback and not is_loopback(_hostname(f"//{host}")):
            return f"this gateway answers to loopback's names only, not to {host[:100]!r}"
        if scope["method"] in _SAFE_METHODS or origin is None:
            return None
        if origin.partition("://")[2] != host:
            return f"pages of {origin[:100]!r} may not change anything here"
        return None


def _hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
