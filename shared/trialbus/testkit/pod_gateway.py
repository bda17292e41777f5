"""What a pod's wrapper talks to, without a gateway: a small HTTP server that keeps what is shipped,
holds the wrapper to the protocol, and fails as it is told to."""

import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

# slow: the answer comes late. lost: the request has its effect, and its answer never comes. reset:
# cut off before the request is read. cut: half an answer. flood: one without an end. A number: that
# status, and no effect; also with a body of its own.
Fault = Literal["slow", "lost", "reset", "cut", "chunked", "flood"] | int | tuple[int, bytes]
_SLOW_S = 0.3


@dataclass(slots=True)
class Asked:
    """One piece that came. at: monotonic."""

    start: int
    data: bytes
    final: bool
    note: str
    at: float


@dataclass(slots=True)
class PodGateway:
    """stream: what is stored; it begins at `base`. faults: of the next requests, one each. wrong:
    breaches of the protocol. traces: `claim` or `output`, and the headers `traceparent` of each
    request. passes_over: lines that are too long, of a file. stop, again: what the next answers
    say. refusal: status of all. instead: fields of answers to output that say something else."""

    base: int = 0
    stream: bytearray = field(default_factory=bytearray)
    final: bool = False
    holder: str = ""
    claims: list[dict[str, Any]] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    traces: list[tuple[str, list[str]]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    passes_over: bool = False
    stop: str = ""
    again: bool = False
    look_s: float = 10.0
    instead: dict[str, Any] = field(default_factory=dict)
    refusal: int = 0
    token: str = "secret"
    url: str = ""
    away: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _notes: int = 0

    @contextmanager
    def served(self, port: int = 0) -> Iterator["PodGateway"]:
        server = _Server(("127.0.0.1", port), _Handler)
        server.gateway = self
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=[0.02], daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> tuple[int, Any]:
        with self._lock:
            address = urlsplit(target)
            if method != "POST" or headers.get("authorization") != f"Bearer {self.token}":
                self.wrong.append(f"{method} {target} {headers}")
            traces = headers.get_all("traceparent", [])
            self.traces.append((address.path.rpartition("/")[2], traces))
            if self.refusal:
                return self.refusal, {"message": "not you", "problems": []}
            if address.path == "/v1/trials/tune-a/attempts/1/claim":
                return self._claim(json.loads(body))
            if address.path == "/v1/trials/tune-a/attempts/1/output":
                query = {name: value for name, [value] in parse_qs(address.query).items()}
                return self._take(query, body)
            self.wrong.append(target)
            return 404, {"message": "no such path", "problems": []}

    def _claim(self, said: dict[str, Any]) -> tuple[int, Any]:
        self.claims.append(said)
        self.holder = self.holder or said["holder"]
        if said["holder"] != self.holder:
            return 409, {"message": "another pod has it", "problems": []}
        return 200, {"stored_to": self.base + len(self.stream)}

    def _take(self, query: dict[str, str], data: bytes) -> tuple[int, Any]:
        start, final = int(query["from"]), query["final"] == "true"
        note = query.get("note", "")
        self.asked.append(Asked(start, data, final, note, time.monotonic()))
        if note not in ("", *(f"n{number}" for number in range(self._notes + 1))):
            self.wrong.append(f"note {note}")
        at = start - self.base
        if self.passes_over:
            self.stream += b"\n" * (at - len(self.stream))
        if not 0 <= at <= len(self.stream):
            self.wrong.append(f"a gap: from {start}, stored to {self.base + len(self.stream)}")
        elif len(data) > 128 * 1024:
            self.wrong.append(f"{len(data)} bytes")
        elif not self.final:
            if self.stream[at : at + len(data)] != data[: len(self.stream) - at]:
                self.wrong.append(f"other bytes at {start}")
            self.stream += data[len(self.stream) - at :]
        again, self.again = self.again and final, self.again and not final
        self.final = self.final or (final and not again)
        self._notes += 1
        return 200, {
            "stop": self.stop,
            "other": {"stored_to": [7, {"final": True}], "text": 'a "quoted", \\ {brace'},
            "note": f"n{self._notes}",
            "stored_to": self.base + len(self.stream),
            "final": self.final,
            "again": again,
            "look_s": self.look_s,
            **self.instead,
        }


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    gateway: PodGateway

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went is nobody's concern."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        gateway = self.server.gateway
        fault = gateway.faults.pop(0) if gateway.faults else None
        if gateway.away.is_set() or fault == "reset":
            self._reset()
            return
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if isinstance(fault, int):
            self._send(fault, b"<html>no JSON</html>")
            return
        if isinstance(fault, tuple):
            self._send(*fault)
            return
        if fault == "flood":
            self._flood()
            return
        status, answer = gateway.answer(self.command, self.path, self.headers, body)
        content = json.dumps(answer).encode()
        match fault:
            case "lost":
                self._reset()
            case "cut":
                self._send(status, content, cut=len(content) // 2)
                self._reset()
            case "chunked":
                self._send_chunked(status, content)
            case "slow":
                threading.Event().wait(_SLOW_S)
                self._send(status, content)
            case None:
                self._send(status, content)

    def _send(self, status: int, content: bytes, *, cut: int | None = None) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        if status == 302:
            self.send_header("location", "/elsewhere")
        self.end_headers()
        self.wfile.write(content[:cut])
        self.wfile.flush()

    def _send_chunked(self, status: int, content: bytes) -> None:
        self.send_response_only(103)
        self.end_headers()
        self.send_response(status)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for at in range(0, len(content), 7):
            piece = content[at : at + 7]
            self.wfile.write(b"%x;extension=1\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\ntrailer: yes\r\n\r\n")
        self.wfile.flush()

    def _flood(self) -> None:
        """Until nobody takes it."""
        self.close_connection = True
        self.wfile.write(b"HTTP/1.1 200 OK\r\nx: ")
        with suppress(OSError):
            while True:
                self.wfile.write(b"x" * 65536)

    def _reset(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:
        """Tests say what went wrong."""
