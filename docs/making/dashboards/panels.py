"""What a dashboard shows: rows of panels, each with what is good and what to do when it is not."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from making.dashboards.queries import quantile
from trialbus.runtime.metric import Metric


class Look(Enum):
    LINES = "timeseries"
    STAT = "stat"
    BARS = "bargauge"
    TABLE = "table"
    POINTS = "xychart"


class Unit(Enum):
    """Grafana's names. COUNT is of things, PER_S of events a second, SHARE from 0 to 1, VALUE of
    what has a unit of the user's own."""

    SECONDS = "s"
    BYTES = "bytes"
    COUNT = "short"
    PER_S = "ops"
    SHARE = "percentunit"
    VALUE = "none"
    MOMENT = "dateTimeAsIso"


class Source(Enum):
    """Which of the two data sources is asked: variables of the dashboards."""

    METRICS = "datasource"
    EXPERIMENTS = "experiments"


@dataclass(frozen=True, slots=True)
class Query:
    """legend: with `{{label}}`. exemplars: show traces of single values as dots."""

    text: str
    legend: str
    exemplars: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """about: what is seen, what is good, what to do when it is not. worse: from this value on it
    is yellow, from `bad` on red (`less_is_bad`: below). width: of 24 columns. stacked: lines that
    add up."""

    title: str
    about: str
    queries: Sequence[Query]
    unit: Unit
    look: Look = Look.LINES
    source: Source = Source.METRICS
    worse: float | None = None
    bad: float | None = None
    less_is_bad: bool = False
    stacked: bool = False
    points_only: bool = False
    width: int = 8
    height: int = 8
    decimals: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """query: `label_values(...)`. several: more than one may be chosen, and all are at first."""

    name: str
    label: str
    query: str
    source: Source = Source.METRICS
    several: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """A dashboard. uid: stays the same for ever, links have it."""

    uid: str
    title: str
    about: str
    variables: Sequence[Variable]
    rows: Sequence[Row]
    sources: Sequence[Source] = (Source.METRICS,)
    since: str = "now-1h"
    refresh: str = "30s"


INSTALLATION = Variable(
    name="installation",
    label="installation (namespace)",
    query="label_values(trialbus_build_info, namespace)",
)
SERVICE = Variable(
    name="service",
    label="service",
    query='label_values(trialbus_build_info{namespace=~"$installation"}, service)',
)
INSTANCE = Variable(
    name="instance",
    label="process",
    query="label_values(trialbus_build_info"
    '{namespace=~"$installation",service=~"$service"}, instance)',
)
OPERATED = (INSTALLATION, SERVICE, INSTANCE)


def line(text: str, legend: str) -> list[Query]:
    return [Query(text, legend)]


def latencies(metric: Metric, **where: str) -> list[Query]:
    """The middle, the slow and the slowest, with traces of single values."""
    return [
        Query(quantile(share, metric, **where), f"p{share * 100:g}", exemplars=share == 0.99)
        for share in (0.5, 0.95, 0.99)
    ]


def slowest(metric: Metric, by: str, **where: str) -> list[Query]:
    """p99 by one label."""
    return [Query(quantile(0.99, metric, by, **where), f"{{{{{by}}}}}", exemplars=True)]


def figure(
    title: str,
    about: str,
    text: str,
    unit: Unit,
    *,
    worse: float | None = None,
    bad: float | None = None,
    less_is_bad: bool = False,
    source: Source = Source.METRICS,
    width: int = 4,
) -> Panel:
    """One number."""
    return Panel(
        title=title,
        about=about,
        queries=[Query(text, title)],
        unit=unit,
        look=Look.STAT,
        source=source,
        worse=worse,
        bad=bad,
        less_is_bad=less_is_bad,
        width=width,
        height=4,
        # 99.9 % is not to be shown as 100 %.
        decimals=2 if unit is Unit.SHARE else None,
    )
