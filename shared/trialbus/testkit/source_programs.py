"""Trials for tests of metric sources: small programs that report in each of the ways.

A program does one step for each `stage.step(n)`, and ends at the step after its last one.
"""

from trialbus.kernel.spec import (
    CollectorKind,
    MetricsCollectorSpec,
    MetricsEndpoint,
    MetricsFormat,
    MetricsPath,
    PathKind,
)
from trialbus.testkit.source_stage import SourceStage

LOG = "/var/log/katib/metrics.log"
EVENTS = "/var/log/katib/tfevent/"

EVENTS_COLLECTOR = MetricsCollectorSpec(
    kind=CollectorKind.TENSORFLOW_EVENT, path=MetricsPath(path=EVENTS, kind=PathKind.DIRECTORY)
)
SCRAPING = MetricsCollectorSpec(
    kind=CollectorKind.PROMETHEUS_METRIC, endpoint=MetricsEndpoint(port=8080, path="/metrics")
)

TEXT_WRITER = """
log = open(sys.argv[1], "a", buffering=1)
print("the output stays in the log")
for n, line in enumerate({lines!r}):
    step(n)
    log.write(line + "\\n")
step({steps})
"""
EVENT_WRITER = """
from tensorboardX import SummaryWriter
writers = {{}}
for n, (folder, tag, value, at) in enumerate({scalars!r}):
    step(n)
    path = os.path.join(sys.argv[1], folder)
    if path not in writers:
        writers[path] = SummaryWriter(path, flush_secs=0.02)
    writers[path].add_scalar(tag, value, n, walltime=at)
step({steps})
for writer in writers.values():
    writer.close()
"""
SERVER = """
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
body = b""
class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        print(self.path, flush=True)
        self.send_response(200 if self.path == "/metrics" else 404)
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words):
        pass
server = HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer)
for n, text in enumerate({texts!r}):
    step(n)
    body = text.encode()
    if n == 0:
        threading.Thread(target=server.serve_forever, daemon=True).start()
step({steps})
"""


def file_collector(format_: MetricsFormat, *filters: str) -> MetricsCollectorSpec:
    path = MetricsPath(path=LOG, kind=PathKind.FILE, format=format_)
    return MetricsCollectorSpec(kind=CollectorKind.FILE, path=path, filters=filters)


def text_writer(stage: SourceStage, *lines: str) -> tuple[str, ...]:
    return (*stage.program(TEXT_WRITER.format(lines=lines, steps=len(lines))), LOG)


def event_writer(stage: SourceStage, *scalars: tuple[str, str, float, float]) -> tuple[str, ...]:
    return (*stage.program(EVENT_WRITER.format(scalars=scalars, steps=len(scalars))), EVENTS)


def server(stage: SourceStage, *texts: str) -> tuple[str, ...]:
    """Serves these texts, one after the other."""
    program = stage.program(SERVER.format(texts=texts, steps=len(texts)))
    return (*program, "$(TRIALBUS_METRICS_PORT)")


def custom(stage: SourceStage, code: str) -> MetricsCollectorSpec:
    arguments = [LOG, "$(TRIALBUS_GRPC_ADDRESS)"]
    container = {"name": "c", "image": "none", "command": [*stage.program(code)], "args": arguments}
    path = MetricsPath(path=LOG, kind=PathKind.FILE)
    return MetricsCollectorSpec(kind=CollectorKind.CUSTOM, container=container, path=path)
