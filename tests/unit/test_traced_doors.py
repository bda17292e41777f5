"""The doors of the system and the Python client: whose trace a request is in."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from trialbus.adapters.grpc import call, handlers_of, open_channel, serving_grpc
from trialbus.adapters.opentelemetry.tracing import SdkTracing
from trialbus.client import http1, traced
from trialbus.client.calls import Call
from trialbus.contracts.stubs import workers_pb2
from trialbus.contracts.work import WorkReply
from trialbus.kernel.limits import TRACED_CHUNKS
from trialbus.kernel.traces import TraceContext
from trialbus_gateway.adapters.event_ingress import EventIngress
from trialbus_gateway.adapters.http_metrics import ROUTE
from trialbus_gateway.adapters.traced_requests import TracedRequests
from trialbus_gateway.app.ingress import Worked

A = TraceContext(trace_id="a" * 32, span_id="1" * 16)
B = TraceContext(trace_id="b" * 32, span_id="2" * 16)
NONE: Mapping[str, str] = {}
UNSAMPLED = TraceContext(trace_id="c" * 32, span_id="3" * 16, sampled=False)


class Tracer:
    def __init__(self, ratio: float = 0.0) -> None:
        self._exporter = InMemorySpanExporter()
        self.tracing = SdkTracing("gateway", SimpleSpanProcessor(self._exporter), ratio=ratio)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()

    @property
    def told(self) -> list[tuple[str, str | None]]:
        return [
            (span.name, None if span.parent is None else f"{span.parent.span_id:016x}")
            for span in self.spans
        ]


# HTTP --------------------------------------------------------------------------------------------


async def ask(
    tracer: Tracer, path: str, headers: Mapping[str, str] | list[tuple[str, str]] = NONE
) -> None:
    async def answer(request: Request) -> Response:
        request.scope[ROUTE] = "/things/{name}"
        status = 503 if request.path_params["name"] == "away" else 200
        return PlainTextResponse("", status_code=status)

    app = Starlette(
        routes=[Route("/things/{name}", answer), Route("/metrics", lambda _: Response())],
        middleware=[Middleware(TracedRequests, tracing=tracer.tracing)],
    )
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        await client.get(path, headers=headers)


async def test_a_request_is_in_its_callers_trace_under_the_pattern_of_its_route() -> None:
    tracer = Tracer()
    await ask(tracer, "/things/secret-name?x=1", {"traceparent": str(A), "tracestate": "y=1"})
    [span] = tracer.spans
    assert tracer.told == [("GET /things/{name}", A.span_id)]
    assert span.kind.name == "SERVER" and span.status.is_unset
    assert dict(span.attributes or {}) == {
        "http.request.method": "GET",
        "http.route": "/things/{name}",
        "http.response.status_code": 200,
    }


async def test_an_answer_that_is_the_servers_fault_fails_its_span() -> None:
    tracer = Tracer()
    await ask(tracer, "/things/away", {"traceparent": str(A)})
    assert tracer.spans[0].status.description == "status 503"


async def test_what_is_no_context_is_no_parent_and_what_is_not_drawn_leaves_nothing() -> None:
    drawn, undrawn = Tracer(1.0), Tracer(0.0)
    twice = [("traceparent", str(A)), ("traceparent", str(B))]
    for tracer in (drawn, undrawn):
        await ask(tracer, "/things/a", {"traceparent": "nonsense"})
        await ask(tracer, "/things/a", twice)
        await ask(tracer, "/things/a", {"traceparent": str(UNSAMPLED)})
        await ask(tracer, "/nowhere")
        await ask(tracer, "/metrics", {"traceparent": str(A)})
    assert not undrawn.told
    assert drawn.told == [
        ("GET /things/{name}", None),
        ("GET /things/{name}", None),
        ("GET unmatched", None),
    ]


class Ingress:
    """Keeps the span that each event is taken in."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self.seen: list[TraceContext | None] = []

    async def take(self, _event: object) -> Worked:
        self.seen.append(self._tracer.tracing.current())
        return Worked(id="1", namespace="n", name="x", result=WorkReply(accepted=True))


async def post(tracer: Tracer, body: Any, kind: str, headers: Mapping[str, str]) -> Ingress:
    ingress = Ingress(tracer)
    routes = EventIngress(ingress, tracer.tracing).routes()  # type: ignore[arg-type]
    middleware = [Middleware(TracedRequests, tracing=tracer.tracing)]
    transport = httpx.ASGITransport(Starlette(routes=routes, middleware=middleware))
    headers = {"content-type": f"application/{kind}+json", **headers}
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        await client.post("/v1/events", content=json.dumps(body), headers=headers)
    return ingress


