"""One open watch: from a version on, without a gap, until somebody ends it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from pydantic_core import to_json
from tests.cluster.double import errors
from tests.cluster.double.calls import Call
from tests.cluster.double.faults import Fault
from tests.cluster.double.reading import encoded, predicate
from tests.cluster.double.selectors import Predicate
from tests.cluster.double.state import Event, Shelf, State, Stored, event_line

Object = dict[str, Any]
Encode = Callable[[Call, Stored], bytes]
# A real server sends one about once a minute, and shortly before it ends a watch, if there was any
# change of the kind since; this one in any case.
BOOKMARK_EVERY_S = 60.0
_INITIAL_END = "k8s.io/initial-events-end"


def _too_old(asked: int, oldest: int) -> bytes:
    error = errors.expired(f"too old resource version: {asked} ({oldest})")
    return event_line("ERROR", to_json(error.status))


class Watch:
    """Lines wait in `pending` until the connection takes them."""

    def __init__(self, state: State, shelf: Shelf, call: Call, encode: Encode) -> None:
        self.state, self.shelf, self.call, self.encode = state, shelf, call, encode
        self.keep: Predicate | None = predicate(call)
        self.namespace = None if call.all_namespaces else call.namespace
        self.pending: list[bytes] = []
        self.sent = 0
        self.closed = False
        self._wake, self._end = asyncio.Event(), asyncio.Event()
        self.plain = encode is encoded and call.version.name == call.kind.storage

    # -- what it starts with

    def begin(self) -> None:
        """The first lines. Raises 400 and 422 before anything is sent."""
        query = self.call.query
        asked = query.get("resourceVersion", "")
        initial = self.call.flag("sendInitialEvents")
        if initial and query.get("resourceVersionMatch") != "NotOlderThan":
            text = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            cause = errors.Cause(
                reason="FieldValueForbidden", field="resourceVersionMatch", message=text
            )
            raise errors.invalid("meta.k8s.io", "ListOptions", "", [cause])
        if asked and not asked.isdigit():
            raise errors.bad_request(f"invalid resource version: {asked}")
        if initial or asked in ("", "0"):
            if int(asked or 0) > self.state.version:
                raise errors.too_large_version(int(asked), self.state.version)
            self._current(bookmark=initial)
        elif int(asked) < self.shelf.compacted:
            self.pending.append(_too_old(int(asked), self.shelf.compacted))
            self.closed = True
            return
        else:
            self._since(int(asked))
        self.shelf.watchers.append(self.on_event)

    def _current(self, *, bookmark: bool) -> None:
        for stored in self.shelf.in_order(self.namespace):
            if self.keep is None or self.keep(stored.obj):
                self.pending.append(event_line("ADDED", self.encode(self.call, stored)))
        if bookmark and self.call.flag("allowWatchBookmarks"):
            self.bookmark({_INITIAL_END: "true"})

    def _since(self, version: int) -> None:
        events = []
        for event in reversed(self.shelf.log):
            if event.stored.version <= version:
                break
            events.append(event)
        for event in reversed(events):
            self.on_event(event)

    # -- what comes

    def on_event(self, event: Event) -> None:
        line = self._line(event)
        if line is not None:
            self.pending.append(line)
            self._wake.set()

    def _line(self, event: Event) -> bytes | None:
        """As this watch sees it: what leaves its selection is deleted, what enters it is added."""
        obj = event.stored.obj
        if self.namespace is not None and obj["metadata"].get("namespace", "") != self.namespace:
            return None
        if self.keep is None:
            if self.plain:
                return event.line
            return event_line(event.happened, self.encode(self.call, event.stored))
        now = event.happened != "DELETED" and self.keep(obj)
        before = event.previous is not None and self.keep(event.previous.obj)
        if now:
            if self.plain and before == (event.happened == "MODIFIED"):
                return event.line
            kind = "MODIFIED" if before else "ADDED"
            return event_line(kind, self.encode(self.call, event.stored))
        if not before:
            return None
        return event_line("DELETED", self.encode(self.call, event.stored))

    def bookmark(self, annotations: dict[str, str] | None = None) -> None:
        meta: Object = {"resourceVersion": str(self.state.version), "creationTimestamp": None}
        if annotations:
            meta["annotations"] = annotations
        body = {
            "kind": self.call.kind.kind,
            "apiVersion": self.call.kind.api_version(self.call.version.name),
            "metadata": meta,
        }
        self.pending.append(event_line("BOOKMARK", to_json(body)))
        self._wake.set()

    def end(self) -> None:
        self.closed = True
        self._end.set()
        self._wake.set()

    # -- what the connection takes

    async def lines(self, fault: Fault | None, bookmark_every_s: float) -> AsyncIterator[bytes]:
        """Chunks of whole lines, until the timeout, the end, or what the fault says."""
        loop = asyncio.get_running_loop()
        timeout = float(self.call.query.get("timeoutSeconds") or 3600)
        deadline = loop.time() + timeout
        bookmarks = self.call.flag("allowWatchBookmarks")
        next_bookmark = loop.time() + bookmark_every_s
        try:
            while True:
                if self.pending or (fault is not None and fault.after_events <= self.sent):
                    chunk, faulty = self._taken(fault)
                    if chunk:
                        yield chunk
                    if faulty:
                        if fault is not None and fault.kind == "watch-silent":
                            await self._silence(max(0.0, deadline - loop.time()))
                        return
                if self.closed and not self.pending:
                    return
                now = loop.time()
                if now >= deadline:
                    return
                if bookmarks and now >= next_bookmark:
                    next_bookmark = now + bookmark_every_s
                    self.bookmark()
                    continue
                until = min(deadline, next_bookmark) if bookmarks else deadline
                await self._more(until - now)
                if bookmarks and loop.time() >= deadline and not self.pending:
                    self.bookmark()
                    deadline = loop.time()
        finally:
            self.detach()

    async def _silence(self, within_s: float) -> None:
        """Nothing more is said, whatever happens."""
        self.detach()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._end.wait(), within_s)

    async def _more(self, within_s: float) -> None:
        self._wake.clear()
        if self.pending or self.closed:
            return
        handle = asyncio.get_running_loop().call_later(within_s, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            handle.cancel()

    def _taken(self, fault: Fault | None) -> tuple[bytes, bool]:
        """What is sent now, and whether the fault strikes after it."""
        lines, self.pending = self.pending, []
        if fault is None:
            self.sent += len(lines)
            return b"".join(lines), False
        left = fault.after_events - self.sent
        self.sent += len(lines)
        if len(lines) < left:
            return b"".join(lines), False
        lines = lines[: max(0, left)]
        if fault.kind == "watch-gone":
            lines.append(_too_old(1, self.state.version))
        return b"".join(lines), True

    def detach(self) -> None:
        if self.on_event in self.shelf.watchers:
            self.shelf.watchers.remove(self.on_event)
