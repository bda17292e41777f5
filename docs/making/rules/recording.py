"""What is recorded: how long each hop takes, what each service does, how full it is."""

from making.rules.rule import Group, Record

# Hop -> its histogram. The names are those of the promises, where there is one.
_HOPS = {
    "points": "trialbus_suggestion_seconds",
    "launch": "trialbus_trial_launch_seconds",
    "start": "trialbus_trial_start_seconds",
    "count": "trialbus_trial_counting_seconds",
    "next_trial": "trialbus_next_trial_seconds",
    "report": "trialbus_report_stored_seconds",
    "verdict": "trialbus_stop_verdict_seconds",
    "hint": "trialbus_hint_delay_seconds",
    "request": "trialbus_bus_request_seconds",
    "store": "trialbus_store_seconds",
    "http": "trialbus_http_request_seconds",
    "resource": "trialbus_resource_sync_seconds",
}
_SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
BY_SERVICE = "sum by (namespace, service)"


def _quantile(share: float, histogram: str) -> str:
    buckets = f"sum by (namespace, le) (rate({histogram}_bucket[5m]))"
    return f"histogram_quantile({share}, {buckets})"


HOPS = Group(
    name="trialbus-hops",
    rules=tuple(
        Record(
            name=f"trialbus:hop_seconds:{name}_rate5m",
            expr=_quantile(share, histogram),
            labels={"hop": hop},
        )
        for hop, histogram in _HOPS.items()
        for name, share in _SHARES.items()
    ),
)

WORK = Group(
    name="trialbus-work",
    rules=(
        Record(
            name="trialbus:service_hints:rate5m",
            expr=f"{BY_SERVICE} (rate(trialbus_hints_total[5m]))",
        ),
        Record(
            name="trialbus:service_failures:rate5m",
            expr=f"{BY_SERVICE} (rate(trialbus_handling_failures_total[5m]))",
        ),
        Record(
            name="trialbus:service_store_writes:rate5m",
            expr=f"{BY_SERVICE} (rate(trialbus_store_writes_total[5m]))",
        ),
        Record(
            name="trialbus:service_store_calls:rate5m",
            expr=f"{BY_SERVICE} (rate(trialbus_store_seconds_count[5m]))",
        ),
        Record(
            name="trialbus:service_store_failures:ratio_rate5m",
            expr=f"{BY_SERVICE} (rate(trialbus_store_failures_total[5m]))"
            f" / {BY_SERVICE} (rate(trialbus_store_seconds_count[5m]))",
        ),
        Record(
            name="trialbus:service_request_failures:ratio_rate5m",
            expr=f"{BY_SERVICE} (rate(trialbus_bus_request_failures_total[5m]))"
            f" / {BY_SERVICE} (rate(trialbus_bus_request_seconds_count[5m]))",
        ),
        Record(
            name="trialbus:trials_ended:rate5m",
            expr="sum by (namespace, outcome) (rate(trialbus_trials_ended_total[5m]))",
        ),
        Record(
            name="trialbus:metric_points:rate5m",
            expr="sum by (namespace) (rate(trialbus_metric_points_total[5m]))",
        ),
        Record(
            name="trialbus:points:rate5m",
            expr="sum by (namespace, algorithm) (rate(trialbus_points_total[5m]))",
        ),
        Record(
            name="trialbus:http_requests:rate5m",
            expr="sum by (namespace, code) (rate(trialbus_http_request_seconds_count[5m]))",
        ),
    ),
)

SATURATION = Group(
    name="trialbus-saturation",
    rules=(
        Record(
            name="trialbus:service_cpu:rate5m",
            expr=f'{BY_SERVICE} (rate(process_cpu_seconds_total{{job="trialbus"}}[5m]))',
        ),
        Record(
            name="trialbus:service_memory_bytes:sum",
            expr=f'{BY_SERVICE} (process_resident_memory_bytes{{job="trialbus"}})',
        ),
        Record(
            name="trialbus:loop_delay_seconds:p99_rate5m",
            expr="histogram_quantile(0.99, sum by (namespace, service, instance, le)"
            " (rate(trialbus_event_loop_delay_seconds_bucket[5m])))",
        ),
        # Every replica tells the whole of these.
        Record(
            name="trialbus:consumer_lag_messages:max",
            expr="max by (namespace, service) (trialbus_consumer_pending_messages)",
        ),
        Record(
            name="trialbus:outbox_oldest_seconds:max",
            expr="max by (namespace, service) (trialbus_outbox_oldest_seconds)",
        ),
    ),
)
