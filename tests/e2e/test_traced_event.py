"""A posted event's trace, from the pipeline's request through all services and the trials' own
processes to the end, collected as a collector would."""

import asyncio
import json
import urllib.request
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from trialbus.kernel.traces import parse_traceparent
from trialbus.testkit import wrapped
from trialbus.testkit.otlp_receiver import OtlpReceiver, ReceivedSpan, receiving_traces
from trialbus.testkit.real_stack import NAMESPACE, RealStack, experiment_object
from trialbus.testkit.waits import until
from trialbus.testkit.wrapped import Wrapped

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]

SERVICES = {
    f"trialbus-{name}"
    for name in (
        "gateway",
        "experiment",
        "suggestion",
        "trial-launcher",
        "metrics-collector",
        "early-stopping",
    )
}
# Told when they are over, under ids that everybody can derive; work beneath may outlast them.
LIFE = {"experiment", "suggestion", "trial", "run", "stopping verdict"}
CALLERS_SPAN = "00f067aa0ba902b7"
TRIALS = 3
# Milliseconds of the documents' times.
SLACK_S = 0.002


@pytest.fixture(scope="module")
def receiver() -> Iterator[OtlpReceiver]:
    with receiving_traces() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, receiver: OtlpReceiver) -> Iterator[RealStack]:
    """Every trace that begins in it is kept, too."""
    folder = tmp_path_factory.mktemp("traces")
    stack = RealStack(folder, trace_endpoint=receiver.endpoint, trace_ratio="1")
    try:
        stack.up()
        yield stack
    finally:
        stack.down()


def seen_by_trials(stack: RealStack, name: str) -> Path:
    return stack.folder / f"{name}.seen"


def event_of(stack: RealStack, name: str, **attributes: str) -> dict[str, Any]:
    """An experiment whose trials write down what they see of the trace, judged by a rule."""
    seen = seen_by_trials(stack, name)
    script = f'echo "$TRIALBUS_ATTEMPT ${{TRACEPARENT:-none}}" >> {seen}; echo loss={{x}}'
    object_ = experiment_object(
        name,
        ["sh", "-c", script],
        trials=TRIALS,
        parallel=2,
        stopping={"algorithmName": "medianstop"},
    )
    return {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": "/pipelines/7",
        "type": "io.trialbus.experiment.create.v1",
        "data": object_,
        **attributes,
    }


def post(stack: RealStack, events: Any, headers: Mapping[str, str]) -> Any:
    """Waits for the experiments' ends."""
    kind = "cloudevents-batch" if isinstance(events, list) else "cloudevents"
    request = urllib.request.Request(
        f"{stack.status.http}/v1/events?wait=90",
        data=json.dumps(events).encode(),
        headers={"content-type": f"application/{kind}+json", **headers},
    )
    with urllib.request.urlopen(request, timeout=100) as response:
        return json.load(response)


def new_trace() -> str:
    return uuid.uuid4().hex


def parents_missing(spans: Sequence[ReceivedSpan], *known: str) -> list[str]:
    there = {span.span_id for span in spans} | set(known)
    return [f"{span.service} {span.name}" for span in spans if span.parent_id not in there]


async def whole_trace(receiver: OtlpReceiver, trace: str, *known: str) -> list[ReceivedSpan]:
    """Once all of it has come: services send theirs every second, each at its own time."""

    def is_whole() -> bool:
        spans = receiver.trace(trace)
        ended = any(span.name == "experiment" for span in spans)
        trials = [span for span in spans if span.name == "trial"]
        told = SERVICES - {"trialbus-gateway"} <= {span.service for span in spans}
        whole = not parents_missing(spans, *known) and not links_missing(spans, trace)
        return told and ended and len(trials) == TRIALS and whole

    await until(is_whole, f"trace {trace} is whole", within_s=20.0)
    return receiver.trace(trace)


def links_missing(spans: Sequence[ReceivedSpan], trace: str) -> set[str]:
    """What was published and handled in this trace: either may be sent first."""
    handled = [span for span in spans if span.kind == "consumer"]
    linked = {link for span in handled for of, link in span.links if of == trace}
    return linked - {span.span_id for span in spans}


def check_times(spans: Sequence[ReceivedSpan]) -> None:
    by_id = {span.span_id: span for span in spans}
    for span in spans:
        assert span.ended_at >= span.started_at
        parent = by_id.get(span.parent_id)
        if parent is None:
            continue
        assert span.started_at >= parent.started_at - SLACK_S, (span, parent)
        waits = parent.name not in LIFE and span.name not in LIFE
        if waits:
            assert span.ended_at <= parent.ended_at + SLACK_S, (span, parent)


