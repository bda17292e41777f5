"""An open watch over plain HTTP: events by line, in a thread of their own."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from tests.cluster.contract.targets import Target

from trialbus.testkit.waits import until_sync

Object = dict[str, Any]


class Watched:
    """events: what came so far. ended: the server closed it."""

    def __init__(self) -> None:
        self.events: list[Object] = []
        self.ended = threading.Event()
        self.open = threading.Event()

    def kinds(self) -> list[str]:
        return [event["type"] for event in self.events if event["type"] != "BOOKMARK"]

    def names(self, kind: str = "") -> list[str]:
        return [
            event["object"]["metadata"]["name"]
            for event in self.events
            if event["type"] != "BOOKMARK" and kind in ("", event["type"])
        ]

    def bookmarks(self) -> list[Object]:
        return [event["object"] for event in self.events if event["type"] == "BOOKMARK"]


def whole_watch(target: Target, path: str, **params: Any) -> Watched:
    """From its start to its end, which the server makes."""
    with watching(target, path, **params) as watched:
        within_s = target.deadline_s
        until_sync(watched.ended.is_set, f"the watch of {path} ends", within_s=within_s)
    return watched


@contextmanager
def watching(target: Target, path: str, **params: Any) -> Iterator[Watched]:
    """Open during the block. params: of the query; timeoutSeconds is longer than what is
    waited for may take, unless it is told."""
    watched = Watched()
    longest_s = int(target.deadline_s) + 30
    query = {"watch": "true", "timeoutSeconds": longest_s, **params}
    closing = threading.Event()
    answers: list[httpx.Response] = []

    def read() -> None:
        try:
            with target.http.stream("GET", path, params=query, timeout=longest_s + 30.0) as answer:
                answers.append(answer)
                watched.open.set()
                for line in answer.iter_lines():
                    if line:
                        watched.events.append(json.loads(line))
            watched.ended.set()
        except (httpx.HTTPError, httpx.StreamError):
            # What the end of the block does to a read that is going on.
            assert closing.is_set()

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    assert watched.open.wait(target.deadline_s), f"the watch of {path} did not open"
    try:
        yield watched
    finally:
        closing.set()
        for stream in answers:
            connection = stream.extensions["network_stream"].get_extra_info("socket")
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        thread.join(target.deadline_s)
