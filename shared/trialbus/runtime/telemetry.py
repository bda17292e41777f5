"""What a service counts, times, traces and logs."""

import platform
from collections.abc import Callable
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from typing import Final, Literal, Protocol

import structlog
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from trialbus.kernel.traces import TraceContext
from trialbus.ports.tracing import NoTracing, Tracing
from trialbus.runtime import metrics
from trialbus.runtime.metric import Kind, Metric

_Instrument = Counter | Gauge | Histogram
# The values of labels, by their names, in the order in which a caller gives them.
_Labels = tuple[tuple[str, str], ...]

# When a counter began, as one more series for each: Prometheus sees a restart without.
disable_created_metrics()  # type: ignore[no-untyped-call]


class _Current(Enum):
    SPAN = "current span"


_CURRENT: Final = _Current.SPAN
# Whose an exemplar is; None: of no trace that anybody keeps.
_Whose = TraceContext | Literal[_Current.SPAN] | None


class Logger(Protocol):
    """The part of a structlog logger that services use."""

    def debug(self, event: str, **fields: object) -> None: ...

    def info(self, event: str, **fields: object) -> None: ...

    def warning(self, event: str, **fields: object) -> None: ...

    def error(self, event: str, **fields: object) -> None: ...


class Telemetry:
    """Metrics of one service process, in a registry of its own (so that many services can live in
    one process), its traces and its log.

    Metrics are those of `runtime.metrics` that the service has (all, for what is no service);
    KeyError for another's. Labels are given by name: `telemetry.add(metrics.HINTS, source="bus")`.
    measured: whether anybody sees them; else what only they are kept for need not be kept.
    """

    measured = True

    def __init__(self, service: str, tracing: Tracing | None = None) -> None:
        self.service = service
        self.tracing: Tracing = NoTracing() if tracing is None else tracing
        self.registry = CollectorRegistry()
        self.log: Logger = structlog.get_logger().bind(service=service)
        self._instruments = {
            metric: _instrument(metric, self.registry)
            for metric in metrics.ALL
            if metric.is_of(service) or service not in metrics.SERVICES
        }
        self._children: dict[Metric, dict[_Labels, _Instrument]] = {it: {} for it in metrics.ALL}
        self._hidden: set[Metric] = set()
        self.set(
            metrics.BUILD_INFO,
            1,
            service=service,
            version=_version(),
            python=platform.python_version(),
        )

    def add(self, metric: Metric, amount: float = 1, **labels: str) -> None:
        """Counts up: a counter, or a gauge of what comes and goes (`amount` may be below 0)."""
        instrument = self._of(metric, labels)
        # Their own classes, as an isinstance that is not so asks an abstract base class for long.
        if type(instrument) is Counter or type(instrument) is Gauge:
            instrument.inc(amount)
        else:
            raise TypeError(f"{metric.name} is a histogram: observe it")

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """What a gauge shows from now on."""
        instrument = self._of(metric, labels)
        if not isinstance(instrument, Gauge):
            raise TypeError(f"{metric.name} is no gauge")
        if metric in self._hidden:
            self._hidden.discard(metric)
            self.registry.register(instrument)
        instrument.set(value)

    def observe(
        self, metric: Metric, seconds: float, trace: _Whose = _CURRENT, **labels: str
    ) -> None:
        """One more value of a histogram; below 0 (clocks that differ) it counts as 0. trace: whose
        the exemplar is, if not the current span's; a value of one experiment or run is of its own
        trace or (None) of none, for the current span may be that of a group."""
        instrument = self._of(metric, labels)
        if not isinstance(instrument, Histogram):
            raise TypeError(f"{metric.name} is no histogram")
        if trace is _CURRENT:
            kept = self.tracing.kept_trace()
        else:
            kept = trace.trace_id if trace is not None and trace.sampled else None
        exemplar = None if kept is None else {"trace_id": kept}
        instrument.observe(seconds if seconds > 0.0 else 0.0, exemplar)

    def watch(self, metric: Metric, read: Callable[[], float]) -> None:
        """What a gauge without labels shows is read when somebody looks, in the event loop."""
        instrument = self._instruments[metric]
        if not isinstance(instrument, Gauge):
            raise TypeError(f"{metric.name} is no gauge")
        instrument.set_function(read)

    def watch_process(self) -> None:
        """Tell the processor time and memory of this process, too: for one that is its own."""
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)

    def replace(self, metric: Metric, values: dict[tuple[str, ...], float]) -> None:
        """All series of a gauge at once, by the values of its labels in their order: what is
        absent is gone."""
        instrument = self._instruments[metric]
        if not isinstance(instrument, Gauge):
            raise TypeError(f"{metric.name} is no gauge")
        instrument.clear()
        self._children[metric].clear()
        for labels, value in values.items():
            instrument.labels(*labels).set(value)

    def hide(self, metric: Metric) -> None:
        """A gauge whose value is not known: no series, until it is set again."""
        if metric.labels:
            self.replace(metric, {})
        elif metric not in self._hidden:
            self._hidden.add(metric)
            self.registry.unregister(self._instruments[metric])

    def _of(self, metric: Metric, labels: dict[str, str]) -> _Instrument:
        if not labels:
            return self._instruments[metric]
        key = tuple(labels.items())
        child = self._children[metric].get(key)
        if child is None:
            child = self._instruments[metric].labels(**labels)
            self._children[metric][key] = child
        return child


class Unmeasured(Telemetry):
    """Of a process whose metrics are switched off: traces and a log, and an empty registry."""

    measured = False

    def __init__(self, service: str, tracing: Tracing | None = None) -> None:
        self.service = service
        self.tracing = NoTracing() if tracing is None else tracing
        self.registry = CollectorRegistry()
        self.log = structlog.get_logger().bind(service=service)

    def add(self, metric: Metric, amount: float = 1, **labels: str) -> None:
        """Nobody counts."""

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """Nobody looks."""

    def observe(
        self, metric: Metric, seconds: float, trace: _Whose = _CURRENT, **labels: str
    ) -> None:
        """Nobody times."""

    def watch(self, metric: Metric, read: Callable[[], float]) -> None:
        """Nobody looks."""

    def watch_process(self) -> None:
        """Nobody looks."""

    def replace(self, metric: Metric, values: dict[tuple[str, ...], float]) -> None:
        """Nobody looks."""

    def hide(self, metric: Metric) -> None:
        """Nobody looks."""


def _instrument(metric: Metric, registry: CollectorRegistry) -> _Instrument:
    names = metric.label_names
    made: _Instrument
    if metric.kind is Kind.HISTOGRAM:
        made = Histogram(
            metric.name, metric.meaning, names, registry=registry, buckets=metric.buckets
        )
    else:
        make = Counter if metric.kind is Kind.COUNTER else Gauge
        made = make(metric.name, metric.meaning, names, registry=registry)
    if names:
        for values in product(*(label.values for label in metric.labels)):
            made.labels(*values)
    return made


def _version() -> str:
    try:
        return version("trialbus")
    except PackageNotFoundError:
        return "unknown"