async def test_one_trace_follows_an_event_through_all_services_and_its_trials(
    stack: RealStack, receiver: OtlpReceiver
) -> None:
    trace = new_trace()
    told = post(
        stack,
        event_of(stack, "followed"),
        {"traceparent": f"00-{trace}-{CALLERS_SPAN}-01", "tracestate": "other=1"},
    )
    assert told["result"]["phase"] == "Succeeded"
    spans = await whole_trace(receiver, trace, CALLERS_SPAN)
    assert {span.service for span in spans} == SERVICES
    [request] = [span for span in spans if span.parent_id == CALLERS_SPAN]
    assert (request.name, request.kind) == ("POST /v1/events", "server")
    assert request.attributes["http.response.status_code"] == 200
    check_times(spans)
    kinds = {(span.kind, span.name.split(" ")[0]) for span in spans}
    # Store calls, requests over the bus with their answers, hops of events and their handling.
    assert kinds >= {
        ("client", "commit"),
        ("client", "get"),
        ("client", "request"),
        ("server", "answer"),
        ("producer", "publish"),
        ("consumer", "handle"),
        ("internal", "propose"),
    }
    handled = [span for span in spans if span.kind == "consumer"]
    ids = {span.span_id for span in spans}
    assert all(span.links and {link for _, link in span.links} <= ids for span in handled)
    [experiment] = [span for span in spans if span.name == "experiment"]
    trials = [span for span in spans if span.name == "trial"]
    assert {span.parent_id for span in trials} == {experiment.span_id}
    runs = [span for span in spans if span.name == "run"]
    assert {span.parent_id for span in runs} == {span.span_id for span in trials}
    lines = seen_by_trials(stack, "followed").read_text().splitlines()
    seen = [parse_traceparent(line.split(" ")[1]) for line in lines]
    assert sorted(it.span_id for it in seen if it) == sorted(span.span_id for span in runs)
    assert {it.trace_id for it in seen if it} == {trace}
    # What a run has reported is stored beneath it.
    collected = [span for span in spans if span.service == "trialbus-metrics-collector"]
    assert collected and all(
        any(above.name == "run" for above in ancestors(span, spans)) for span in collected
    )


def ancestors(span: ReceivedSpan, spans: Sequence[ReceivedSpan]) -> Iterator[ReceivedSpan]:
    by_id = {each.span_id: each for each in spans}
    above = by_id.get(span.parent_id)
    while above is not None:
        yield above
        above = by_id.get(above.parent_id)


async def test_each_event_of_a_batch_is_in_the_trace_that_it_names_with_a_link_to_the_request(
    stack: RealStack, receiver: OtlpReceiver
) -> None:
    traces = [new_trace(), new_trace()]
    events = [
        event_of(stack, f"batched-{number}", traceparent=f"00-{trace}-{CALLERS_SPAN}-01")
        for number, trace in enumerate(traces)
    ]
    answer = post(stack, events, {})
    assert [it["result"]["phase"] for it in answer["events"]] == ["Succeeded", "Succeeded"]
    linked: list[tuple[str, str]] = []
    for trace in traces:
        spans = await whole_trace(receiver, trace, CALLERS_SPAN)
        [taken] = [span for span in spans if span.parent_id == CALLERS_SPAN]
        assert (taken.service, taken.name) == ("trialbus-gateway", "event")
        assert SERVICES - {"trialbus-gateway"} < {span.service for span in spans}
        check_times(spans)
        linked += taken.links
    [request] = set(linked)
    await until(lambda: request in {(it.trace_id, it.span_id) for it in receiver.spans}, "its span")


async def test_what_its_caller_does_not_keep_leaves_no_span_anywhere(
    stack: RealStack, receiver: OtlpReceiver
) -> None:
    trace, later = new_trace(), new_trace()
    before = {span.trace_id for span in receiver.named("experiment")}
    unkept = {"traceparent": f"00-{trace}-{CALLERS_SPAN}-00"}
    told = post(stack, event_of(stack, "unkept"), unkept)
    assert told["result"]["phase"] == "Succeeded"
    # Whatever came before this one's end has come when all of a later one has.
    post(stack, event_of(stack, "kept"), {"traceparent": f"00-{later}-{CALLERS_SPAN}-01"})
    await whole_trace(receiver, later, CALLERS_SPAN)
    assert not receiver.trace(trace)
    assert {span.trace_id for span in receiver.named("experiment")} - before == {later}
    lines = seen_by_trials(stack, "unkept").read_text().splitlines()
    assert lines == ["1 none"] * TRIALS


