"""A trial that reports 0, 1, ... 29 as `loss`: WAY WHERE. It waits in between for a file `go`."""

import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

STEPS, WAIT_AFTER, INTERVAL_S = 30, 10, 0.05
way, where = sys.argv[1:]
shown, LAST = b"", b"loss %d\n" % (STEPS - 1)
seen = threading.Event()


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(shown)
        if shown == LAST:
            seen.set()

    def log_message(self, *_: object) -> None:
        pass


if way == "events":
    from tensorboardX import SummaryWriter

    writer = SummaryWriter(where, flush_secs=0.05)
elif way == "endpoint":
    server = HTTPServer(("127.0.0.1", int(where)), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
elif way == "file":
    log = Path(where).open("a", buffering=1)  # noqa: SIM115 - it ends with the process

for step in range(STEPS):
    while step == WAIT_AFTER and not Path("go").exists():
        time.sleep(INTERVAL_S)
    if way == "events":
        writer.add_scalar("loss", float(step), step)
    elif way == "endpoint":
        shown = b"loss %d\n" % step
    else:
        log.write(json.dumps({"loss": step}) + "\n")
    time.sleep(INTERVAL_S)

if way == "events":
    writer.close()
if way == "endpoint":
    # Whoever asks has its time to see the last value.
    seen.wait(60.0)
    time.sleep(INTERVAL_S)
os._exit(0)
