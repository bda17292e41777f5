"""Queries of Prometheus, made only of metrics that there are and of labels that these have.

`where` holds regular expressions by label. A gauge that every replica tells of the whole system is
read as the largest, everything else is added up.
"""

from collections.abc import Sequence

from trialbus.runtime import metrics
from trialbus.runtime.metric import Kind, Label, Metric

# What Prometheus adds to a series where it scrapes it: deploy/prometheus/README.md.
TARGET_LABELS = ("job", "service", "instance", "namespace")
# Chosen by Grafana: at least four scrapes, and the time between two points of a panel.
WINDOW = "$__rate_interval"
# What the time picker shows.
SHOWN = "$__range"
# For how long what nobody tells any more is shown as it was told last.
HELD = "15m"


class Without(str):
    """A regular expression for `where` of what a label is not to be."""

    __slots__ = ()


def _metric(kind: Kind, name: str, meaning: str) -> Metric:
    return Metric(name=name, kind=kind, meaning=meaning)


UP = _metric(Kind.GAUGE, "up", "1 where the last scrape was answered.")
CPU = _metric(Kind.COUNTER, "process_cpu_seconds_total", "Processor time of the process.")
RESIDENT = _metric(Kind.GAUGE, "process_resident_memory_bytes", "Memory in use.")
OPEN_FILES = _metric(Kind.GAUGE, "process_open_fds", "Open files and connections.")
MOST_FILES = _metric(Kind.GAUGE, "process_max_fds", "How many may be open.")
STARTED_AT = _metric(Kind.GAUGE, "process_start_time_seconds", "When the process started.")
ALERTS = Metric(
    name="ALERTS",
    kind=Kind.GAUGE,
    meaning="1 for each alert that fires or is about to.",
    labels=(
        Label("alertname", "that of the rule"),
        Label("alertstate", "`pending` or `firing`"),
        Label("severity", "`critical` or `warning`"),
    ),
)
# Those that are not of trialbus alone; each service process has them.
_BY_NAME = {metric.name: metric for metric in metrics.ALL}
PROCESS = (UP, CPU, RESIDENT, OPEN_FILES, MOST_FILES, STARTED_AT)


def metric_named(name: str) -> Metric:
    """Raises KeyError."""
    return _BY_NAME[name]


def rate(metric: Metric, *by: str, **where: str) -> str:
    """How often a second; of a histogram: its values. A counter in seconds: seconds a second."""
    counted = _selector(metric, "_count" if metric.kind is Kind.HISTOGRAM else "", **where)
    _expect(metric, Kind.COUNTER, Kind.HISTOGRAM)
    return _sum(f"rate({counted}[{WINDOW}])", metric, by)


def grown(metric: Metric, *by: str, **where: str) -> str:
    """By how much in the time that is shown."""
    counted = _selector(metric, "_count" if metric.kind is Kind.HISTOGRAM else "", **where)
    _expect(metric, Kind.COUNTER, Kind.HISTOGRAM)
    return _sum(f"increase({counted}[{SHOWN}])", metric, by)


def quantile(share: float, metric: Metric, *by: str, **where: str) -> str:
    """The time within which this share of a histogram's values is, in seconds."""
    _expect(metric, Kind.HISTOGRAM)
    buckets = f"rate({_selector(metric, '_bucket', **where)}[{WINDOW}])"
    return f"histogram_quantile({share}, {_sum(buckets, metric, ('le', *by))})"


def mean(metric: Metric, *by: str, **where: str) -> str:
    """Of a histogram's values, in seconds."""
    _expect(metric, Kind.HISTOGRAM)
    spent = _sum(f"rate({_selector(metric, '_sum', **where)}[{WINDOW}])", metric, by)
    return share(spent, rate(metric, *by, **where))


def within(bound_s: float, metric: Metric, *by: str, **where: str) -> str:
    """The share of a histogram's values in the time that is shown that are at most `bound_s`, one
    of its buckets."""
    _expect(metric, Kind.HISTOGRAM)
    if bound_s not in metric.buckets:
        raise ValueError(f"{metric.name} has no bucket that ends at {bound_s} s")
    bucket = _selector(metric, "_bucket", le=f"{float(bound_s)}", **where)
    kept = _sum(f"increase({bucket}[{SHOWN}])", metric, by)
    return share(kept, grown(metric, *by, **where))


