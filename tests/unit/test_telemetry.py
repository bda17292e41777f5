"""Metrics of one service: a closed set, zero from the start, exemplars of sampled traces only."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import pytest
from prometheus_client.samples import Sample

from trialbus.kernel.traces import TraceContext
from trialbus.ports.tracing import NoTracing, Span
from trialbus.runtime import metrics
from trialbus.runtime.telemetry import Telemetry, Unmeasured
from trialbus.testkit.told_metrics import series, told, told_seconds

CURRENT = TraceContext(trace_id="a" * 32, span_id="b" * 16)
OTHER = TraceContext(trace_id="c" * 32, span_id="d" * 16)


class Tracing(NoTracing):
    """On, and always in the same span."""

    def __init__(self, current: TraceContext | None) -> None:
        self._current = current

    @property
    def on(self) -> bool:
        return True

    def kept_trace(self) -> str | None:
        return None if self._current is None else self._current.trace_id

    def span(self, *_args: object, **_options: object) -> AbstractContextManager[Span]:
        return nullcontext()  # type: ignore[return-value]


def exemplars(telemetry: Telemetry, name: str) -> list[str]:
    return [
        sample.exemplar.labels["trace_id"]
        for sample in samples(telemetry)
        if sample.name == f"{name}_bucket" and sample.exemplar is not None
    ]


def samples(telemetry: Telemetry) -> Iterator[Sample]:
    for family in telemetry.registry.collect():
        yield from family.samples


@contextmanager
def refused(error: type[Exception], text: str) -> Iterator[None]:
    with pytest.raises(error, match=text):
        yield


def test_what_is_counted_is_counted_by_its_labels() -> None:
    telemetry = Telemetry("experiment")
    telemetry.add(metrics.HINTS, source="bus")
    telemetry.add(metrics.HINTS, 3, source="sweep")
    telemetry.add(metrics.HINTS, source="bus")
    found = {it.labels["source"]: it.value for it in series(telemetry, metrics.HINTS)}
    assert found == {"bus": 2.0, "sweep": 3.0}


def test_labels_mean_the_same_in_any_order() -> None:
    telemetry = Telemetry("trial_launcher")
    telemetry.add(metrics.RUNS_ENDED, place="process", outcome="lost")
    telemetry.add(metrics.RUNS_ENDED, outcome="lost", place="process")
    telemetry.add(metrics.RUNS_ENDED, place="process", outcome="lost")
    assert told(telemetry, metrics.RUNS_ENDED, place="process", outcome="lost") == 3.0
    assert told(telemetry, metrics.RUNS_ENDED) == 3.0


def test_labels_that_a_metric_does_not_have_are_a_fault_each_time() -> None:
    telemetry = Telemetry("experiment")
    for _ in range(2):
        with refused(ValueError, "[Ll]abel"):
            telemetry.add(metrics.HINTS, origin="bus")
        with refused(ValueError, "[Ll]abel"):
            telemetry.add(metrics.HINTS)


def test_series_whose_labels_are_known_are_there_from_the_start_at_zero() -> None:
    telemetry = Telemetry("trial_launcher")
    assert {it.labels["source"]: it.value for it in series(telemetry, metrics.HINTS)} == {
        "bus": 0.0,
        "sweep": 0.0,
    }
    found = series(telemetry, metrics.RUNS_ENDED)
    assert len(found) == 3 * 4
    assert {it.value for it in found} == {0.0}
    assert [it.value for it in series(telemetry, metrics.CONFLICTS)] == [0.0]


def test_a_service_has_its_own_metrics_and_those_of_every_service() -> None:
    telemetry = Telemetry("suggestion")
    telemetry.add(metrics.CONFLICTS)
    with pytest.raises(KeyError):
        telemetry.observe(metrics.NEXT_START, 1.0, algorithm="random")
    with pytest.raises(KeyError):
        telemetry.set(metrics.LEASES, 1.0)
    with pytest.raises(KeyError):
        telemetry.watch(metrics.LEASES, lambda: 1.0)
    with pytest.raises(KeyError):
        telemetry.replace(metrics.EXPERIMENTS, {})
    names = {sample.name for sample in samples(telemetry)}
    assert not {name for name in names if name.startswith("katib_")}


def test_what_is_no_service_has_all_metrics() -> None:
    telemetry = Telemetry("bench")
    telemetry.set(metrics.LEASES, 4.0)
    telemetry.set(metrics.WEBHOOK_WAITING, 5.0)
    assert (told(telemetry, metrics.LEASES), told(telemetry, metrics.WEBHOOK_WAITING)) == (4.0, 5.0)


def test_a_hidden_gauge_has_no_series_until_it_is_set_again() -> None:
    telemetry = Telemetry("bench")
    telemetry.set(metrics.LEASES, 4.0)
    telemetry.set(metrics.STALLED, 2.0, reason="LaunchStalled")
    for _ in range(2):
        telemetry.hide(metrics.LEASES)
        telemetry.hide(metrics.STALLED)
    assert series(telemetry, metrics.LEASES) == []
    assert series(telemetry, metrics.STALLED) == []
    telemetry.set(metrics.LEASES, 5.0)
    telemetry.set(metrics.STALLED, 1.0, reason="LaunchStalled")
    assert [it.value for it in series(telemetry, metrics.LEASES)] == [5.0]
    assert [it.value for it in series(telemetry, metrics.STALLED)] == [1.0]


def test_a_metric_is_used_as_what_it_is() -> None:
    telemetry = Telemetry("experiment")
    with refused(TypeError, "is a histogram"):
        telemetry.add(metrics.GROUPS)
    with refused(TypeError, "is no histogram"):
        telemetry.observe(metrics.CONFLICTS, 1.0)
    with refused(TypeError, "is no gauge"):
        telemetry.set(metrics.CONFLICTS, 1.0)
    with refused(TypeError, "is no gauge"):
        telemetry.watch(metrics.CONFLICTS, lambda: 1.0)
    with refused(TypeError, "is no gauge"):
        telemetry.replace(metrics.CONFLICTS, {})


def test_replacing_a_gauge_forgets_what_is_absent() -> None:
    telemetry = Telemetry("experiment")
    telemetry.set(metrics.STALLED, 9.0, reason="BusUnavailable")
    telemetry.replace(metrics.STALLED, {("LaunchStalled",): 2.0, ("TrialsWaiting",): 1.0})
    telemetry.replace(metrics.STALLED, {("LaunchStalled",): 3.0})
    found = {it.labels["reason"]: it.value for it in series(telemetry, metrics.STALLED)}
    assert found == {"LaunchStalled": 3.0}
    # What was known of a label before must not write where nobody looks.
    telemetry.set(metrics.STALLED, 4.0, reason="BusUnavailable")
    assert told(telemetry, metrics.STALLED, reason="BusUnavailable") == 4.0


def test_a_watched_gauge_is_read_when_somebody_looks() -> None:
    telemetry = Telemetry("experiment")
    waiting: list[str] = []
    telemetry.watch(metrics.HINTS_WAITING, lambda: len(waiting))
    assert told(telemetry, metrics.HINTS_WAITING) == 0.0
    waiting.append("u")
    assert told(telemetry, metrics.HINTS_WAITING) == 1.0


def test_clocks_that_differ_make_no_negative_latency() -> None:
    telemetry = Telemetry("experiment")
    telemetry.observe(metrics.GROUPS, -0.5)
    telemetry.observe(metrics.GROUPS, 0.25)
    assert told(telemetry, metrics.GROUPS) == 2.0
    assert told_seconds(telemetry, metrics.GROUPS) == 0.25


def test_the_exemplar_is_of_the_current_span_or_of_the_one_that_is_told() -> None:
    telemetry = Telemetry("experiment", Tracing(CURRENT))
    telemetry.observe(metrics.GROUPS, 0.5)
    assert exemplars(telemetry, metrics.GROUPS.name) == [CURRENT.trace_id]
    telemetry.observe(metrics.GROUPS, 0.5, OTHER)
    assert exemplars(telemetry, metrics.GROUPS.name) == [OTHER.trace_id]


def test_a_trace_that_nobody_keeps_is_no_exemplar() -> None:
    unkept = TraceContext(trace_id="e" * 32, span_id="f" * 16, sampled=False)
    telemetry = Telemetry("experiment", Tracing(None))
    telemetry.observe(metrics.GROUPS, 0.5)
    telemetry.observe(metrics.GROUPS, 0.5, unkept)
    assert told(telemetry, metrics.GROUPS) == 2.0
    assert exemplars(telemetry, metrics.GROUPS.name) == []


def test_two_services_in_one_process_count_apart() -> None:
    one, other = Telemetry("experiment"), Telemetry("experiment")
    one.add(metrics.CONFLICTS)
    assert (told(one, metrics.CONFLICTS), told(other, metrics.CONFLICTS)) == (1.0, 0.0)


def test_the_build_is_told() -> None:
    [build] = series(Telemetry("experiment"), metrics.BUILD_INFO)
    assert build.value == 1.0
    assert build.labels["service"] == "experiment"
    assert build.labels["python"].startswith("3.")


def test_switched_off_nothing_is_counted_and_nothing_fails() -> None:
    telemetry = Unmeasured("experiment")
    telemetry.add(metrics.HINTS, source="bus")
    telemetry.observe(metrics.GROUPS, 0.5)
    telemetry.set(metrics.READY, 1.0)
    telemetry.watch(metrics.READY, lambda: 1.0)
    telemetry.replace(metrics.EXPERIMENTS, {("Running",): 1.0})
    telemetry.watch_process()
    assert list(telemetry.registry.collect()) == []
    telemetry.log.debug("it still says what happens")
