"""The gateway's HTTP API for commands: one connection, JSON, no dependencies.

The token of `TRIALBUS_TOKEN` goes with every request. Over https the gateway's certificate is
checked by the system's certificates, or those of `SSL_CERT_FILE`.
"""

import http.client
import json
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from trialbus.cli.failures import (
    FAILED,
    REFUSED,
    CommandFailed,
    NotFound,
    StackGone,
    Unreachable,
)
from trialbus.client.traced import with_trace
from trialbus.contracts.http_paths import complaints, experiment_path, path_of, query_of

__all__ = ["Api", "experiment_path", "path_of"]

Json = Any
TOKEN_VARIABLE = "TRIALBUS_TOKEN"
CONNECT_TIMEOUT_S = 5.0
REQUEST_TIMEOUT_S = 30.0
BLOCK_BYTES = 1024 * 1024
PAGE_ITEMS = 500
_GONE = (OSError, http.client.HTTPException)


class Api:
    """base: http://host:port. remedy: what to do when nobody answers there. has_ended: whether
    its stack is known to be gone for good."""

    def __init__(
        self, base: str, *, remedy: str, has_ended: Callable[[], bool] = lambda: False
    ) -> None:
        parts = urlsplit(base if "//" in base else f"//{base}")
        if parts.scheme not in ("", "http", "https") or not parts.hostname:
            raise CommandFailed(f"{base} is no address of a stack: http://HOST:PORT", REFUSED)
        self._is_secure = parts.scheme == "https"
        port = parts.port or (443 if self._is_secure else 80)
        self.base = f"{parts.scheme or 'http'}://{parts.hostname}:{port}"
        self._address = (parts.hostname, port)
        self._token = os.environ.get(TOKEN_VARIABLE, "")
        self._prefix = parts.path.rstrip("/")
        self._remedy = remedy
        self._has_ended = has_ended
        self._connection: http.client.HTTPConnection | None = None

    def get(self, path: str, **query: str | int | None) -> Json:
        return self.call("GET", path + query_of(query))

    def items(self, path: str, **query: str | int | None) -> Iterator[Json]:
        """All of a list, page by page."""
        after: str | None = None
        while True:
            page = self.get(path, limit=PAGE_ITEMS, after=after, **query)
            yield from page["items"]
            after = page.get("next")
            if not after:
                return

    def call(self, method: str, path: str, body: Json = None) -> Json:
        """The answer's JSON. Raises NotFound, Unreachable, StackGone, or CommandFailed with the
        problems."""
        try:
            response = self._send(method, path, body)
            answer = response.read()
        except _GONE as error:
            self.close()
            raise self._unreachable(error) from error
        _refuse_unless_good(response.status, answer)
        return json.loads(answer) if answer else None

    def lines(self, path: str, **query: str | int | None) -> Iterator[str]:
        """The lines of an answer as they come. An end without a line end counts as a line."""
        rest = b""
        for block in self.blocks(path, **query):
            *whole, rest = (rest + block).split(b"\n")
            yield from (line.decode(errors="replace").rstrip("\r") for line in whole)
        if rest:
            yield rest.decode(errors="replace")

    def blocks(self, path: str, **query: str | int | None) -> Iterator[bytes]:
        """An answer as it comes. Raises Unreachable, StackGone when it breaks off."""
        with self._stream(path + query_of(query)) as response:
            # Not by lines: for those a connection that breaks off is an end like any other.
            while block := response.read1(BLOCK_BYTES):
                yield block

    def reach(self) -> None:
        """Raises Unreachable at once when nobody listens there."""
        try:
            self._connection = self._connection or self._connect()
        except OSError as error:
            raise self._unreachable(error) from error

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def _stream(self, path: str) -> Iterator[http.client.HTTPResponse]:
        connection = self._new_connection()
        try:
            self._open(connection)
            connection.request("GET", self._prefix + path, headers=self._headers())
            response = connection.getresponse()
            if response.status >= 400:
                _refuse_unless_good(response.status, response.read())
            # Only now: what is followed may be silent for hours.
            connection.sock.settimeout(None)
            yield response
        except _GONE as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()

    def _send(self, method: str, path: str, body: Json) -> http.client.HTTPResponse:
        data = None if body is None else json.dumps(body).encode()
        headers = self._headers() | ({} if data is None else {"Content-Type": "application/json"})
        if method != "GET":
            headers = dict(with_trace(headers))
        reused = self._connection is not None
        if self._connection is None:
            self._connection = self._connect()
        try:
            self._connection.request(method, self._prefix + path, data, headers)
            return self._connection.getresponse()
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            self.close()
            if not reused:
                raise
        # The server had closed the idle connection: the request did not reach it.
        return self._send(method, path, body)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    def _connect(self) -> http.client.HTTPConnection:
        connection = self._new_connection()
        self._open(connection)
        return connection

    def _new_connection(self) -> http.client.HTTPConnection:
        if self._is_secure:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(
                *self._address, timeout=CONNECT_TIMEOUT_S, context=context
            )
        return http.client.HTTPConnection(*self._address, timeout=CONNECT_TIMEOUT_S)

    def _open(self, connection: http.client.HTTPConnection) -> None:
        connection.connect()
        connection.sock.settimeout(REQUEST_TIMEOUT_S)
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _unreachable(self, error: Exception) -> CommandFailed:
        if self._has_ended():
            return StackGone(f"the stack at {self.base} has ended")
        return Unreachable([f"no stack answers at {self.base} ({error})", self._remedy])


def _refuse_unless_good(status: int, body: bytes) -> None:
    if status < 400:
        return
    lines = complaints(body) or [f"the gateway answered with status {status}"]
    if status == 404:
        raise NotFound(lines)
    if status == 401:
        raise CommandFailed([*lines, f"say who you are: {TOKEN_VARIABLE}, or --token"], REFUSED)
    if status == 503:
        raise Unreachable(lines)
    raise CommandFailed(lines, REFUSED if status < 500 else FAILED)
