"""What a metric is: its name, what it says, and the few values of its labels."""

from dataclasses import dataclass
from enum import Enum

LATENCY_S = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60)
# Waits that take minutes where something is short: places, pods, points.
WAIT_S = (0.01, 0.03, 0.1, 0.3, 0.5, 1, 3, 10, 30, 60, 300, 1800)
# Of what takes microseconds where all is well.
SHORT_S = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10)


class Kind(Enum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Label:
    """values: all that it ever has, so that their series are there from the start, at zero; empty:
    not known before (a namespace, the name of an installed algorithm), but few."""

    name: str
    meaning: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Metric:
    """name: as Prometheus has it, `trialbus_<noun>_<unit>[_total]`. services: those that have it;
    empty: every one. buckets: upper bounds of a histogram, in its unit. shared: a gauge that every
    replica tells of the whole system: to be read as the largest, not added up."""

    name: str
    kind: Kind
    meaning: str
    labels: tuple[Label, ...] = ()
    services: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    shared: bool = False

    @property
    def label_names(self) -> tuple[str, ...]:
        return tuple(label.name for label in self.labels)

    def is_of(self, service: str) -> bool:
        return not self.services or service in self.services


class MetricsOf:
    """Makes the metrics of these services; without any, of every service."""

    def __init__(self, *services: str) -> None:
        self._services = services

    def counter(self, name: str, meaning: str, *labels: Label) -> Metric:
        return self._metric(Kind.COUNTER, name, meaning, labels)

    def gauge(self, name: str, meaning: str, *labels: Label, shared: bool = False) -> Metric:
        return self._metric(Kind.GAUGE, name, meaning, labels, shared=shared)

    def seconds(
        self, name: str, meaning: str, *labels: Label, buckets: tuple[float, ...] = LATENCY_S
    ) -> Metric:
        return self._metric(Kind.HISTOGRAM, name, meaning, labels, buckets=buckets)

    def _metric(
        self,
        kind: Kind,
        name: str,
        meaning: str,
        labels: tuple[Label, ...],
        *,
        buckets: tuple[float, ...] = (),
        shared: bool = False,
    ) -> Metric:
        return Metric(
            name=name,
            kind=kind,
            meaning=meaning,
            labels=labels,
            services=self._services,
            buckets=buckets,
            shared=shared,
        )
