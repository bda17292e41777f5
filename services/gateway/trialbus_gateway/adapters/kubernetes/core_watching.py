"""Watches of Kubernetes' own kinds: one JSON object a line, for as long as the client listens."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from trialbus.kernel.errors import Transient
from trialbus_gateway.adapters.answers_json import to_json
from trialbus_gateway.adapters.bodies import count, flag
from trialbus_gateway.adapters.kubernetes.core_answers import CoreAnswers, CoreKind, Wanted
from trialbus_gateway.adapters.kubernetes.list_options import lasting_s
from trialbus_gateway.adapters.kubernetes.status_objects import (
    StatusFailure,
    expired,
    failure_of,
)
from trialbus_gateway.adapters.streams import LiveAnswer
from trialbus_gateway.app.failures import Expired, Unreadable

Object = dict[str, Any]

# How often a client hears up to where it has everything.
BOOKMARK_S = 30.0
_MAX_TIMEOUT_S = 999_999
_INITIAL_END = {"k8s.io/initial-events-end": "true"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """type: ADDED, MODIFIED or DELETED. view: None for a mere sign of life. version: up to here
    all has been told."""

    type: str = ""
    view: Object | None = None
    version: str = ""


def is_watch(request: Request) -> bool:
    return flag(request, "watch")


def begins_with_all(request: Request) -> bool:
    """Whether the client wants what is there first, as if it were added just now."""
    version = request.query_params.get("resourceVersion", "")
    return version in ("", "0") or flag(request, "sendInitialEvents")


class CoreWatch:
    """present: what is there, if the client wants it first. version: of that state. changes:
    whatever comes."""

    def __init__(
        self,
        answers: CoreAnswers,
        kind: CoreKind,
        wanted: Wanted,
        *,
        present: Sequence[Object],
        version: str,
        changes: AsyncGenerator[Told, None],
    ) -> None:
        self._answers = answers
        self._kind = kind
        self._wanted = wanted
        self._present = present
        self._version = version
        self._changes = changes
        self._columns = True

    def answer(self, request: Request) -> LiveAnswer:
        timeout_s = count(request, "timeoutSeconds", _MAX_TIMEOUT_S)
        bookmarks = flag(request, "allowWatchBookmarks")
        initial = flag(request, "sendInitialEvents")
        lines = self._lines(bookmarks=bookmarks, initial=initial)
        lines = _until(lines, lasting_s(timeout_s))
        return LiveAnswer(lines, "application/json;stream=watch", "watch")

    async def _lines(self, *, bookmarks: bool, initial: bool) -> AsyncGenerator[bytes, None]:
        """The first piece is empty: it brings the head of the answer on its way."""
        yield b""
        for view in self._present:
            if self._wanted.fits(view):
                yield self._line("ADDED", view)
        if initial:
            yield self._bookmark(self._version, _INITIAL_END)
        try:
            async with aclosing(self._changes):
                async for told in self._changes:
                    if told.view is not None:
                        if self._wanted.fits(told.view):
                            yield self._line(told.type, told.view)
                    elif bookmarks:
                        yield self._bookmark(told.version)
        except Expired as error:
            yield _error(expired(str(error)))
        except (Transient, Unreadable) as error:
            yield _error(failure_of(error, self._kind.target()))

    def _line(self, type_: str, view: Object) -> bytes:
        form = self._wanted.form
        shown = self._answers.shown(self._kind, view, form, columns=self._columns)
        self._columns = False
        return to_json({"type": type_, "object": shown}) + b"\n"

    def _bookmark(self, version: str, annotations: dict[str, str] | None = None) -> bytes:
        metadata: Object = {"resourceVersion": version}
        if annotations:
            metadata["annotations"] = annotations
        view = {"apiVersion": self._kind.api_version, "kind": self._kind.kind, "metadata": metadata}
        return to_json({"type": "BOOKMARK", "object": view}) + b"\n"


def _error(failure: StatusFailure) -> bytes:
    return to_json({"type": "ERROR", "object": failure.to_json()}) + b"\n"


async def _until(
    lines: AsyncGenerator[bytes, None], timeout_s: float
) -> AsyncGenerator[bytes, None]:
    """Ends after the timeout, between two lines."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    async with aclosing(lines):
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    line = await anext(lines, None)
            except TimeoutError:
                return
            if line is None:
                return
            yield line
