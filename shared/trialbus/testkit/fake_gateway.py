"""A gateway that says what a test wants, over real HTTP."""

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, Any]


class FakeGateway:
    """Answers by method and path; of a list of answers the last one repeats. A callable is
    called. Asked: what was asked, in order."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.asked: list[str] = []
        # The `Authorization` of each, "" without.
        self.shown: list[str] = []
        self.bodies: dict[str, Any] = {}
        self.on_ask: Callable[[str], None] = lambda _what: None
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def says(self, what: str, *answers: Answer) -> None:
        self.answers[what] = list(answers)

    def answer(self, what: str) -> Answer:
        self.asked.append(what)
        self.on_ask(what)
        known = self.answers.get(what) or [(404, {"message": f"no {what}"})]
        return known.pop(0) if len(known) > 1 else known[0]

    def _handler(gateway) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - two selves
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                what = f"{self.command} {self.path.partition('?')[0]}"
                gateway.shown.append(self.headers.get("Authorization", ""))
                length = int(self.headers.get("Content-Length", 0))
                gateway.bodies[what] = json.loads(self.rfile.read(length)) if length else None
                status, body = gateway.answer(what)
                data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_PUT = do_POST = do_DELETE = answer  # noqa: N815

            def log_message(self, *args: object) -> None:
                """Tests look at what was asked."""

        return Handler


@contextmanager
def serving_fake_gateway() -> Iterator[FakeGateway]:
    fake = FakeGateway()
    thread = threading.Thread(target=fake.server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield fake
    finally:
        fake.server.shutdown()
        thread.join()
        fake.server.server_close()


def command_code(gateway: FakeGateway, *arguments: str) -> int:
    """The exit code of a command that talks to it, run in this process."""
    from trialbus.cli.main import exit_code  # noqa: PLC0415 - what is not installed everywhere

    before = sys.argv
    sys.argv = ["trialbus", *arguments, "--url", gateway.url]
    try:
        return exit_code()
    finally:
        sys.argv = before
