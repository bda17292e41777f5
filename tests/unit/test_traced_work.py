"""Which trace a service's work and events belong to."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from trialbus.adapters.opentelemetry.tracing import SdkTracing
from trialbus.contracts.documents import EXPERIMENT, RUN
from trialbus.contracts.messages import Message, Request
from trialbus.kernel.conditions import set_condition
from trialbus.kernel.events import Event
from trialbus.kernel.experiment import Experiment, ExperimentPhase
from trialbus.kernel.limits import MAX_SPAN_LINKS, TRACED_CHUNKS, TRACED_TRIALS
from trialbus.kernel.run import Run, RunPhase
from trialbus.kernel.traces import TraceContext, experiment_span, run_span, trial_span
from trialbus.kernel.trial import Trial, TrialPhase
from trialbus.ports.bus import Answer
from trialbus.ports.tracing import NoTracing
from trialbus.runtime.clock import SystemClock
from trialbus.runtime.store_and_bus import ObservedBus
from trialbus.runtime.telemetry import Telemetry
from trialbus.runtime.traced import handling, told_in
from trialbus.testkit.memory_bus import MemoryBus
from trialbus.testkit.still_world import UID, experiment
from trialbus_experiment.app.spans import (
    commanded,
    created_in,
    in_trace,
    tell_experiment,
    tell_trials,
    with_told,
)
from trialbus_trial_launcher.adapters.local_process.spawn import base_environment
from trialbus_trial_launcher.app.run_spans import in_traces, tell_runs, trace_variables

A = TraceContext(trace_id="a" * 32, span_id="1" * 16)
B = TraceContext(trace_id="b" * 32, span_id="2" * 16)
UNSAMPLED = TraceContext(trace_id="c" * 32, span_id="3" * 16, sampled=False)


@dataclass
class Traced:
    tracing: SdkTracing
    exporter: InMemorySpanExporter

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    @property
    def told(self) -> list[tuple[str, str | None]]:
        """Name and parent of each span, in the order of their ends."""
        return [
            (span.name, None if span.parent is None else f"{span.parent.span_id:016x}")
            for span in self.spans
        ]


@pytest.fixture
def traced() -> Traced:
    exporter = InMemorySpanExporter()
    return Traced(SdkTracing("experiment", SimpleSpanProcessor(exporter), ratio=1.0), exporter)


@dataclass
class Hint:
    """Of a delivery what its handling looks at."""

    message: Message
    attempt: int = 1

    async def ack(self) -> None: ...
    async def retry(self, delay_s: float) -> None: ...
    async def bury(self, reason: str) -> None: ...


def hint(context: TraceContext | None) -> Hint:
    headers = {} if context is None else {"traceparent": str(context)}
    return Hint(Message(subject="s", data=b"", id="1", headers=headers))


def links_of(span: ReadableSpan) -> list[str]:
    return [f"{link.context.span_id:016x}" for link in span.links]


# Handling ----------------------------------------------------------------------------------------


def test_a_group_is_handled_in_the_first_traced_experiments_trace_with_links_to_all(
    traced: Traced,
) -> None:
    group = {"u0": [hint(None)], "u1": [hint(A), hint(A)], "u2": [hint(UNSAMPLED), hint(B)]}
    with handling(traced.tracing, "suggestion", group, {"u0": UNSAMPLED, "u3": B}):
        pass
    [span] = traced.spans
    assert traced.told == [("handle suggestion", experiment_span(A, "u1").span_id)]
    assert span.kind.name == "CONSUMER"
    assert links_of(span) == [A.span_id, B.span_id]
    attributes = dict(span.attributes or {})
    assert attributes["trialbus.experiments"] == 3
    assert attributes["messaging.batch.message_count"] == 5


def test_what_was_nudged_in_a_trace_is_handled_in_it(traced: Traced) -> None:
    with handling(traced.tracing, "experiment", {"u1": []}, {"u1": A}):
        pass
    assert traced.told == [("handle experiment", experiment_span(A, "u1").span_id)]


def test_what_nobody_traces_is_handled_without_a_span(traced: Traced) -> None:
    with handling(traced.tracing, "experiment", {"u1": [hint(None), hint(UNSAMPLED)]}, {}):
        assert traced.tracing.current() is None
    assert not traced.spans


def test_a_span_links_to_so_many_only(traced: Traced) -> None:
    many = [replace(A, span_id=f"{number:016x}") for number in range(1, MAX_SPAN_LINKS + 20)]
    with handling(traced.tracing, "experiment", {"u": [hint(it) for it in many]}, {}):
        pass
    assert len(traced.spans[0].links) == MAX_SPAN_LINKS


def event(**changes: str) -> Event:
    named = {"id": "e", "type": "trials.opened", "uid": UID, "namespace": "n", "experiment": "x"}
    return Event(at=1.0, **{**named, **changes})  # type: ignore[arg-type]


def test_an_event_is_told_in_the_current_span_of_its_own_experiments_trace(traced: Traced) -> None:
    with traced.tracing.span("handle", parent=A):
        here = traced.tracing.current()
        [own] = told_in([event()], traced.tracing, str(A), UID)
        [other] = told_in([event()], traced.tracing, str(B), UID)
        [kept] = told_in([event(traceparent="as it was")], traced.tracing, str(A), UID)
    assert own.traceparent == str(here)
    assert other.traceparent == str(experiment_span(B, UID))
    assert kept.traceparent == "as it was"


def test_events_of_what_nobody_traces_are_left_alone(traced: Traced) -> None:
    with traced.tracing.span("handle", parent=A):
        for traceparent in (None, str(UNSAMPLED)):
            assert told_in([event()], traced.tracing, traceparent, UID) == (event(),)
    # A service that does not trace passes on what others do.
    [told] = told_in([event()], NoTracing(), str(A), UID)
    assert told.traceparent == str(experiment_span(A, UID))


# The bus -----------------------------------------------------------------------------------------


async def ask(traced: Traced, subject: str, parent: TraceContext | None) -> Request:
    """The request as it comes to who answers it."""
    seen: list[Request] = []

    async def respond(requests: Sequence[Request]) -> Sequence[Answer]:
        seen.extend(requests)
        return [b"" for _ in requests]

    server = MemoryBus()
    bus = ObservedBus(server.client("us"), Telemetry("experiment", traced.tracing), SystemClock())
    async with bus.serve(subject, "them", respond, max_group=8):
        if parent is None:
            await bus.request(Request(subject=subject, data=b""), timeout_s=5.0)
        else:
            with traced.tracing.span("caller", parent=parent):
                await bus.request(Request(subject=subject, data=b""), timeout_s=5.0)
    return seen[0]


async def test_a_request_and_its_answer_are_one_chain_of_spans(traced: Traced) -> None:
    request = await ask(traced, "trialbus.v1.metric.n.x.t", A)
    answer, asked, caller = traced.spans
    assert [span.name for span in traced.spans] == ["answer metric", "request metric", "caller"]
    assert asked.context is not None and caller.context is not None
    assert [answer.parent, asked.parent] == [
        replace_remote(answer, asked.context.span_id),
        caller.context,
    ]
    assert request.headers["traceparent"].split("-")[1:3] == [
        A.trace_id,
        f"{asked.context.span_id:016x}",
    ]


def replace_remote(span: ReadableSpan, span_id: int) -> object:
    """The parent of a span that came in a header, which is remote."""
    assert span.parent is not None and span.parent.is_remote
    assert span.parent.span_id == span_id
    return span.parent


async def test_only_what_may_begin_a_trace_says_that_none_is_kept(traced: Traced) -> None:
    apply = await ask(traced, "trialbus.v1.cmd.n.x.apply", UNSAMPLED)
    assert apply.headers["traceparent"] == str(UNSAMPLED)
    metric = await ask(traced, "trialbus.v1.metric.n.x.t", UNSAMPLED)
    assert not metric.headers
    assert not (await ask(traced, "trialbus.v1.cmd.n.x.apply", None)).headers
    assert not traced.spans


# Commands ----------------------------------------------------------------------------------------

STRUCTURED = (
    b'{"specversion": "1.0", "id": "1", "source": "/ci", "type": "t", "traceparent": "%s"}'
    % str(A).encode()
)


@pytest.mark.parametrize(
    ("headers", "data"),
    [
        ({"traceparent": str(A)}, b"{}"),
        ({"Traceparent": str(A)}, b"{}"),
        ({"ce-specversion": "1.0", "ce-traceparent": str(A)}, b"{}"),
        ({"content-type": "application/cloudevents+json"}, STRUCTURED),
        ({"traceparent": str(A), "ce-traceparent": str(B)}, b"{}"),
    ],
)
def test_a_command_is_in_the_trace_that_its_message_or_its_event_names(
    traced: Traced, headers: dict[str, str], data: bytes
) -> None:
    request = Request(subject="trialbus.v1.cmd.n.x.create", data=data, headers=headers)
    with traced.tracing.span("group of another", parent=B), commanded(traced.tracing, request):
        state = created_in(traced.tracing, experiment(1))
    assert traced.told[0] == ("command create", A.span_id)
    assert state.traceparent is not None and A.trace_id in state.traceparent
    assert state.traceparent.split("-")[2] == f"{span_id(traced.spans[0]):016x}"


def span_id(span: ReadableSpan) -> int:
    assert span.context is not None
    found: int = span.context.span_id
    return found


def test_a_command_in_its_own_groups_trace_is_beneath_the_group(traced: Traced) -> None:
    request = Request(
        subject="trialbus.v1.cmd.n.x.stop", data=b"{}", headers={"traceparent": str(A)}
    )
    with traced.tracing.span("answer cmd", parent=A), commanded(traced.tracing, request):
        pass
    command, answer = traced.spans
    assert command.parent == answer.context


def test_a_command_that_nobody_traces_begins_a_trace_if_it_may_begin_an_experiment(
    traced: Traced,
) -> None:
    for verb in ("apply", "stop"):
        request = Request(subject=f"trialbus.v1.cmd.n.x.{verb}", data=b"{}")
        with traced.tracing.span("group of another", parent=B), commanded(traced.tracing, request):
            pass
    assert ("command apply", None) in traced.told
    assert not any(name == "command stop" for name, _ in traced.told)


def test_a_command_that_its_sender_does_not_keep_makes_an_experiment_without_a_trace(
    traced: Traced,
) -> None:
    headers = {"traceparent": str(UNSAMPLED)}
    request = Request(subject="trialbus.v1.cmd.n.x.apply", data=b"{}", headers=headers)
    with commanded(traced.tracing, request):
        state = created_in(traced.tracing, experiment(1))
    assert state.traceparent is None and not traced.spans


# Lives -------------------------------------------------------------------------------------------


def traced_experiment(**changes: object) -> Experiment:
    state = replace(experiment(1), traceparent=str(A), created_at=1000.0)
    return replace(state, **changes)  # type: ignore[arg-type]


def closed_trial(index: int) -> Trial:
    return Trial(
        id=f"{UID}.{index}",
        uid=UID,
        version=2,
        namespace="n",
        experiment="x",
        index=index,
        name="x-1",
        phase=TrialPhase.SUCCEEDED,
        assignments=(),
        conditions=(),
        created_at=1001.0,
        completed_at=1002.0,
        outbox=(event(),),
    )


def test_an_experiment_tells_its_span_once_when_it_ends(traced: Traced) -> None:
    running = traced_experiment(phase=ExperimentPhase.ENDING)
    ended = replace(running, phase=ExperimentPhase.SUCCEEDED, completed_at=1005.0)
    conditions = set_condition((), "Succeeded", reason="", message="", now=1.0)
    deleting = replace(ended, phase=ExperimentPhase.DELETING, conditions=conditions)
    deleted = replace(deleting, phase=ExperimentPhase.DELETED)
    lives = [running, running, ended, deleting, deleted]
    for before, after in pairwise(lives):
        tell_experiment(traced.tracing, before, after)
    [span] = traced.spans
    assert f"{span_id(span):016x}" == experiment_span(A, running.id).span_id
    assert traced.told == [("experiment", A.span_id)]
    assert (span.start_time, span.end_time) == (1_000_000_000_000, 1_005_000_000_000)


def test_an_experiment_that_is_deleted_before_its_end_tells_its_span_then(traced: Traced) -> None:
    deleting = traced_experiment(phase=ExperimentPhase.DELETING)
    deleted = replace(deleting, phase=ExperimentPhase.DELETED, completed_at=1003.0)
    tell_experiment(traced.tracing, deleting, deleted)
    [span] = traced.spans
    assert span.status.description == "Deleted"


def test_only_the_first_trials_are_in_the_trace(traced: Traced) -> None:
    state = traced_experiment()
    first, beyond = closed_trial(TRACED_TRIALS - 1), closed_trial(TRACED_TRIALS)
    tell_trials(traced.tracing, {UID: replace(state, id=UID)}, [first, beyond])
    assert len(traced.spans) == 1
    uid = state.id
    told = in_trace(state, first).outbox[0].traceparent
    assert told == str(trial_span(A, uid, TRACED_TRIALS - 1))
    assert in_trace(state, beyond) is beyond
    variables = trace_variables(state, 0, 2)
    assert variables == {"TRACEPARENT": str(run_span(A, uid, 0, 2))}
    assert trace_variables(state, TRACED_TRIALS, 1) == {}
    assert trace_variables(experiment(1), 0, 1) == {}
    long = replace(state, next_index=TRACED_TRIALS + 1, outbox=(event(),))
    assert with_told(traced.tracing, long) is long
    assert TRACED_CHUNKS < TRACED_TRIALS


def ended_run(**changes: object) -> Run:
    run = Run(
        id=f"{UID}.3.1",
        uid=UID,
        index=3,
        attempt=1,
        version=2,
        namespace="n",
        experiment="x",
        trial="x-1",
        phase=RunPhase.FINISHED,
        host="h",
        boot_id="b",
        created_at=1001.0,
        finished_at=1002.0,
        exit_code=1,
        message="exit code 1",
        traceparent=str(A),
    )
    return replace(run, **changes)  # type: ignore[arg-type]


def test_runs_tell_their_spans_with_how_they_ended(traced: Traced) -> None:
    stopped = ended_run(stop_reason="EarlyStopped", signal=15, exit_code=None)
    lives = ended_run(phase=RunPhase.RUNNING)
    tell_runs(traced.tracing, [ended_run(), stopped, lives, ended_run(traceparent=None)])
    failed, taken = traced.spans
    assert f"{span_id(failed):016x}" == run_span(A, UID, 3, 1).span_id
    assert traced.told[0] == ("run", trial_span(A, UID, 3).span_id)
    assert failed.status.description == "exit code 1"
    assert taken.status.is_unset
    assert (taken.attributes or {})["trialbus.stop_reason"] == "EarlyStopped"
    [notice] = in_traces([event()], traced.tracing, [ended_run()])
    assert notice.traceparent == str(experiment_span(A, UID))
    assert in_traces([event()], traced.tracing, [ended_run(traceparent=None)]) == [event()]


def test_a_document_has_the_field_only_where_a_trace_is_kept() -> None:
    assert EXPERIMENT.encode(traced_experiment())["traceparent"] == str(A)
    assert "traceparent" not in EXPERIMENT.encode(experiment(1))
    assert "traceparent" not in RUN.encode(ended_run(traceparent=None))
    assert EXPERIMENT.decode(EXPERIMENT.encode(experiment(1))).traceparent is None


def test_a_trial_does_not_inherit_the_trace_of_who_started_the_stack() -> None:
    inherited = {"TRACEPARENT": str(A), "TRACESTATE": "x=1", "HOME": "/home/me"}
    kept = base_environment(inherited)
    assert kept["HOME"] == "/home/me" and not {"TRACEPARENT", "TRACESTATE"} & kept.keys()
