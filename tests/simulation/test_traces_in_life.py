"""Whole lives traced, in memory: every trace holds together, and tracing changes nothing."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from trialbus.adapters.opentelemetry.tracing import SdkTracing
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.trial import TrialPhase
from trialbus.testkit.law_probes import Play
from trialbus.testkit.scenario import FAIR, Outcome, Story

SERVICES = {
    f"trialbus-{name}"
    for name in (
        "experiment",
        "suggestion",
        "trial-launcher",
        "metrics-collector",
        "early-stopping",
    )
}


class Traced:
    """Every process of a world, with one place where its spans go."""

    def __init__(self, ratio: float = 1.0) -> None:
        self.exporter = InMemorySpanExporter()
        self._ratio = ratio

    def of(self, process: str) -> SdkTracing:
        name = process.partition("/")[0]
        return SdkTracing(name, SimpleSpanProcessor(self.exporter), ratio=self._ratio)

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())


def service_of(span: ReadableSpan) -> str:
    return str(span.resource.attributes["service.name"])


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    found: int = span.context.span_id
    return found


def by_trace(spans: Iterable[ReadableSpan]) -> Mapping[int, list[ReadableSpan]]:
    found: dict[int, list[ReadableSpan]] = defaultdict(list)
    for span in spans:
        assert span.context is not None
        found[span.context.trace_id].append(span)
    return found


def named(spans: Iterable[ReadableSpan], name: str) -> list[ReadableSpan]:
    return [span for span in spans if span.name == name]


def play_traced(play: Play, story: Story, ratio: float = 1.0) -> tuple[Outcome, Traced]:
    traced = Traced(ratio)
    return play(1, replace(story, tracing=traced.of)), traced


def trace_of(state: Experiment) -> int:
    assert state.traceparent is not None
    return int(state.traceparent.split("-")[1], 16)


def test_each_experiment_is_one_trace_that_holds_together(play: Play) -> None:
    outcome, traced = play_traced(play, FAIR)
    traces = by_trace(traced.spans)
    assert set(traces) == {trace_of(state) for state in outcome.experiments}
    for state in outcome.experiments:
        spans = traces[trace_of(state)]
        ids = {id_of(span) for span in spans}
        roots = [span for span in spans if span.parent is None]
        assert [span.name for span in roots] == ["command apply"]
        orphans = [span.name for span in spans if span.parent and span.parent.span_id not in ids]
        assert not orphans, state.name
        assert len(ids) == len(spans)
        assert len(named(spans, "experiment")) == 1
        assert len(named(spans, "trial")) == state.next_index
        # A trial that is stopped before it is started has a run, too: one that never began.
        assert len(named(spans, "run")) >= state.next_index
        assert named(spans, "suggestion")
        seen = {service_of(span) for span in spans}
        assert SERVICES - {"trialbus-early-stopping"} <= seen, state.name


def test_what_the_collector_does_is_beneath_the_run_that_it_is_of(play: Play) -> None:
    _, traced = play_traced(play, FAIR)
    above = {id_of(span): span for span in traced.spans}
    answers = named(traced.spans, "answer metric")
    assert answers
    for span in answers:
        names = [span.name]
        while span.parent is not None and span.parent.span_id in above:
            span = above[span.parent.span_id]  # noqa: PLW2901 - the way up
            names.append(span.name)
        assert names[1] == "request metric"
        assert names[2] in ("ship metrics", "end run") and "run" in names
        assert names[-4:] == ["run", "trial", "experiment", "command apply"]


def test_a_stopping_verdict_is_beneath_the_run_that_it_stops(play: Play) -> None:
    outcome, traced = play_traced(play, FAIR)
    [stopped] = [state for state in outcome.experiments if state.name == "stopped"]
    spans = by_trace(traced.spans)[trace_of(stopped)]
    verdicts = named(spans, "stopping verdict")
    runs = {id_of(span) for span in named(spans, "run")}
    assert verdicts and {span.parent.span_id for span in verdicts if span.parent} <= runs
    assert all((span.attributes or {})["trialbus.rule"] == "medianstop" for span in verdicts)
    phases = Counter((span.attributes or {})["trialbus.phase"] for span in named(spans, "trial"))
    assert phases[TrialPhase.EARLY_STOPPED.value] == stopped.counts.early_stopped > 0


def test_work_for_several_experiments_is_one_span_that_links_to_all_of_them(play: Play) -> None:
    outcome, traced = play_traced(play, FAIR)
    traces = {trace_of(state) for state in outcome.experiments}
    together = [
        span
        for span in traced.spans
        if span.name.startswith("handle ") and (span.attributes or {})["trialbus.experiments"] != 1
    ]
    linked = [{link.context.trace_id for link in span.links} for span in together]
    assert any(len(links) > 1 for links in linked)
    assert all(links <= traces for links in linked)


def test_trials_that_workers_ask_for_are_in_their_experiments_trace(play: Play) -> None:
    """Their runs are leases, and what they push is committed together with what others push."""
    story = replace(FAIR, names=("plain",), workers=3, trials=8)
    outcome, traced = play_traced(play, story)
    [state] = outcome.experiments
    spans = by_trace(traced.spans)[trace_of(state)]
    ids = {id_of(span) for span in spans}
    assert not [span.name for span in spans if span.parent and span.parent.span_id not in ids]
    assert len(named(spans, "trial")) == state.next_index == 8
    runs = named(spans, "run")
    assert len({id_of(span) for span in runs}) >= 8
    assert all("trialbus.worker" in (span.attributes or {}) for span in runs)
    begun = outcome.world.store.documents("runs")
    assert {document["traceparent"] for document in begun} == {state.traceparent}


def test_tracing_changes_nothing_of_what_happens(play: Play) -> None:
    outcome, _ = play_traced(play, Story())
    untraced = play(1, Story())
    assert outcome.world.faults == untraced.world.faults
    for traced, plain in zip(outcome.experiments, untraced.experiments, strict=True):
        assert traced.ended and plain.ended
        assert traced.traceparent is not None and plain.traceparent is None


def test_what_is_not_drawn_leaves_no_span_and_no_context(play: Play) -> None:
    outcome, traced = play_traced(play, FAIR, ratio=0.0)
    assert not traced.spans
    assert [state.traceparent for state in outcome.experiments] == [None] * 3
    stored = [*outcome.world.store.documents("experiments"), *outcome.world.store.documents("runs")]
    assert not any("traceparent" in document for document in stored)
    assert not any("traceparent" in message.headers for message in outcome.world.published)