def event(**attributes: str) -> dict[str, str]:
    return {"specversion": "1.0", "id": "1", "source": "/ci", "type": "t", **attributes}


async def test_each_event_of_a_batch_is_in_the_trace_that_it_names() -> None:
    tracer = Tracer(1.0)
    events = [event(traceparent=str(A)), event(traceparent=str(UNSAMPLED)), event()]
    ingress = await post(tracer, events, "cloudevents-batch", {})
    taken, request = tracer.spans
    first, second, third = ingress.seen
    assert first is not None and first.trace_id == A.trace_id
    assert second == UNSAMPLED
    assert request.context is not None and third is not None
    assert third.span_id == f"{request.context.span_id:016x}"
    assert tracer.told[0] == ("event", A.span_id)
    assert [link.context.span_id for link in taken.links] == [request.context.span_id]


async def test_the_header_of_the_request_counts_before_the_events_attribute() -> None:
    tracer = Tracer()
    ingress = await post(tracer, event(traceparent=str(B)), "cloudevents", {"traceparent": str(A)})
    [seen] = ingress.seen
    assert seen is not None and seen.trace_id == A.trace_id
    assert [parent for _, parent in tracer.told] == [A.span_id]


# gRPC --------------------------------------------------------------------------------------------


async def test_a_call_is_in_the_trace_of_its_metadata_and_health_is_in_none() -> None:
    tracer = Tracer()
    seen: list[TraceContext | None] = []

    async def answer(_request: Any) -> workers_pb2.WorkReply:
        seen.append(tracer.tracing.current())
        return workers_pb2.WorkReply()

    names = ("Ask", "Report", "Heartbeat", "Tell", "Release")
    handlers = [handlers_of("Workers", dict.fromkeys(names, answer))]
    serving = serving_grpc(
        handlers, ready=lambda: True, host="127.0.0.1", port=0, tracing=tracer.tracing
    )
    async with serving as port, open_channel(f"127.0.0.1:{port}") as channel:
        ask = channel.unary_unary("/trialbus.v1.Workers/Ask")
        await ask(b"", metadata=(("traceparent", str(A)),), timeout=10)
        await call(channel, "Workers", "Ask", workers_pb2.AskRequest(), timeout_s=10)
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        await check(b"", metadata=(("traceparent", str(A)),), timeout=10)
    assert tracer.told == [("trialbus.v1.Workers/Ask", A.span_id)]
    assert seen[0] is not None and seen[0].trace_id == A.trace_id
    assert seen[1] is not None and not seen[1].sampled


# The Python client -------------------------------------------------------------------------------


def head_of(headers: Mapping[str, str] = NONE) -> str:
    request = http1.Base("http://gateway").request(
        Call(method="GET", path="/v1/status", headers=headers)
    )
    return request.decode()


def test_the_client_passes_the_current_span_on_before_the_environments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRACEPARENT", str(B))
    assert f"traceparent: {B}\r\n" in head_of()
    with Tracer().tracing.span("pipeline", parent=A):
        assert f"traceparent: 00-{A.trace_id}-" in head_of()
        assert f"traceparent: {UNSAMPLED}\r\n" in head_of({"traceparent": str(UNSAMPLED)})
    for wrong in ("", "nonsense\r\nx: y"):
        monkeypatch.setenv("TRACEPARENT", wrong)
        assert "traceparent" not in head_of()
    monkeypatch.delenv("TRACEPARENT")
    assert "traceparent" not in head_of()


def test_of_a_trial_that_talks_on_and_on_only_the_first_words_are_in_its_trace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRACEPARENT", f"00-{'d' * 32}-{'4' * 16}-01")
    told = [traced.traceparent() for _ in range(TRACED_CHUNKS + 5)]
    assert all(told[:TRACED_CHUNKS]) and told[TRACED_CHUNKS:] == [None] * 5


def test_a_client_in_a_trace_of_the_environment_loads_nothing_for_it(tmp_path: Path) -> None:
    program = (
        "import sys, trialbus\n"
        "from trialbus.client.traced import traceparent\n"
        "print(traceparent(), any(it.startswith('opentelemetry') for it in sys.modules))"
    )
    environ = {**os.environ, "TRACEPARENT": str(A)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.split() == [str(A), "False"]


async def test_tasks_of_one_client_each_pass_their_own_span_on() -> None:
    tracing = Tracer().tracing

    async def in_span(parent: TraceContext) -> str:
        with tracing.span("step", parent=parent):
            await asyncio.sleep(0)
            return head_of()

    first, second = await asyncio.gather(in_span(A), in_span(B))
    assert A.trace_id in first and B.trace_id in second