async def test_an_experiment_that_nobody_else_traces_begins_a_trace_of_its_own(
    stack: RealStack, receiver: OtlpReceiver
) -> None:
    stack.apply(experiment_object("own", ["echo", "loss={x}"], trials=TRIALS))
    await stack.ended("own")

    def own() -> list[ReceivedSpan]:
        named = [
            it
            for it in receiver.named("experiment")
            if it.attributes["trialbus.experiment"] == "own"
        ]
        return [it for span in named[:1] for it in receiver.trace(span.trace_id)]

    await until(lambda: own() and not parents_missing(own(), ""), "its trace", within_s=20.0)
    [root] = [span for span in own() if span.parent_id == ""]
    assert (root.service, root.kind) == ("trialbus-gateway", "server")
    assert root.name == "PUT /v1/namespaces/{namespace}/experiments/{name}"
    assert NAMESPACE in {span.attributes.get("trialbus.namespace") for span in own()}


def post_to(stack: RealStack, path: str, body: Any, headers: Mapping[str, str]) -> Any:
    request = urllib.request.Request(
        f"{stack.status.http}{path}", data=json.dumps(body).encode(), headers=dict(headers)
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


@pytest.mark.skipif(wrapped.compiler() is None, reason="the wrapper is C: there is no compiler")
async def test_what_a_pods_wrapper_claims_and_ships_is_in_the_trace_of_its_trial(
    stack: RealStack, receiver: OtlpReceiver, tmp_path: Path
) -> None:
    """Without a cluster: a worker is given the trial, and runs it as a pod would."""
    trace = new_trace()
    object_ = experiment_object("shipped", ["none"], trials=1)
    del object_["spec"]["trialTemplate"]
    object_["metadata"]["annotations"] = {"trialbus.io/trials-by": "workers"}
    create = {**event_of(stack, "shipped"), "data": object_}
    told = {"content-type": "application/cloudevents+json"}
    parent = {"traceparent": f"00-{trace}-{CALLERS_SPAN}-01"}
    post_to(stack, "/v1/events", create, told | parent)
    words = f"/v1/namespaces/{NAMESPACE}/experiments/shipped"
    as_json = {"content-type": "application/json"}
    ask = {"id": "one", "wait": 30}
    [given] = (await asyncio.to_thread(post_to, stack, f"{words}/ask", ask, as_json))["trials"]
    run = parse_traceparent(given["traceparent"])
    assert run is not None and run.trace_id == trace
    more = {
        "TRIALBUS_TOKEN": "",
        "TRIALBUS_TRIAL": given["trial"],
        "TRIALBUS_ATTEMPT": str(given["attempt"]),
        "TRACEPARENT": given["traceparent"],
    }
    pod = Wrapped(wrapped.build(tmp_path), tmp_path, str(stack.status.http), more)
    ended = await asyncio.to_thread(pod.shell, "echo loss=0.25")
    assert (ended.code, ended.told["error"]) == (0, "")
    assert ended.told["stored"] == ended.told["total"] > 0
    result = {"trial": given["trial"], "attempt": given["attempt"], "reported": True}
    await asyncio.to_thread(post_to, stack, f"{words}/tell", {"results": [result]}, as_json)
    await stack.ended("shipped")

    def spans() -> list[ReceivedSpan]:
        return receiver.trace(trace)

    def is_whole() -> bool:
        named = {span.name for span in spans()}
        there = {"run", "experiment", f"{path}/claim", f"{path}/output", "commit chunks"} <= named
        return there and not parents_missing(spans(), CALLERS_SPAN)

    path = "POST /v1/trials/{trial}/attempts/{attempt}"
    await until(is_whole, f"trace {trace} is whole", within_s=20.0)
    asked = [it for it in spans() if it.parent_id == run.span_id and it.kind == "server"]
    claim, *outputs = [(it.service, it.name) for it in asked]
    assert claim == ("trialbus-gateway", f"{path}/claim")
    # On a busy machine the wrapper ships before the end, too.
    assert set(outputs) == {("trialbus-gateway", f"{path}/output")}
    # What was shipped is stored beneath the run, as on one machine.
    stored = [
        it
        for it in spans()
        if (it.service, it.name) == ("trialbus-metrics-collector", "commit chunks")
    ]
    above = [{it.span_id for it in ancestors(span, spans())} for span in stored]
    assert above and all(run.span_id in ids for ids in above)
    check_times(spans())
