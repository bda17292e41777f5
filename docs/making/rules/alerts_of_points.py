"""Alerts on algorithms and stopping rules."""

from making.rules.rule import Alert, Group, fires, silent
from making.rules.series import latencies, series

_FAILED = "trialbus_algorithm_failures_total"
_RULE_FAILED = "trialbus_stopping_rule_failures_total"
_TIME = "trialbus_algorithm_point_seconds"
_QUEUE = "trialbus_algorithm_queue_seconds"
_WAIT = "trialbus_oldest_wait_seconds"
_TPE = {"algorithm": "tpe"}
_INFINITE = float("inf")


def _grown(counter: str, by: str, window: str) -> str:
    """How often within the window. A series of which there was none before counts in full: its
    first value is what has happened, and `increase` alone would not see that."""
    new = f"({counter} unless {counter} offset {window})"
    return f"sum by (namespace, {by}) ((increase({counter}[{window}]) > 0) or {new}) > 0"


POINTS = Group(
    name="trialbus-points",
    rules=(
        Alert(
            name="TrialbusAlgorithmFailing",
            expr=_grown(_FAILED, "algorithm", "15m"),
            severity="warning",
            minutes=0,
            summary="The algorithm {{ $labels.algorithm }} fails.",
            description="{{ $value | humanize }} requests of the last 15 minutes failed because of "
            "{{ $labels.algorithm }}; each of them fails its experiment.",
            cases=(
                fires(series(_FAILED, "suggestion", "_x10 1x20", algorithm="tpe"), 12, _TPE),
                fires(series(_FAILED, "suggestion", "1x30 2x10", algorithm="tpe"), 33, _TPE),
                # Long ago.
                silent(series(_FAILED, "suggestion", "_x10 1x60", algorithm="tpe"), 60),
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
            name="TrialbusAlgorithmHung",
            expr='max by (namespace) (trialbus_oldest_wait_seconds{awaited="points"}) > 120',
            severity="critical",
            minutes=2,
            summary="A request for points is not answered.",
            description="The oldest request for points has been waiting for "
            "{{ $value | humanizeDuration }}; a minute is what an algorithm has.",
            cases=(
                fires(series(_WAIT, "experiment", "0+60x20", awaited="points"), 10),
                # A worker may come whenever it likes.
                silent(series(_WAIT, "experiment", "0+60x20", awaited="worker"), 10),
                silent(series(_WAIT, "experiment", "0 60 0 60 0 60x0 0x20", awaited="points"), 10),
            ),
        ),
        Alert(
            name="TrialbusStoppingRuleFailing",
            expr=_grown(_RULE_FAILED, "rule", "15m"),
            severity="warning",
            minutes=0,
            summary="The stopping rule {{ $labels.rule }} fails.",
            description="{{ $labels.rule }} has failed {{ $value | humanize }} times within 15 "
            "minutes; its trials run to their end.",
            cases=(
                fires(
                    series(_RULE_FAILED, "early_stopping", "_x10 1x20", rule="asha"),
                    12,
                    {"rule": "asha"},
                ),
                silent(series(_RULE_FAILED, "early_stopping", "_x10 1x60", rule="asha"), 60),
            ),
        ),
    ),
)
