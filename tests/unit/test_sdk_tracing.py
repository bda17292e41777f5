"""The tracing port: on OpenTelemetry's SDK, and where it is off."""

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from trialbus.adapters.opentelemetry import current_ids, exporting, open_tracing
from trialbus.adapters.opentelemetry.exporting import BoundedQueue, PatientExporter
from trialbus.adapters.opentelemetry.tracing import SdkTracing
from trialbus.kernel.traces import TraceContext, run_span
from trialbus.ports.tracing import NoTracing, SpanKind
from trialbus.testkit.otlp_receiver import receiving_traces

CALLER = TraceContext(trace_id="4bf92f3577b34da6a3ce929d0e0e4736", span_id="00f067aa0ba902b7")
UNSAMPLED = TraceContext(trace_id=CALLER.trace_id, span_id=CALLER.span_id, sampled=False)


def traced(ratio: float = 1.0) -> tuple[SdkTracing, InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    return SdkTracing("trial_launcher", SimpleSpanProcessor(exporter), ratio=ratio), exporter


def names(exporter: InMemorySpanExporter) -> list[str]:
    return [span.name for span in exporter.get_finished_spans()]


def test_spans_nest_and_carry_what_is_said_of_them() -> None:
    tracing, exporter = traced()
    with tracing.span("outer", kind=SpanKind.SERVER, parent=CALLER, links=[UNSAMPLED]) as outer:
        here = tracing.current()
        with tracing.span("inner", attributes={"n": 1}):
            assert tracing.current() != here
        outer.note({"more": "yes"})
        outer.rename("renamed")
    inner, renamed = exporter.get_finished_spans()
    assert renamed.name == "renamed" and renamed.kind.name == "SERVER"
    assert renamed.parent is not None and f"{renamed.parent.span_id:016x}" == CALLER.span_id
    assert here is not None and renamed.context is not None
    assert (here.trace_id, here.span_id) == (CALLER.trace_id, f"{renamed.context.span_id:016x}")
    assert inner.parent == renamed.context
    assert dict(inner.attributes or {}) == {"n": 1}
    assert dict(renamed.attributes or {}) == {"more": "yes"}
    assert len(renamed.links) == 1
    assert renamed.resource.attributes["service.name"] == "trialbus-trial-launcher"


async def test_the_trace_that_is_kept_is_known_wherever_the_span_is_current() -> None:
    tracing, exporter = traced(ratio=1.0)
    other = asyncio.Event()

    async def elsewhere() -> str | None:
        await other.wait()
        return tracing.kept_trace()

    beside = asyncio.create_task(elsewhere())
    assert tracing.kept_trace() is None
    with pytest.raises(KeyError), tracing.span("outer", parent=CALLER):
        assert tracing.kept_trace() == CALLER.trace_id
        assert await asyncio.create_task(elsewhere_now(tracing)) == CALLER.trace_id
        with tracing.span("not drawn", parent=UNSAMPLED), tracing.span("in it"):
            assert tracing.kept_trace() is None
        with tracing.outside(), tracing.span("no root"):
            assert tracing.kept_trace() is None
        with tracing.span("inner"):
            assert tracing.kept_trace() == CALLER.trace_id
        raise KeyError("gone")
    assert tracing.kept_trace() is None
    other.set()
    assert await beside is None
    with tracing.span("root", root=True):
        here = tracing.current()
        assert here is not None
        assert tracing.kept_trace() == here.trace_id
    assert names(exporter) == ["inner", "outer", "root"]


async def elsewhere_now(tracing: SdkTracing) -> str | None:
    return tracing.kept_trace()


def test_an_exception_that_leaves_a_span_is_its_failure() -> None:
    tracing, exporter = traced()
    with pytest.raises(KeyError), tracing.span("work", root=True):
        raise KeyError("gone")
    [span] = exporter.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == "KeyError: 'gone'"


def test_no_span_has_the_secrets_of_what_failed() -> None:
    secret = "mongodb://user:hunter2@host/"
    tracing, exporter = traced()
    with pytest.raises(OSError, match="away"), tracing.span("raised", parent=CALLER):
        raise OSError(f"{secret} is away")
    with tracing.span("said", parent=CALLER) as said:
        said.fail(f"{secret} is away")
    tracing.record(
        "told",
        context=CALLER,
        parent=CALLER,
        started_at=1.0,
        ended_at=2.0,
        error=f"exit code 1: {secret} is away",
    )
    spans = exporter.get_finished_spans()
    cleaned = "mongodb://user:***@host/ is away"
    assert [it.status.description for it in spans] == [
        f"OSError: {cleaned}",
        cleaned,
        f"exit code 1: {cleaned}",
    ]
    assert "hunter2" not in "".join(it.to_json() for it in spans)


def test_without_a_parent_only_a_root_is_kept() -> None:
    tracing, exporter = traced()
    with tracing.span("nobody asked for it"):
        assert tracing.current() is None
    with tracing.span("begins", root=True):
        pass
    assert names(exporter) == ["begins"]


def test_what_is_not_sampled_is_current_and_leaves_nothing() -> None:
    """So nothing in it begins a trace of its own, and what it sends can say that none is kept."""
    tracing, exporter = traced()
    with tracing.span("asked for", parent=UNSAMPLED):
        assert tracing.current() == UNSAMPLED
        assert current_ids() is None
        with tracing.span("in it", root=True):
            pass
    undrawn, exporter_undrawn = traced(ratio=0.0)
    with undrawn.span("begins", root=True):
        inside = undrawn.current()
        assert inside is not None and not inside.sampled
        with undrawn.span("in it", root=True):
            pass
    assert not names(exporter) and not names(exporter_undrawn)
    assert tracing.current() is None


def test_roots_are_drawn_by_the_ratio_and_what_others_keep_is_kept() -> None:
    tracing, exporter = traced(ratio=0.25)
    for _ in range(2000):
        with tracing.span("root", root=True):
            pass
    assert 400 <= len(names(exporter)) <= 600
    exporter.clear()
    with tracing.span("of a caller", parent=CALLER):
        pass
    assert names(exporter) == ["of a caller"]


async def test_work_that_outlives_a_span_is_begun_outside_of_it() -> None:
    tracing, exporter = traced()
    gate = asyncio.Event()

    async def work() -> None:
        await gate.wait()
        with tracing.span("later"):
            pass

    with tracing.span("first", root=True):
        with tracing.outside():
            assert tracing.current() is None
            outside = asyncio.ensure_future(work())
        assert tracing.current() is not None
        inside = asyncio.ensure_future(work())
    gate.set()
    await asyncio.gather(outside, inside)
    assert names(exporter) == ["first", "later"]


def test_a_span_that_is_over_is_told_under_its_known_id_however_often() -> None:
    tracing, exporter = traced()
    known = run_span(CALLER, "u1", 3, 1)
    for _ in range(2):
        tracing.record(
            "run",
            context=known,
            parent=CALLER,
            started_at=1_700_000_000.25,
            ended_at=1_700_000_002.5,
            attributes={"exit": 1},
            error="exit code 1",
        )
    with tracing.span("another", parent=CALLER):
        pass
    first, second, another = exporter.get_finished_spans()
    assert first.context == second.context and first.context is not None
    assert f"{first.context.span_id:016x}" == known.span_id
    assert f"{first.context.trace_id:032x}" == CALLER.trace_id
    # As near as seconds in a float are.
    assert first.start_time == pytest.approx(1_700_000_000_250_000_000, abs=1000, rel=0)
    assert first.end_time == pytest.approx(1_700_000_002_500_000_000, abs=1000, rel=0)
    assert first.status.description == "exit code 1"
    assert another.context is not None and another.context.span_id != first.context.span_id
    tracing.record("run", context=known, parent=UNSAMPLED, started_at=1.0, ended_at=2.0)
    assert len(exporter.get_finished_spans()) == 3


def test_clocks_that_differ_make_no_span_that_ends_before_it_begins() -> None:
    tracing, exporter = traced()
    tracing.record("run", context=CALLER, parent=CALLER, started_at=5.0, ended_at=4.0)
    [span] = exporter.get_finished_spans()
    assert span.start_time == span.end_time


def test_spans_go_to_the_receiver_and_closing_waits_for_them() -> None:
    with receiving_traces() as receiver:
        tracing = open_tracing("gateway", endpoint=receiver.endpoint, ratio=1.0)
        with tracing.span("work", parent=CALLER, attributes={"n": 2}):
            pass
        tracing.close()
        [span] = receiver.spans
    assert (span.service, span.name, span.parent_id) == (
        "trialbus-gateway",
        "work",
        CALLER.span_id,
    )
    assert span.attributes == {"n": 2}


@pytest.mark.parametrize("silent", [False, True])
def test_a_receiver_that_is_away_or_silent_keeps_nobody_from_his_end(
    silent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Far longer than closing may take, on a busy machine too.
    monkeypatch.setattr(exporting, "_SEND_DEADLINE_S", 15.0)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if silent:
            listener.listen()
        port = listener.getsockname()[1]
        tracing = open_tracing("gateway", endpoint=f"http://127.0.0.1:{port}", ratio=1.0)
        began, worked = time.monotonic(), time.process_time()
        for _ in range(100):
            with tracing.span("work", root=True):
                pass
        assert time.process_time() - worked < 1.0
        tracing.close()
        assert time.monotonic() - began < 10


class Deaf(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.FAILURE


def test_a_receiver_that_takes_nothing_is_told_of_once_in_a_while() -> None:
    with structlog.testing.capture_logs() as lines:
        exporter = PatientExporter("http://nowhere/v1/traces", Deaf())
        for _ in range(50):
            assert exporter.export([]) is SpanExportResult.FAILURE
    assert [(it["event"], it["log_level"]) for it in lines] == [("traces are not taken", "warning")]


class Stuck(SpanExporter):
    """Takes what it is given once it is let."""

    def __init__(self) -> None:
        self.asked, self.let = threading.Event(), threading.Event()
        self.sent = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.asked.set()
        assert self.let.wait(30)
        self.sent += len(spans)
        return SpanExportResult.SUCCESS


def test_a_full_queue_is_told_of_and_what_was_in_it_is_sent() -> None:
    stuck = Stuck()
    with structlog.testing.capture_logs() as lines:
        exporter = PatientExporter("http://nowhere/v1/traces", stuck)
        queue = BoundedQueue(exporter, spans=4, batch=2, every_ms=60_000)
        tracing = SdkTracing("gateway", queue, ratio=1.0)

        def work(spans: int) -> None:
            for _ in range(spans):
                with tracing.span("work", root=True):
                    pass

        # Two are on their way, four wait.
        work(2)
        assert stuck.asked.wait(30)
        work(4)
        assert lines == []
        work(10)
        assert [(it["event"], it["dropped_spans"]) for it in lines] == [("traces are not taken", 1)]
        stuck.let.set()
        assert queue.force_flush()
        work(1)
        tracing.close()
    assert stuck.sent == 2 + 4 + 1
    assert len(lines) == 1


_OFF = """
import sys
from trialbus.local import hosting
from trialbus.adapters.opentelemetry import open_tracing
for name in ("gateway", "experiment", "trial_launcher"):
    hosting.load_definition(name)
tracing = open_tracing("gateway", endpoint="", ratio=1.0)
assert not tracing.on
print(*[name for name in sys.modules if name.startswith("opentelemetry")])
"""


def test_where_tracing_is_off_nothing_of_opentelemetry_is_loaded() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _OFF], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == ""


def test_tracing_that_is_off_takes_all_calls() -> None:
    off = NoTracing()
    with off.span("work", root=True) as span, off.outside():
        span.note({"n": 1})
        span.rename("other")
        span.fail("why")
        assert off.current() is None
    off.record("run", context=CALLER, parent=CALLER, started_at=0.0, ended_at=1.0)
    off.close()