def level(metric: Metric, *by: str, **where: str) -> str:
    """What a gauge shows, over all processes. Of what every replica tells of the whole system: the
    largest of each installation."""
    _expect(metric, Kind.GAUGE)
    chosen = _selector(metric, **where)
    if not metric.shared:
        return _sum(chosen, metric, by)
    return _sum(_by("max", chosen, metric, _whole(metric)), metric, by)


def held_level(metric: Metric, *by: str, **where: str) -> str:
    """As `level`, of what every replica tells; while none does (it hangs, or has no store), what
    was told last. So that what stands still is not shown as nothing."""
    return _sum(_held(metric, _whole(metric), where), metric, by)


def held_highest(metric: Metric, *by: str, **where: str) -> str:
    """As `highest`, likewise."""
    return _held(metric, by, where)


def highest(metric: Metric, *by: str, **where: str) -> str:
    _expect(metric, Kind.GAUGE)
    return _by("max", _selector(metric, **where), metric, by)


def lowest(metric: Metric, *by: str, **where: str) -> str:
    _expect(metric, Kind.GAUGE)
    return _by("min", _selector(metric, **where), metric, by)


def how_many(metric: Metric, condition: str, **where: str) -> str:
    """Series of a gauge for which the condition holds; 0 where there is none."""
    _expect(metric, Kind.GAUGE)
    return f"count({_selector(metric, **where)} {condition}) or vector(0)"


def alerts(state: str) -> str:
    """Alerts of trialbus in a state, one series each."""
    where = f'alertname=~"Trialbus.*",alertstate=~"{state}",namespace=~"$installation"'
    return f"{ALERTS.name}{{{where}}}"


def changed(metric: Metric, *by: str, **where: str) -> str:
    """How often a gauge took another value in the time that is shown."""
    _expect(metric, Kind.GAUGE)
    return _sum(f"changes({_selector(metric, **where)}[{SHOWN}])", metric, by)


def zero_without(query: str) -> str:
    """Zero where there are no series at all: for a single figure without labels."""
    return f"({query} or vector(0))"


def share(part: str, whole: str) -> str:
    """0 to 1, or so much for each of the whole; no data where there is nothing of the whole."""
    return f"{part} / ({whole} > 0)"


def _whole(metric: Metric) -> tuple[str, ...]:
    """What tells apart the series of a gauge that every replica tells."""
    told_by = ("namespace",) if metric.services else ("namespace", "service")
    return tuple(dict.fromkeys([*told_by, *metric.label_names]))


def _held(metric: Metric, by: Sequence[str], where: dict[str, str]) -> str:
    _expect(metric, Kind.GAUGE)
    chosen = _selector(metric, **where)
    now = _by("max", chosen, metric, by)
    return f"({now} or {_by('max', f'last_over_time({chosen}[{HELD}])', metric, by)})"


def _selector(metric: Metric, suffix: str = "", **where: str) -> str:
    chosen = {"job": "trialbus"} if metric in PROCESS else {}
    if "namespace" not in metric.label_names:
        chosen["namespace"] = "$installation"
    if not metric.shared:
        chosen["instance"] = "$instance"
    # Those of one service are shown whatever service is chosen.
    if not metric.services:
        chosen["service"] = "$service"
    _known(metric, where)
    chosen |= where
    shown = (
        f"{k}{'!~' if isinstance(v, Without) else '=~'}{_quoted(v)}" for k, v in chosen.items()
    )
    return f"{metric.name}{suffix}{{{','.join(shown)}}}"


def _operator(value: str) -> str:
    return "!~" if isinstance(value, Without) else "=~"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _sum(query: str, metric: Metric, by: Sequence[str]) -> str:
    return _by("sum", query, metric, by)


def _by(operator: str, query: str, metric: Metric, by: Sequence[str]) -> str:
    _known(metric, by)
    return f"{operator} by ({', '.join(by)}) ({query})" if by else f"{operator}({query})"


def _known(metric: Metric, labels: Sequence[str] | dict[str, str]) -> None:
    bucket = ("le",) if metric.kind is Kind.HISTOGRAM else ()
    for label in labels:
        if label not in (*metric.label_names, *TARGET_LABELS, *bucket):
            raise ValueError(f"{metric.name} has no label {label}")


def _expect(metric: Metric, *kinds: Kind) -> None:
    if metric.kind not in kinds:
        raise TypeError(f"{metric.name} is a {metric.kind.value}")
