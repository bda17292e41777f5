"""What containers wrote, as the log subresource gives it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.cluster.double import errors
from tests.cluster.double.calls import Call

Object = dict[str, Any]
Place = tuple[str, str]


def nano_timestamp(seconds: float) -> str:
    """RFC 3339 with nanoseconds, as the container runtime writes it."""
    whole = datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{int((seconds % 1) * 1e9):09d}Z"


def seconds_of(text: str) -> float:
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    except ValueError as error:
        raise errors.bad_request(f"invalid sinceTime: {text}") from error


@dataclass(slots=True)
class Book:
    """One container's output of one start. lines: when, and the bytes with their newline."""

    lines: list[tuple[float, bytes]] = field(default_factory=list)
    open_line: bytes = b""
    ended: bool = False
    waiting: set[asyncio.Event] = field(default_factory=set)

    def write(self, data: bytes, now: float) -> None:
        *whole, self.open_line = (self.open_line + data).split(b"\n")
        self.lines += [(now, line + b"\n") for line in whole]
        self._wake()

    def end(self, now: float) -> None:
        if self.open_line:
            self.lines.append((now, self.open_line))
            self.open_line = b""
        self.ended = True
        self._wake()

    def _wake(self) -> None:
        for event in self.waiting:
            event.set()


@dataclass(slots=True)
class Logs:
    """books: by the pod's uid and the container, oldest start first; two are kept."""

    now: Callable[[], float]
    books: dict[Place, list[Book]] = field(default_factory=dict)

    def begin(self, uid: str, container: str) -> Book:
        book = Book()
        self.books[uid, container] = [*self.books.get((uid, container), []), book][-2:]
        return book

    def drop(self, uid: str) -> None:
        for place in [place for place in self.books if place[0] == uid]:
            for book in self.books.pop(place):
                book.end(self.now())

    def read(self, call: Call, pod: Object | None) -> AsyncIterator[bytes] | None:
        """None: it has no node, where there could be any. Raises 404 and 400 at once."""
        if pod is None:
            raise errors.not_found("", "pods", call.name)
        container = _container(call, pod)
        if not pod["spec"].get("nodeName"):
            return None
        return _Reading(self._book(call, pod, container), call, self.now()).chunks()

    def _book(self, call: Call, pod: Object, container: str) -> Book:
        found = self.books.get((pod["metadata"]["uid"], container))
        name = pod["metadata"]["name"]
        if call.flag("previous"):
            if not found or len(found) < 2:
                text = f'previous terminated container "{container}" in pod "{name}" not found'
                raise errors.bad_request(text)
            return found[0]
        if not found:
            reason = _waiting_reason(pod, container)
            text = f'container "{container}" in pod "{name}" is waiting to start: {reason}'
            raise errors.bad_request(text)
        return found[-1]


def _container(call: Call, pod: Object) -> str:
    spec = pod["spec"]
    main = [c["name"] for c in spec["containers"]]
    init = [c["name"] for c in spec.get("initContainers") or ()]
    asked = call.query.get("container", "")
    name = pod["metadata"]["name"]
    if asked:
        if asked not in (*main, *init):
            raise errors.bad_request(f"container {asked} is not valid for pod {name}")
        return asked
    if len(main) > 1:
        choose = f"choose one of: [{' '.join(main)}]"
        if init:
            choose += f" or one of the init containers: [{' '.join(init)}]"
        text = f"a container name must be specified for pod {name}, {choose}"
        raise errors.bad_request(text)
    return str(main[0])


def _waiting_reason(pod: Object, container: str) -> str:
    status = pod.get("status") or {}
    for key in ("containerStatuses", "initContainerStatuses"):
        for told in status.get(key) or ():
            if told["name"] == container:
                return str(((told.get("state") or {}).get("waiting") or {}).get("reason", ""))
    return "ContainerCreating"


class _Reading:
    """One request's way through a book."""

    def __init__(self, book: Book, call: Call, now: float) -> None:
        query = call.query
        self.book, self.follow = book, call.flag("follow")
        self.stamps = call.flag("timestamps")
        self.left = _number(query.get("limitBytes"), "limitBytes", least=1)
        self.since = 0.0
        if text := query.get("sinceTime"):
            # Whole lines of that second count: RFC 3339 without fractions is what is sent.
            self.since = seconds_of(text)
        elif (back := _number(query.get("sinceSeconds"), "sinceSeconds", least=1)) is not None:
            self.since = now - back
        tail = _number(query.get("tailLines"), "tailLines", least=0)
        lines = len(book.lines) + bool(book.open_line)
        self.at = 0 if tail is None else max(0, lines - tail)
        # How much of the line that is still open went out already.
        self.of_open = 0

    async def chunks(self) -> AsyncIterator[bytes]:
        while True:
            event = asyncio.Event()
            chunk = self._next()
            if chunk:
                yield chunk
            if self.left == 0 or not self.follow or (self.book.ended and not chunk):
                return
            if chunk:
                continue
            self.book.waiting.add(event)
            try:
                if not self._pending():
                    await event.wait()
            finally:
                self.book.waiting.discard(event)

    def _pending(self) -> bool:
        return self.at < len(self.book.lines) or self.book.ended

    def _next(self) -> bytes:
        parts = []
        while self.at < len(self.book.lines):
            when, line = self.book.lines[self.at]
            self.at += 1
            if when >= self.since:
                parts.append(self._shown(when, line)[self.of_open :])
            self.of_open = 0
        if not self.follow and self.book.open_line:
            parts.append(self._shown(self.since, self.book.open_line))
        chunk = b"".join(parts)
        if self.left is not None:
            chunk = chunk[: self.left]
            self.left -= len(chunk)
        return chunk

    def _shown(self, when: float, line: bytes) -> bytes:
        return nano_timestamp(when).encode() + b" " + line if self.stamps else line


def _number(text: str | None, name: str, *, least: int) -> int | None:
    if text is None or text == "":
        return None
    try:
        value = int(text)
    except ValueError as error:
        raise errors.bad_request(f"invalid {name}: {text}") from error
    if value < least:
        message = f"Invalid value: {value}: must be greater than or equal to {least}"
        cause = errors.Cause(reason="FieldValueInvalid", field=name, message=message)
        raise errors.invalid("", "PodLogOptions", "", [cause])
    return value
