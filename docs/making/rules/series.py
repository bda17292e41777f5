"""Series that cases are made of, in promtool's notation."""

from collections.abc import Mapping

INFINITE = float("inf")


def selector(name: str, labels: Mapping[str, str]) -> str:
    """A series as Prometheus writes it."""
    shown = (f'{key}="{value}"' for key, value in labels.items())
    return f"{name}{{{','.join(shown)}}}"


def series(name: str, service: str, values: str, **labels: str) -> dict[str, str]:
    """One series of a process of a service; `instance` is `a:1`, unless it is said."""
    said = {"job": "trialbus", "service": service, "instance": "a:1", **labels}
    return {selector(name, said): values}


def bound_text(bound: float) -> str:
    """The label `le` of a bucket, as the exposition of our services writes it."""
    return "+Inf" if bound == INFINITE else f"{float(bound)}"


def latencies(
    name: str, service: str, counts: Mapping[float, str], **labels: str
) -> dict[str, str]:
    """A histogram. counts: bucket's upper bound -> values of its counter; the last counts all."""
    rows: dict[str, str] = {}
    for bound, values in counts.items():
        shown = bound_text(bound)
        rows |= series(f"{name}_bucket", service, values, **labels, le=shown)
    return rows | series(f"{name}_count", service, [*counts.values()][-1], **labels)
