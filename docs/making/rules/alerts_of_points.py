"""Alerts on algorithms and stopping rules."""

from making.rules.rule import Alert, Group, Labels, fires, held, silent
from making.rules.series import latencies, series
from trialbus.kernel.limits import (
    ALGORITHM_DEADLINE_S,
    FREE_AHEAD_MAX_POINTS,
    FURTHER_POINT_SHARE,
)

_FAILED = "trialbus_algorithm_failures_total"
_RULE_FAILED = "trialbus_stopping_rule_failures_total"
_TIME = "trialbus_algorithm_point_seconds"
_QUEUE = "trialbus_algorithm_queue_seconds"
_WAIT = "trialbus_oldest_wait_seconds"
_AWAITED_POINTS = f'{_WAIT}{{awaited="points"}}'
_DEATHS = "trialbus_algorithm_process_deaths_total"
_TPE = {"algorithm": "tpe"}
_INFINITE = float("inf")
_STARTED_NAME = "process_start_time_seconds"
_STARTED = f'{_STARTED_NAME}{{job="trialbus"}}'
# No answer may be computed for longer: the deadline of the largest request.
_LONGEST_S = ALGORITHM_DEADLINE_S * (1 + (FREE_AHEAD_MAX_POINTS - 1) * FURTHER_POINT_SHARE)
# A little more: a process starts, an answer is committed.
_HUNG_S = 2700
assert _LONGEST_S < _HUNG_S


def _grown(counter: str, by: str, minutes: int) -> str:
    """How often within these minutes. A series of which there was none before counts in full: its
    first value is what has happened, and `increase` alone would not see that. But only where its
    process was watched before, or has begun since: else it may tell of long ago."""
    window = f"{minutes}m"
    new = f"({counter} unless {counter} offset {window})"
    watched = f"{_STARTED} offset {window} or {_STARTED} > time() - {60 * minutes}"
    known = f"({new} and on (namespace, service, instance) ({watched}))"
    return f"sum by (namespace, {by}) ((increase({counter}[{window}]) > 0) or {known}) > 0"


def _failures(counter: str, service: str, values: str, started: str, **labels: str) -> Labels:
    """started: the process's own time of start, in seconds of the test."""
    return series(counter, service, values, **labels) | series(_STARTED_NAME, service, started)


