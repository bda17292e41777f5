"""HTTP/1.1 as bytes: a request out, one answer in. No sockets, so that the sync and the async
client share it. Parsed by httptools (2 µs an answer; see docs/decisions/0011-python-client.md)."""

from collections.abc import Mapping
from urllib.parse import urlsplit

import httptools

from trialbus.client.calls import JSON_TYPE, Answer, Call
from trialbus.client.failures import Unavailable
from trialbus.client.traced import with_trace


class Base:
    """Where a gateway is: `http(s)://host[:port][/prefix]`. Raises ValueError."""

    def __init__(self, url: str, token: str | None = None) -> None:
        parts = urlsplit(url if "//" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no address of a gateway: http://HOST:PORT")
        if token is not None and not (token.isascii() and token.isprintable()):
            raise ValueError("a token is one line of printable ASCII")
        self.url = url
        self.tls = parts.scheme == "https"
        self.host = parts.hostname
        self.port = parts.port or (443 if self.tls else 80)
        self._prefix = parts.path.rstrip("/")
        host = f"[{self.host}]" if ":" in self.host else self.host
        lines = [f"host: {host}:{self.port}", "accept: */*", "user-agent: trialbus-python"]
        if token is not None:
            lines.append(f"authorization: Bearer {token}")
        self._fixed = "".join(f"{line}\r\n" for line in lines)

    def request(self, call: Call) -> bytes:
        body = b"" if call.body is None else call.body
        headers: Mapping[str, str] = with_trace(call.headers)
        if call.body is not None:
            headers = {"content-type": JSON_TYPE, **headers, "content-length": str(len(body))}
        elif call.method != "GET":
            headers = {**headers, "content-length": "0"}
        own = "".join(f"{name}: {_line(value)}\r\n" for name, value in headers.items())
        head = f"{call.method} {self._prefix}{call.path} HTTP/1.1\r\n{self._fixed}{own}\r\n"
        return head.encode("ascii") + body


def _line(value: str) -> str:
    if not (value.isascii() and value.isprintable()):
        raise ValueError(f"{value!r:.80} cannot stand in a header")
    return value


class ResponseReader:
    """One answer: feed it what comes until `complete`."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._pieces: list[bytes] = []
        self.headers: dict[str, str] = {}
        self.has_head = False
        self.complete = False
        self.keeps_alive = False

    @property
    def status(self) -> int:
        return int(self._parser.get_status_code())

    def feed(self, data: bytes) -> None:
        """Raises Unavailable for what is no HTTP."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise Unavailable(f"what answers there does not speak HTTP: {error}") from error

    def end(self) -> None:
        """The connection was closed: some answers end so. Raises Unavailable for the others."""
        lengthless = not {"content-length", "transfer-encoding"} & self.headers.keys()
        self.complete = self.complete or (self.has_head and lengthless)
        if not self.complete:
            raise Unavailable("the connection broke off")

    def pieces(self) -> bytes:
        """What has come of the body since the last time."""
        taken, self._pieces = b"".join(self._pieces), []
        return taken

    def answer(self) -> Answer:
        return Answer(status=self.status, body=self.pieces(), headers=self.headers)

    # What httptools calls ---------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.has_head = True
        self.keeps_alive = self._parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        self._pieces.append(data)

    def on_message_complete(self) -> None:
        if 100 <= self.status < 200:
            # An interim answer; the real one follows.
            self.headers, self.has_head = {}, False
        else:
            self.complete = True
