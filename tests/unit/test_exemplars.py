"""Whose trace the exemplar of a latency is: its own experiment's, whatever group it came with."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from trialbus.adapters.opentelemetry.tracing import SdkTracing
from trialbus.kernel.chunks import Chunk, Series
from trialbus.kernel.experiment import ClosingTrial, ExperimentPhase, OpenState, OpenTrial
from trialbus.kernel.run import Run, RunPhase
from trialbus.kernel.traces import TraceContext
from trialbus.kernel.trial import TrialPhase
from trialbus.runtime import metrics
from trialbus.runtime.metric import Metric
from trialbus.runtime.parts import Parts
from trialbus.testkit.experiment_states import NOW, run, with_open
from trialbus.testkit.still_world import StillWorld
from trialbus.testkit.told_metrics import exemplar_traces, told
from trialbus_experiment.app.counting import Counting as ExperimentCounting
from trialbus_metrics_collector.app.counting import Counting as CollectorCounting
from trialbus_metrics_collector.app.experiments import About, Seen
from trialbus_metrics_collector.core.fencing import OpenAttempts
from trialbus_trial_launcher.app.hand import Hand

GROUP = TraceContext(trace_id="a" * 32, span_id="1" * 16)
OWN = TraceContext(trace_id="b" * 32, span_id="2" * 16)

# The context that a document keeps, and the traces that exemplars of it may name.
of_each = pytest.mark.parametrize(
    ("traceparent", "traces_"), [(str(OWN), {OWN.trace_id}), (None, set())]
)


@contextmanager
def in_a_group() -> Iterator[Parts]:
    """Of a process whose current span is in another experiment's trace."""
    parts = StillWorld().parts()
    processor = SimpleSpanProcessor(InMemorySpanExporter())
    parts.telemetry.tracing = SdkTracing("experiment", processor, ratio=1.0)
    with parts.telemetry.tracing.span("handle", parent=GROUP):
        yield parts


def traces(parts: Parts, metric: Metric) -> set[str]:
    return exemplar_traces(parts.telemetry, metric)


def count(parts: Parts, metric: Metric) -> float:
    return told(parts.telemetry, metric)


@of_each
@pytest.mark.parametrize("place", ["process", "cluster"])
def test_of_a_launch(place: str, traceparent: str | None, traces_: set[str]) -> None:
    launched = Run(
        id="u.0.1",
        uid="u",
        index=0,
        attempt=1,
        version=1,
        namespace="team",
        experiment="tune",
        trial="tune-a",
        phase=RunPhase.RUNNING,
        host="h",
        boot_id="",
        created_at=1.0,
        traceparent=traceparent,
    )
    with in_a_group() as parts:
        hand = Hand(parts, place)
        hand.claim(launched, 1.0)
        hand.launched(launched.id)
        hand.running(launched.id)
    # A command of this machine runs as soon as it is launched.
    for metric in [metrics.LAUNCHED, metrics.STARTED][: 2 if place == "cluster" else 1]:
        assert (count(parts, metric), traces(parts, metric)) == (1, traces_)


@of_each
def test_of_a_report_that_is_stored(traceparent: str | None, traces_: set[str]) -> None:
    about = About(
        namespace="team", name="tune", watched=None, created_at=1.0, traceparent=traceparent
    )
    attempts = OpenAttempts(phase=ExperimentPhase.RUNNING, attempts={0: 1}, importing=False)
    chunk = Chunk(
        id="u.0.1@0",
        uid="u",
        run="u.0.1",
        version=1,
        from_byte=0,
        to_byte=10,
        series=(Series(metric="loss", first_step=1, values=(0.5,), times=(2.0,)),),
        summaries=(),
        final=False,
        final_run=None,
        stored_at=3.0,
    )
    with in_a_group() as parts:
        CollectorCounting(parts).stored([chunk], {"u": Seen(about=about, open=attempts)})
    assert count(parts, metrics.REPORT_STORED) == 1
    assert traces(parts, metrics.REPORT_STORED) == traces_


@of_each
def test_of_an_end_that_is_counted_and_of_the_next_start(
    traceparent: str | None, traces_: set[str]
) -> None:
    before = with_open(0, 1, traceparent=traceparent)
    opened = OpenTrial(attempt=1, state=OpenState.ACTIVE, request=1, opened_at=NOW)
    closing = ClosingTrial(
        attempt=1,
        request=1,
        phase=TrialPhase.SUCCEEDED,
        finished=1,
        reason="",
        message="",
        closed_at=NOW,
    )
    after = replace(
        before,
        open={"1": before.open["1"], "2": opened},
        closing={"0": closing},
        finished=before.finished + 1,
        next_index=before.next_index + 1,
    )
    with in_a_group() as parts:
        counting = ExperimentCounting(parts.telemetry, parts.clock)
        counting.committed(before, after, {0: run(0)})
    for metric in (metrics.TRIAL_COUNTED, metrics.NEXT_START):
        assert (count(parts, metric), traces(parts, metric)) == (1, traces_)