POINTS = Group(
    name="trialbus-points",
    rules=(
        Alert(
            name="TrialbusAlgorithmFailing",
            expr=_grown(_FAILED, "algorithm", 15),
            severity="warning",
            minutes=0,
            summary="The algorithm {{ $labels.algorithm }} fails.",
            description="{{ $value | humanize }} requests of the last 15 minutes failed because of "
            "{{ $labels.algorithm }}; each of them fails its experiment.",
            cases=(
                # The first failure of a process that runs for long, and of a new one.
                fires(_failures(_FAILED, "suggestion", "_x20 1x20", "0x40", **_TPE), 22, _TPE),
                fires(
                    _failures(_FAILED, "suggestion", "_x20 1x20", "_x20 1190x20", **_TPE), 22, _TPE
                ),
                fires(_failures(_FAILED, "suggestion", "1x30 2x10", "0x40", **_TPE), 33, _TPE),
                # Long ago.
                silent(_failures(_FAILED, "suggestion", "_x10 1x60", "0x70", **_TPE), 60),
                # Prometheus was away for 25 minutes, and what is told is older.
                silent(
                    _failures(_FAILED, "suggestion", "7x30 _x25 7x30", "0x30 _x25 0x30", **_TPE), 58
                ),
                # Prometheus meets an old process.
                silent(_failures(_FAILED, "suggestion", "_x30 7x30", "_x30 0x30", **_TPE), 33),
            ),
        ),
        Alert(
            name="TrialbusAlgorithmSlow",
            expr="histogram_quantile(0.9, sum by (namespace, algorithm, le)"
            " (rate(trialbus_algorithm_point_seconds_bucket[15m]))) > 3",
            severity="warning",
            minutes=10,
            summary="The algorithm {{ $labels.algorithm }} takes long for a point.",
            description="A tenth of the points of {{ $labels.algorithm }} take "
            "{{ $value | humanizeDuration }} or more.",
            cases=(
                fires(
                    latencies(
                        _TIME,
                        "suggestion",
                        {3: "0+4x60", 10: "0+10x60", _INFINITE: "0+10x60"},
                        **_TPE,
                    ),
                    40,
                    _TPE,
                ),
                silent(
                    latencies(
                        _TIME,
                        "suggestion",
                        {3: "0+10x60", 10: "0+10x60", _INFINITE: "0+10x60"},
                        **_TPE,
                    ),
                    40,
                ),
            ),
        ),
        Alert(
            name="TrialbusAlgorithmsQueue",
            expr="histogram_quantile(0.9, sum by (namespace, le)"
            " (rate(trialbus_algorithm_queue_seconds_bucket[15m]))) > 3",
            severity="warning",
            minutes=10,
            summary="Algorithms wait for a process to compute in.",
            description="A tenth of the requests for points wait "
            "{{ $value | humanizeDuration }} or more before they are computed.",
            cases=(
                fires(
                    latencies(
                        _QUEUE,
                        "suggestion",
                        {3: "0+4x60", 10: "0+10x60", _INFINITE: "0+10x60"},
                    ),
                    40,
                ),
                silent(
                    latencies(
                        _QUEUE,
                        "suggestion",
                        {3: "0+10x60", 10: "0+10x60", _INFINITE: "0+10x60"},
                    ),
                    40,
                ),
            ),
        ),
        Alert(
            name="TrialbusAlgorithmProcessesDie",
            expr="sum by (namespace, reason)"
            " (increase(trialbus_algorithm_process_deaths_total"
            '{reason=~"killed|crashed|unstarted"}[15m])) > 3',
            severity="warning",
            minutes=0,
            summary="Processes that algorithms compute in die ({{ $labels.reason }}).",
            description="{{ $value | humanize }} processes that algorithms compute in have ended "
            "within 15 minutes, though nobody ended them ({{ $labels.reason }}).",
            cases=(
                fires(
                    series(_DEATHS, "suggestion", "0+1x40", reason="killed"),
                    20,
                    {"reason": "killed"},
                ),
                # One that is tried twice, as of one question that kills.
                silent(series(_DEATHS, "suggestion", "0x10 2x30", reason="crashed"), 20),
                # Ended by us, so that slow ones hold up nobody.
                silent(series(_DEATHS, "suggestion", "0+1x40", reason="slow"), 20),
            ),
        ),
        Alert(
            name="TrialbusAlgorithmHung",
            expr=f"{held(_AWAITED_POINTS, 'namespace')} > {_HUNG_S}",
            severity="warning",
            minutes=2,
            summary="A request for points is not answered.",
            description="The oldest request for points has been waiting for "
            "{{ $value | humanizeDuration }}: longer than any algorithm may compute by default.",
            cases=(
                fires(series(_WAIT, "experiment", "0+60x60", awaited="points"), 55),
                # A worker may come whenever it likes.
                silent(series(_WAIT, "experiment", "0+60x60", awaited="worker"), 55),
                # The largest request, of an algorithm that needs all of its time again and again.
                silent(series(_WAIT, "experiment", "0+60x43 0+60x43", awaited="points"), 43),
            ),
        ),
        Alert(
            name="TrialbusStoppingRuleFailing",
            expr=_grown(_RULE_FAILED, "rule", 15),
            severity="warning",
            minutes=0,
            summary="The stopping rule {{ $labels.rule }} fails.",
            description="{{ $labels.rule }} has failed {{ $value | humanize }} times within 15 "
            "minutes; its trials run to their end.",
            cases=(
                fires(
                    _failures(_RULE_FAILED, "early_stopping", "_x20 1x20", "0x40", rule="asha"),
                    22,
                    {"rule": "asha"},
                ),
                silent(
                    _failures(_RULE_FAILED, "early_stopping", "_x10 1x60", "0x70", rule="asha"), 60
                ),
            ),
        ),
    ),
)
