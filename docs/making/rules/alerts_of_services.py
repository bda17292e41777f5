"""Alerts on the processes of the six services."""

from making.rules.rule import Alert, Group, fires, silent
from making.rules.series import INFINITE, latencies, series

_ALL = (
    "experiment",
    "suggestion",
    "trial_launcher",
    "metrics_collector",
    "early_stopping",
    "gateway",
)
_UP = {name: values for it in _ALL for name, values in series("up", it, "1x60").items()}
_VERSION = "trialbus_build_info"
_MEMORY = "process_resident_memory_bytes"
_STARTED = "process_start_time_seconds"
_DELAY = "trialbus_event_loop_delay_seconds"
_PROCESS = {"service": "experiment", "instance": "a:1"}

SERVICES = Group(
    name="trialbus-services",
    rules=(
        Alert(
            name="TrialbusServiceDown",
            expr='up{job="trialbus"} == 0',
            severity="critical",
            minutes=2,
            summary="A process of {{ $labels.service }} does not answer.",
            description="{{ $labels.service }} at {{ $labels.instance }} has not let itself be "
            "scraped for 2 minutes (up is {{ $value }}).",
            cases=(
                fires(series("up", "experiment", "1x5 0x20"), 10, {"job": "trialbus", **_PROCESS}),
                # One scrape that failed.
                silent(series("up", "experiment", "1x5 0 1x20"), 8),
            ),
        ),
        Alert(
            name="TrialbusServiceMissing",
            expr=" or ".join(f'absent(up{{job="trialbus",service="{it}"}})' for it in _ALL),
            severity="critical",
            minutes=10,
            summary="There is no {{ $labels.service }} to scrape.",
            description="Prometheus has no target of {{ $labels.service }}: it does not run, or "
            "is not looked for (absent is {{ $value }}).",
            cases=(
                fires(
                    {name: it for name, it in _UP.items() if "suggestion" not in name},
                    15,
                    {"job": "trialbus", "service": "suggestion"},
                ),
                silent(_UP, 15),
            ),
        ),
        Alert(
            name="TrialbusServiceNotReady",
            expr="trialbus_ready == 0",
            severity="critical",
            minutes=2,
            summary="{{ $labels.service }} runs, and cannot work.",
            description="{{ $labels.service }} at {{ $labels.instance }} has not been ready for 2 "
            "minutes (ready is {{ $value }}): it waits for nats-server or MongoDB.",
            cases=(
                fires(
                    series("trialbus_ready", "experiment", "1x5 0x20"),
                    10,
                    {"job": "trialbus", **_PROCESS},
                ),
                silent(series("trialbus_ready", "experiment", "0 1x20"), 10),
            ),
        ),
        Alert(
            name="TrialbusServiceRestarting",
            # Of one process: whoever restarts all replicas at once does it once.
            expr="max by (namespace, service)"
            ' (changes(process_start_time_seconds{job="trialbus"}[15m])) >= 3',
            severity="warning",
            minutes=0,
            summary="{{ $labels.service }} starts again and again.",
            description="A process of {{ $labels.service }} has started anew {{ $value }} times "
            "within 15 minutes.",
            cases=(
                fires(
                    series(_STARTED, "gateway", "100x3 300x3 500x3 700x10"),
                    12,
                    {"service": "gateway"},
                ),
                silent(
                    series(_STARTED, "gateway", "100x3 300x30")
                    | series(_STARTED, "gateway", "100x4 400x30", instance="b:1")
                    | series(_STARTED, "gateway", "100x5 500x30", instance="c:1"),
                    12,
                ),
            ),
        ),
        Alert(
            name="TrialbusEventLoopSaturated",
            expr="trialbus:loop_delay_seconds:p99_rate5m > 0.3",
            severity="warning",
            minutes=10,
            summary="{{ $labels.service }} is full: its event loop comes late.",
            description="Of a hundred tasks of {{ $labels.service }} at {{ $labels.instance }} one "
            "waits {{ $value | humanizeDuration }} for its turn.",
            cases=(
                fires(
                    latencies(
                        _DELAY, "experiment", {0.3: "0+90x30", 1: "0+120x30", INFINITE: "0+120x30"}
                    ),
                    25,
                    _PROCESS,
                ),
                silent(
                    latencies(
                        _DELAY, "experiment", {0.3: "0+120x30", 1: "0+120x30", INFINITE: "0+120x30"}
                    ),
                    25,
                ),
            ),
        ),
        Alert(
            name="TrialbusHandlingFailing",
            expr="sum by (namespace, service, error)"
            " (rate(trialbus_handling_failures_total[5m])) * 60 > 3",
            severity="warning",
            minutes=5,
            summary="{{ $labels.service }} fails to handle what it is told: {{ $labels.error }}.",
            description="{{ $value | humanize }} times a minute {{ $labels.service }} fails with "
            "{{ $labels.error }} and tries again.",
            cases=(
                fires(
                    series(
                        "trialbus_handling_failures_total",
                        "experiment",
                        "0+6x30",
                        error="TypeError",
                    ),
                    15,
                    {"service": "experiment", "error": "TypeError"},
                ),
                silent(
                    series(
                        "trialbus_handling_failures_total",
                        "experiment",
                        "0x5 6x30",
                        error="TypeError",
                    ),
                    15,
                ),
            ),
        ),
    ),
)

# What shows in hours.
SLOW = Group(
    name="trialbus-slow",
    interval="1m",
    rules=(
        Alert(
            name="TrialbusMemoryGrowing",
            expr='predict_linear(process_resident_memory_bytes{job="trialbus"}[6h], 86400)'
            ' > 1.5 * process_resident_memory_bytes{job="trialbus"}'
            ' and process_resident_memory_bytes{job="trialbus"} > 2e8'
            # What a process learns in its first hours is no leak.
            ' and time() - process_start_time_seconds{job="trialbus"} > 6 * 3600',
            severity="warning",
            minutes=60,
            summary="The memory of {{ $labels.service }} grows.",
            description="{{ $labels.service }} at {{ $labels.instance }} will have "
            "{{ $value | humanize1024 }}B in a day if it goes on, half as much again as now.",
            cases=(
                # 200 MB and 30 MB an hour more.
                fires(
                    series(_MEMORY, "experiment", "300000000+500000x480")
                    | series(_STARTED, "experiment", "0x480"),
                    470,
                    {"job": "trialbus", **_PROCESS},
                ),
                silent(
                    series(_MEMORY, "experiment", "300000000+10000x480")
                    | series(_STARTED, "experiment", "0x480"),
                    470,
                ),
                # The first hours of a process.
                silent(
                    series(_MEMORY, "experiment", "200000000+500000x300")
                    | series(_STARTED, "experiment", "0x300"),
                    290,
                ),
            ),
        ),
        Alert(
            name="TrialbusVersionsDiffer",
            expr="count by (namespace) (count by (namespace, version) (trialbus_build_info)) > 1",
            severity="warning",
            minutes=60,
            summary="Several versions of trialbus run together.",
            description="{{ $value }} versions run together for an hour: an upgrade did not end.",
            cases=(
                fires(
                    series(_VERSION, "gateway", "1x90", version="0.1.0")
                    | series(_VERSION, "experiment", "1x90", version="0.2.0"),
                    80,
                ),
                # While an upgrade goes on.
                silent(
                    series(_VERSION, "gateway", "1x90", version="0.2.0")
                    | series(_VERSION, "experiment", "1x30 _x60", version="0.1.0")
                    | series(_VERSION, "experiment", "_x30 1x60", version="0.2.0"),
                    80,
                ),
            ),
        ),
    ),
)
