"""What a service has told as metrics, as Prometheus would read it."""

from prometheus_client import CollectorRegistry

from trialbus.runtime.metric import Metric


def told(registry: CollectorRegistry, metric: Metric, **labels: str) -> float | None:
    """The value of a counter or gauge; None: there is no such series."""
    return registry.get_sample_value(metric.name, labels)


def observed(registry: CollectorRegistry, metric: Metric, **labels: str) -> tuple[int, float]:
    """How many values a histogram was told, and their sum; 0 where there is no such series."""
    count = registry.get_sample_value(f"{metric.name}_count", labels)
    total = registry.get_sample_value(f"{metric.name}_sum", labels)
    return int(count or 0), round(total or 0.0, 6)


def series(registry: CollectorRegistry, metric: Metric) -> dict[tuple[str, ...], float]:
    """All series of a counter or gauge that are not 0, by the values of their labels."""
    names = metric.label_names
    return {
        tuple(sample.labels[name] for name in names): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == metric.name and sample.value
    }
