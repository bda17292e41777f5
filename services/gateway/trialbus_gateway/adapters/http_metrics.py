"""What is seen of every HTTP request, whatever answers it: which route, how, how soon."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from http import HTTPStatus
from typing import Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Where whoever takes a request leaves the pattern of its path, and how to tell of a stream.
ROUTE = "trialbus.route"
STREAMING = "trialbus.streaming"
# Of what no route took: a path or a method that there is not.
UNMATCHED = "unmatched"
# Turned away before a route was looked for.
REFUSED = "refused"
# Passed on to the API server of a cluster.
CLUSTER = "cluster"

# `events`, `watch` or `log`; the stream is open while the context is.
Streaming = Callable[[str], AbstractContextManager[None]]
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# As text, made once. Of an answer that never came, because its client left: 0.
_CODES = {0: "0", **{int(status): str(int(status)) for status in HTTPStatus}}


class HttpObserver(Protocol):
    def began(self) -> float:
        """A request has come: the time, for `answered`."""

    def answered(self, began: float, route: str, method: str, code: str) -> None:
        """Its answer begins. All three have few values, whatever clients send."""

    def streaming(self, kind: str) -> AbstractContextManager[None]:
        """While an answer of this kind goes on."""


class Observing:
    """In front of all others. What the server itself refuses (a head that is too large or too
    slow) never comes by here."""

    def __init__(self, app: ASGIApp, observer: HttpObserver) -> None:
        self._app = app
        self._observer = observer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        observer = self._observer
        began, is_answered = observer.began(), False

        def answered(code: int) -> None:
            nonlocal is_answered
            is_answered = True
            method = scope["method"]
            observer.answered(
                began,
                scope.get(ROUTE, UNMATCHED),
                method if method in _METHODS else "other",
                _CODES.get(code, "other"),
            )

        async def sending(message: Message) -> None:
            if not is_answered and message["type"] == "http.response.start":
                answered(message["status"])
            await send(message)

        scope[STREAMING] = observer.streaming
        try:
            await self._app(scope, receive, sending)
        except Exception:
            # The application around this one tells it.
            if not is_answered:
                answered(500)
            raise
        finally:
            if not is_answered:
                answered(0)
