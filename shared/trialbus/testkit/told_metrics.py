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


def told_one(telemetry: Telemetry, metric: Metric, **labels: str) -> float | None:
    """The value of the one series of a counter or gauge with just these labels; None: there is no
    such series."""
    return telemetry.registry.get_sample_value(metric.name, labels)


def observed(telemetry: Telemetry, metric: Metric, **labels: str) -> tuple[int, float]:
    """How many values a histogram was told, and their sum, of all series with these labels."""
    count = int(told(telemetry, metric, **labels))
    return count, round(told_seconds(telemetry, metric, **labels), 6)


def nonzero(telemetry: Telemetry, metric: Metric) -> dict[tuple[str, ...], float]:
    """All series of a counter or gauge that are not 0, by the values of their labels."""
    names = metric.label_names
    found = series(telemetry, metric)
    return {tuple(it.labels[name] for name in names): it.value for it in found if it.value}


def series(telemetry: Telemetry, metric: Metric) -> list[Sample]:
    """One sample for each set of labels; of a histogram its count."""
    suffix = "_count" if metric.kind is Kind.HISTOGRAM else ""
    return list(_samples(telemetry, metric, suffix))


def exemplar_traces(telemetry: Telemetry, metric: Metric) -> set[str]:
    """The traces that a histogram's exemplars name."""
    buckets = _samples(telemetry, metric, "_bucket")
    return {it.exemplar.labels["trace_id"] for it in buckets if it.exemplar is not None}


def _samples(telemetry: Telemetry, metric: Metric, suffix: str) -> Iterator[Sample]:
    for family in telemetry.registry.collect():
        for sample in family.samples:
            if sample.name == metric.name + suffix:
                yield sample
