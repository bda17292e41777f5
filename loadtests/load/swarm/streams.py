"""People who follow an experiment by server-sent events."""

import http.client
import json
import socket
import time
from contextlib import suppress
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import urlsplit

import gevent

from loadtests.load.people import TOLD_LATER
from loadtests.load.recent import Recent
from loadtests.load.swarm.http_people import LOOK_S, Caller

# The gateway says something at least so often, whatever happens.
SILENCE_S = 60.0
_OPEN: set[socket.socket] = set()


def hang_up() -> None:
    """Every stream ends."""
    for connection in list(_OPEN):
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


class Follower(Caller):
    """Measures from each event's own time to its coming; what happened before it came does not
    count."""

    abstract = True

    def follow(self) -> None:
        if not self.seat.is_open:
            gevent.sleep(LOOK_S)
            return
        address = urlsplit(self.host)
        connection = http.client.HTTPConnection(
            str(address.hostname), address.port, timeout=SILENCE_S
        )
        began = time.time()
        try:
            connection.request("GET", self.seat.path(self.name, "events?follow=true"))
            answer = connection.getresponse()
            ok = answer.status == http.client.OK
            self._tell("stream opened", began, None if ok else f"HTTP {answer.status}")
            if ok and connection.sock is not None:
                self._read(connection.sock, answer, began)
        except (OSError, http.client.HTTPException) as error:
            if self.seat.is_open:
                self._tell("stream broken", time.time(), str(error) or type(error).__name__)
        finally:
            connection.close()
        # Experiments end; so do streams when a gateway goes.
        if self.seat.is_open:
            self.name = self.seat.next_name()
            gevent.sleep(LOOK_S)

    def _read(
        self, connection: socket.socket, answer: http.client.HTTPResponse, began: float
    ) -> None:
        recent = Recent()
        _OPEN.add(connection)
        try:
            while line := answer.readline():
                if not line.startswith(b"data: "):
                    continue
                event = json.loads(line[6:])
                at = datetime.fromisoformat(event["time"]).timestamp()
                timely = event["type"] not in TOLD_LATER
                if recent.is_new(event["id"]) and at > began and timely:
                    self._tell("event streamed", at, None)
        finally:
            _OPEN.discard(connection)

    def _tell(self, name: str, since: float, problem: str | None) -> None:
        self.environment.events.request.fire(
            request_type="SSE",
            name=name,
            response_time=max(0.0, time.time() - since) * 1000,
            response_length=0,
            exception=None if problem is None else RuntimeError(problem),
            context={},
        )

    tasks: ClassVar[list[Any]] = [follow]
