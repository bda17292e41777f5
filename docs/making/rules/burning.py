"""Multi-window, multi-burn-rate alerts on the promises (Google, The Site Reliability Workbook,
chapter 5, table 5-8): the long window says that it matters, the short one that it still goes on."""

from dataclasses import dataclass, replace

from making.rules.promises import PROMISES, Promise
from making.rules.rule import Alert, Case, Group, Record, Severity, fires, silent
from making.rules.series import INFINITE, latencies, series

MINUTES = {"5m": 5, "30m": 30, "1h": 60, "2h": 120, "6h": 360, "1d": 1440, "3d": 4320}
# Events a minute.
_MANY, _SOME = 100_000, 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Burning:
    """factor: how many times too fast the budget of misses goes: 1 would use it up in 30 days.
    pace_min: minutes from one evaluation to the next in tests, a divisor of all times there."""

    factor: float
    long: str
    short: str
    minutes: int
    severity: Severity
    pace_min: int


BURNINGS = (
    Burning(factor=14.4, long="1h", short="5m", minutes=2, severity="critical", pace_min=1),
    Burning(factor=6, long="6h", short="30m", minutes=15, severity="critical", pace_min=5),
    Burning(factor=3, long="1d", short="2h", minutes=60, severity="warning", pace_min=30),
    Burning(factor=1, long="3d", short="6h", minutes=180, severity="warning", pace_min=30),
)


def promise_records() -> Group:
    """Of each promise: the share of misses in each window, and events a second in the long ones."""
    long = {burning.long for burning in BURNINGS}
    rules = []
    for promise in PROMISES:
        labels = {"promise": promise.name}
        for window in MINUTES:
            rules.append(
                Record(
                    name=f"trialbus:promise_misses:ratio_rate{window}",
                    expr=f"{promise.misses(window)} / {promise.events(window)}",
                    labels=labels,
                )
            )
            if window in long:
                name = f"trialbus:promise_events:rate{window}"
                rules.append(Record(name=name, expr=promise.events(window), labels=labels))
    return Group(name="trialbus-promises", rules=tuple(rules), interval="1m")


def promise_alerts() -> Group:
    rules = tuple(_alert(promise, burning) for promise in PROMISES for burning in BURNINGS)
    return Group(name="trialbus-promise-alerts", rules=rules, interval="1m")


def _alert(promise: Promise, burning: Burning) -> Alert:
    chosen = f'{{promise="{promise.name}"}}'
    most = f"{burning.factor:g} * {1 - promise.share:.3g}"
    long, short = burning.long, burning.short
    seconds = 60 * MINUTES[long]
    return Alert(
        name=promise.alert,
        expr=f"trialbus:promise_misses:ratio_rate{long}{chosen} > {most}"
        f" and trialbus:promise_misses:ratio_rate{short}{chosen} > {most}"
        f" and trialbus:promise_events:rate{long}{chosen} * {seconds} > {promise.least}",
        severity=burning.severity,
        minutes=burning.minutes,
        labels={"long": long, "short": short},
        summary=f"The promise `{promise.name}` is broken {burning.factor:g} times too often.",
        description=f"Promised: {promise.told}. In the last {long} "
        "{{ $value | humanizePercentage }} missed it, and it goes on.",
        cases=_cases(promise, burning),
    )


def _cases(promise: Promise, burning: Burning) -> tuple[Case, ...]:
    """Fires: half as many misses again as are borne. Silent: two thirds of these; many that are
    over, which only the long window sees still; a burst, which only the short one sees so large;
    a few events, each of them a miss."""
    limit = burning.factor * (1 - promise.share)
    short = MINUTES[burning.short] + max(10, 2 * burning.pace_min)
    minutes = burning.minutes + short
    much = _Phase(minutes=minutes, events=_MANY, missed=1.5 * limit)
    lasting = _traffic(promise, much)
    slower = _traffic(promise, replace(much, missed=0.67 * limit))
    over = _traffic(promise, much, _Phase(minutes=short, events=_SOME, missed=0))
    burst = _traffic(
        promise, replace(much, missed=0), _Phase(minutes=minutes, events=_SOME, missed=1)
    )
    few = _traffic(promise, replace(much, missed=1, events=promise.least / (2 * minutes)))
    return (
        fires(lasting, minutes, {"promise": promise.name}),
        silent(slower, minutes),
        silent(over, minutes + short),
        silent(burst, 2 * minutes),
        silent(few, minutes),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Phase:
    """events: a minute. missed: the share of them that misses."""

    minutes: int
    events: float
    missed: float


def _traffic(promise: Promise, *phases: _Phase) -> dict[str, str]:
    misses = _grown([(it.events * it.missed, it.minutes) for it in phases])
    hits = _grown([(it.events * (1 - it.missed), it.minutes) for it in phases])
    every = _grown([(it.events, it.minutes) for it in phases])
    name, labels = promise.metric, promise.example
    if promise.bound_s is None:
        good = series(f"{name}_count", promise.service, hits, code="200", **labels)
        found = good | series(f"{name}_count", promise.service, misses, code="503", **labels)
        if promise.left_out:
            # Every one a miss, and more of them than of all others.
            many = _grown([(2 * it.events + _SOME, it.minutes) for it in phases])
            away = {"code": "503", **promise.left_out}
            found |= series(f"{name}_count", promise.service, many, **away)
        return found
    return latencies(name, promise.service, {promise.bound_s: hits, INFINITE: every}, **labels)


def _grown(phases: list[tuple[float, int]]) -> str:
    """promtool's notation of a counter that grows by so much a minute, for so many minutes."""
    parts, total = [], 0.0
    for step, minutes in phases:
        parts.append(f"{total:.10g}+{step:.10g}x{minutes}")
        # The next part begins a minute later.
        total += step * (minutes + 1)
    return " ".join(parts)
