"""HTTP with blocking sockets: connections are kept and shared by threads."""

import contextlib
import os
import socket
import ssl
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from trialbus.client.calls import Answer, Call, good
from trialbus.client.failures import Unavailable
from trialbus.client.http1 import Base, ResponseReader

CONNECT_TIMEOUT_S = 5.0
BLOCK_BYTES = 64 * 1024
MAX_IDLE_CONNECTIONS = 16
# Until a stream begins.
ANSWER_S = 30.0


class SyncHttp:
    answers_questions = True

    def __init__(self, base: Base) -> None:
        self._base = base
        self._idle: deque[socket.socket] = deque(maxlen=MAX_IDLE_CONNECTIONS)
        self._process = os.getpid()
        self._tls = ssl.create_default_context() if base.tls else None

    def send(self, call: Call, timeout_s: float) -> Answer:
        """Raises Unavailable."""
        data, deadline = self._base.request(call), time.monotonic() + timeout_s
        while (kept := self._take()) is not None:
            # A server closes what is idle for long: then this was not heard, and is said anew.
            with contextlib.suppress(_Unheard):
                return self._exchange(kept, data, deadline, fresh=False)
        return self._exchange(self._connect(deadline), data, deadline, fresh=True)

    @contextmanager
    def stream(self, call: Call, silence_s: float | None = None) -> Iterator[Iterator[bytes]]:
        """The body as it comes. Raises what the status means; Unavailable when it breaks off, or
        is silent for so long."""
        sock = self._connect(time.monotonic() + CONNECT_TIMEOUT_S)
        try:
            sock.settimeout(ANSWER_S)
            with _network():
                sock.sendall(self._base.request(call))
            reader = ResponseReader()
            while not reader.has_head:
                _receive(sock, reader)
            if reader.status >= 400:
                while not reader.complete:
                    _receive(sock, reader)
                good(reader.answer())
            sock.settimeout(silence_s)
            yield _pieces(sock, reader)
        finally:
            sock.close()

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _take(self) -> socket.socket | None:
        if self._process != os.getpid():
            # A fork shares its parent's connections: two would read one answer.
            self._idle.clear()
            self._process = os.getpid()
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _exchange(
        self, sock: socket.socket, data: bytes, deadline: float, *, fresh: bool
    ) -> Answer:
        reader, heard = ResponseReader(), False
        try:
            with _network():
                _limit(sock, deadline)
                sock.sendall(data)
                while not reader.complete:
                    _limit(sock, deadline)
                    heard = _receive(sock, reader) or heard
        except BaseException as error:
            sock.close()
            gone = isinstance(error, Unavailable) and not isinstance(error.__cause__, TimeoutError)
            if gone and not heard and not fresh:
                raise _Unheard from error
            raise
        if reader.keeps_alive and len(self._idle) < MAX_IDLE_CONNECTIONS:
            self._idle.append(sock)
        else:
            sock.close()
        return reader.answer()

    def _connect(self, deadline: float) -> socket.socket:
        base, left = self._base, max(deadline - time.monotonic(), 0.001)
        with _network(f"no stack answers at {base.url}"):
            address = (base.host, base.port)
            sock = socket.create_connection(address, timeout=min(left, CONNECT_TIMEOUT_S))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is None:
                return sock
            try:
                return self._tls.wrap_socket(sock, server_hostname=base.host)
            except BaseException:
                sock.close()
                raise


class _Unheard(Exception):
    """The connection was closed before it said anything."""


@contextmanager
def _network(what: str = "the connection failed") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(f"{what} ({error or type(error).__name__})") from error


def _limit(sock: socket.socket, deadline: float) -> None:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("no answer in time")
    sock.settimeout(left)


def _receive(sock: socket.socket, reader: ResponseReader) -> bool:
    """Whether anything came; else the connection was closed, which may be the answer's end."""
    with _network():
        data = sock.recv(BLOCK_BYTES)
    if data:
        reader.feed(data)
    else:
        reader.end()
    return bool(data)


def _pieces(sock: socket.socket, reader: ResponseReader) -> Iterator[bytes]:
    while True:
        if piece := reader.pieces():
            yield piece
        if reader.complete:
            return
        _receive(sock, reader)
