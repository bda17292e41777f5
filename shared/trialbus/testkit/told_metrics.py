"""What a service's metrics say now, as tests ask for it."""

from collections.abc import Iterator

from prometheus_client.samples import Sample

from trialbus.runtime.metric import Kind, Metric
from trialbus.runtime.telemetry import Telemetry


def told(telemetry: Telemetry, metric: Metric, **labels: str) -> float:
    """The sum of all series with these labels, whatever their others are; of a histogram how often
    it was observed. 0.0 where there is none."""
    wanted = labels.items()
    return sum(it.value for it in series(telemetry, metric) if wanted <= it.labels.items())


def told_seconds(telemetry: Telemetry, metric: Metric, **labels: str) -> float:
    """The sum of what a histogram has observed."""
    wanted = labels.items()
    found = _samples(telemetry, metric, "_sum")
    return sum(it.value for it in found if wanted <= it.labels.items())


def series(telemetry: Telemetry, metric: Metric) -> list[Sample]:
    """One for each set of labels."""
    suffix = "_count" if metric.kind is Kind.HISTOGRAM else ""
    return list(_samples(telemetry, metric, suffix))


def _samples(telemetry: Telemetry, metric: Metric, suffix: str) -> Iterator[Sample]:
    for family in telemetry.registry.collect():
        for sample in family.samples:
            if sample.name == metric.name + suffix:
                yield sample
