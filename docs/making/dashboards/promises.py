"""The latencies that are promised (making.rules.promises), as panels."""

import re
from collections.abc import Mapping

from making.dashboards.panels import Look, Panel, Query, Row, Unit, latencies
from making.dashboards.queries import (
    Without,
    grown,
    metric_named,
    quantile,
    share,
    within,
    zero_without,
)
from making.rules.promises import PROMISES, Promise
from trialbus.runtime import metrics

# What to do when it takes longer.
_WHEN_LATE: Mapping[str, str] = {
    "points": "suggestion is full (its event loop and lag), or many requests wait for a process "
    "to compute in: the dashboard of algorithms; more replicas compute more at once.",
    "modelled_points": "look at the time and the queue of each algorithm on the dashboard of "
    "algorithms; more replicas of suggestion compute more at once.",
    "launch": "processes cannot be spawned (dashboard of capacity), or trial_launcher is full: its "
    "event loop, its lag.",
    "next_trial": "points come late (the panels before), or the experiment service is full: its "
    "lag, its event loop, the store's time.",
    "report": "look at the load and the lag of metrics_collector and at the store's writes. "
    "Clocks that differ between machines show here, too.",
    "verdict": "if reports are stored in time it is early_stopping: its lag, its event loop.",
}
_TIMED = [(it, it.bound_s) for it in PROMISES if it.bound_s is not None]


def _chosen(promise: Promise) -> dict[str, str]:
    return _where(promise.selector)


def _where(selector: str) -> dict[str, str]:
    """Of one label, as in braces."""
    name, operator, values = re.split("(=~|!~|=)", selector, maxsplit=1) if selector else ("",) * 3
    value = values.strip('"')
    return {name: Without(value) if operator == "!~" else value} if name else {}


def _kept(promise: Promise) -> Query:
    metric, chosen = metric_named(promise.metric), _chosen(promise)
    if promise.bound_s is not None:
        return Query(within(promise.bound_s, metric, **chosen), promise.what)
    # Without a single bad one there is no series of them.
    bad = zero_without(grown(metric, **chosen, **_where(promise.bad)))
    return Query(f"1 - {share(bad, grown(metric, **chosen))}", promise.what)


def _latency(promise: Promise, bound_s: float) -> Panel:
    metric = metric_named(promise.metric)
    return Panel(
        title=promise.what[:1].upper() + promise.what[1:],
        about=f"Promised (the line): {promise.told}. If it takes longer: "
        f"{_WHEN_LATE[promise.name]} The alert is {promise.alert}. Dots are single values with "
        "their traces.",
        queries=[
            Query(quantile(part, metric, **_chosen(promise)), f"p{part * 100:g}", part == 0.99)
            for part in (0.5, 0.95, 0.99)
        ],
        unit=Unit.SECONDS,
        bad=bound_s,
    )


PROMISED = Row(
    "Is it fast? Latencies, and what is promised",
    [
        Panel(
            title="Promises kept, of all that happened in the time shown",
            about="Which share was in time, or answered, promise by promise. Good: 99 % and more; "
            "of the requests answered 99.9 %. The panels below say since when, and what to do.",
            queries=[_kept(it) for it in PROMISES],
            unit=Unit.SHARE,
            look=Look.BARS,
            # 98.6 % is not to be shown as 99 %.
            decimals=2,
            worse=0.99,
            bad=0.95,
            less_is_bad=True,
            width=24,
            height=7,
        ),
        *(_latency(*it) for it in _TIMED),
        Panel(
            title="From the end of a trial's last attempt to its being counted",
            about="What lies between a trial's end and the next decision: its metrics, its run, "
            "the experiment's commit. Good: under 0.3 s. Above: metrics_collector or experiment "
            "is behind: their lag.",
            queries=latencies(metrics.TRIAL_COUNTED),
            unit=Unit.SECONDS,
            worse=1,
        ),
    ],
)
