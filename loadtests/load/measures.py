"""The figures of a run: a closed set for each scenario, and how each is worked out."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loadtests.load.estimates import histogram_quantile, later, slope
from loadtests.load.people import REQUESTS
from loadtests.load.promises import Finding
from loadtests.load.sampling import ALGORITHMS, HOPS, SUPERVISOR, Sample, Scraped
from loadtests.load.scenario import Scenario
from loadtests.load.windows import Cell
from trialbus.runtime import metrics

STATISTICS = {"mean": "s", "p50": "s", "p95": "s", "p99": "s", "a second": "1/s"}
_SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
PROCESSES = (*sorted(metrics.SERVICES), ALGORITHMS, SUPERVISOR, "nats-server", "mongod")
# Before that, processes warm up.
GROWING_SHARE = 0.75
# A slope over less says nothing.
LEAST_GROWING_S = 120.0
COUNTED = {
    "dead letters": metrics.DEAD_LETTERS,
    "redeliveries": metrics.REDELIVERIES,
    "commit conflicts": metrics.CONFLICTS,
    "sweep repairs": metrics.SWEEP_REPAIRS,
    "failed handlings": metrics.FAILURES,
}
_ALWAYS = {
    "requests a second": "1/s",
    "failed requests": "count",
    "answers 5xx": "count",
    "broken promises": "count",
    "trials a second": "1/s",
    "late to early trials": "ratio",
    "metric points a second": "1/s",
    "seconds to the end": "s",
    "seconds to no lag": "s",
    "highest lag": "messages",
    "lag at the end": "messages",
    "highest outbox": "events",
    "highest memory (PSS)": "MB",
    "processor, all services": "cores",
    "processor, the load itself": "cores",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a run saw. people_s: how long people called. to_end_s, to_no_lag_s: from their going
    until every experiment had ended, and until the bus was empty; None: not within the drain.
    load_s: processor seconds of the process that made the load."""

    scenario: Scenario
    began_at: float
    people_s: float
    cells: Mapping[str, Cell]
    samples: Sequence[Sample]
    last: Scraped
    finding: Finding
    to_end_s: float | None
    to_no_lag_s: float | None
    load_s: float


def figures_of(scenario: Scenario) -> dict[str, str]:
    """Names of all figures that such a run can have, with their units."""
    requests = [name for people in scenario.people for name in REQUESTS[people.kind]]
    found = {
        f"{name}, {statistic}": unit
        for name in dict.fromkeys(requests)
        for statistic, unit in STATISTICS.items()
    }
    found |= _ALWAYS | dict.fromkeys(COUNTED, "count")
    for hop in HOPS:
        found |= {f"{hop}, {share}": "s" for share in _SHARES}
    found |= {f"growth of {name}": "MB/h" for name in PROCESSES}
    return found


def unknown_figures(scenario: Scenario) -> list[str]:
    known = figures_of(scenario)
    return [limit.figure for limit in scenario.limits if limit.figure not in known]


def measured(seen: Seen) -> dict[str, float]:
    """Of the figures that the scenario has, those that this run could measure."""
    found = {**_of_requests(seen), **_of_trials(seen), **_of_services(seen), **_of_memory(seen)}
    return {name: found[name] for name in figures_of(seen.scenario) if name in found}


def _of_requests(seen: Seen) -> dict[str, float]:
    found = {}
    for name, cell in seen.cells.items():
        found[f"{name}, mean"] = cell.mean_s()
        found[f"{name}, a second"] = cell.count / seen.people_s
        for label, share in _SHARES.items():
            found[f"{name}, {label}"] = cell.quantile_s(share)
    found["requests a second"] = sum(it.count for it in seen.cells.values()) / seen.people_s
    found["failed requests"] = sum(it.failed for it in seen.cells.values())
    return found


def _of_trials(seen: Seen) -> dict[str, float]:
    finding, ended = seen.finding, seen.finding.ended_at
    found: dict[str, float] = {"broken promises": len(finding.broken)}
    if seen.to_end_s is not None:
        found["seconds to the end"] = seen.to_end_s
    if finding.late_to_early is not None:
        found["late to early trials"] = finding.late_to_early
    if not ended:
        return found
    if seen.scenario.until == "experiments":
        began, until = finding.first_created_at, ended[-1]
    else:
        began, until = seen.began_at, seen.began_at + seen.people_s
    within = bisect_right(ended, until) - bisect_left(ended, began)
    found["trials a second"] = within / (until - began)
    if finding.points:
        found["metric points a second"] = finding.points / (ended[-1] - finding.first_created_at)
    return found


def _of_services(seen: Seen) -> dict[str, float]:
    sums, samples = seen.last.sums, seen.samples
    found = {name: sums[metric.name] for name, metric in COUNTED.items() if metric.name in sums}
    found["answers 5xx"] = seen.last.errors
    if seen.to_no_lag_s is not None:
        found["seconds to no lag"] = seen.to_no_lag_s
    lags = [it.lag for it in samples if not math.isnan(it.lag)]
    if lags:
        found["highest lag"], found["lag at the end"] = max(lags), lags[-1]
    outbox = metrics.OUTBOX_EVENTS.name
    if waiting := [it.sums[outbox] for it in samples if outbox in it.sums]:
        found["highest outbox"] = max(waiting)
    for hop, buckets in seen.last.hops.items():
        for label, share in _SHARES.items():
            value = histogram_quantile(buckets, share)
            if value is not None:
                found[f"{hop}, {label}"] = value
    return found


def _of_memory(seen: Seen) -> dict[str, float]:
    samples = seen.samples
    first, last = samples[0], samples[-1]
    found = {
        "highest memory (PSS)": max(
            sum(usage.pss_mb for usage in it.usage.values()) for it in samples
        ),
        "processor, the load itself": seen.load_s / seen.people_s,
    }
    if last.at > first.at:
        spent = sum(
            max(0.0, usage.processor_s - first.usage[name].processor_s)
            for name, usage in last.usage.items()
            if name in first.usage
        )
        found["processor, all services"] = spent / (last.at - first.at)
    for name in PROCESSES:
        if (grown := growth(samples, name, until=seen.people_s)) is not None:
            found[f"growth of {name}"] = grown
    return found


def growth(samples: Sequence[Sample], process: str, *, until: float) -> float | None:
    """Of the memory that it shares with none, MB an hour, in the last three quarters of the time in
    which people called; None if that is too short."""
    points = [
        (it.at, it.usage[process].own_mb)
        for it in samples
        if process in it.usage and it.at <= until
    ]
    late = later(points, GROWING_SHARE)
    if len(late) < 2 or late[-1][0] - late[0][0] < LEAST_GROWING_S * GROWING_SHARE:
        return None
    return slope(late) * 3600
