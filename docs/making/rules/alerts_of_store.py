"""Alerts on MongoDB, as the services meet it."""

from making.rules.rule import Alert, Group, fires, silent
from making.rules.series import latencies, series

_EXPERIMENT = {"service": "experiment"}
_SECONDS = "trialbus_store_seconds"


def _calls(operation: str, failed: str) -> dict[str, str]:
    calls = series(f"{_SECONDS}_count", "experiment", "0+600x40", operation=operation)
    name = "trialbus_store_failures_total"
    return calls | series(name, "experiment", failed, operation=operation)


def _conflicts(lost: str, written: str) -> dict[str, str]:
    writes = series("trialbus_store_writes_total", "experiment", written, collection="experiments")
    return writes | series("trialbus_commit_conflicts_total", "experiment", lost)


STORE = Group(
    name="trialbus-store",
    rules=(
        Alert(
            name="TrialbusStoreSlow",
            expr="histogram_quantile(0.99, sum by (namespace, service, operation, le)"
            ' (rate(trialbus_store_seconds_bucket{operation=~"get|commit"}[5m]))) > 1',
            severity="warning",
            minutes=10,
            summary="MongoDB is slow: {{ $labels.operation }} of {{ $labels.service }}.",
            description="Of a hundred calls of {{ $labels.operation }} by {{ $labels.service }} "
            "one takes {{ $value | humanizeDuration }}.",
            cases=(
                fires(
                    latencies(
                        _SECONDS,
                        "experiment",
                        {1: "0+500x40", 3: "0+600x40", float("inf"): "0+600x40"},
                        operation="commit",
                    ),
                    30,
                    {**_EXPERIMENT, "operation": "commit"},
                ),
                silent(
                    latencies(
                        _SECONDS,
                        "experiment",
                        {1: "0+600x40", 3: "0+600x40", float("inf"): "0+600x40"},
                        operation="commit",
                    ),
                    30,
                ),
            ),
        ),
        Alert(
            name="TrialbusStoreFailing",
            # And still: what has passed stops alerting before the window has.
            expr="trialbus:service_store_failures:ratio_rate5m > 0.01"
            " and sum by (namespace, service) (rate(trialbus_store_failures_total[2m])) > 0",
            severity="critical",
            minutes=3,
            summary="MongoDB does not answer {{ $labels.service }}.",
            description="{{ $value | humanizePercentage }} of the calls of {{ $labels.service }} "
            "fail: MongoDB did not answer in time.",
            cases=(
                fires(_calls("get", "0+60x40"), 15, _EXPERIMENT),
                # An election of a few seconds.
                silent(_calls("get", "0x10 50x30"), 13),
                silent(_calls("get", "0+60x15 900x20"), 18),
            ),
        ),
        Alert(
            name="TrialbusStoreNotWriting",
            expr="sum by (namespace, service)"
            ' (rate(trialbus_store_failures_total{operation="commit"}[5m]))'
            " / sum by (namespace, service)"
            ' (rate(trialbus_store_seconds_count{operation="commit"}[5m])) > 0.5',
            severity="critical",
            minutes=2,
            summary="{{ $labels.service }} cannot write to MongoDB.",
            description="{{ $value | humanizePercentage }} of the commits of {{ $labels.service }} "
            "fail: no primary, or a full disk.",
            cases=(
                fires(_calls("commit", "0+600x40"), 15, _EXPERIMENT),
                silent(_calls("commit", "0+60x40"), 15),
                silent(_calls("get", "0+600x40"), 15),
            ),
        ),
        Alert(
            name="TrialbusConflictsHigh",
            expr="sum by (namespace, service) (rate(trialbus_commit_conflicts_total[10m]))"
            " / trialbus:service_store_writes:rate5m > 0.2"
            " and sum by (namespace, service) (rate(trialbus_commit_conflicts_total[10m])) > 1",
            severity="warning",
            minutes=15,
            summary="Replicas of {{ $labels.service }} work on the same experiments.",
            description="For a document that {{ $labels.service }} writes it loses "
            "{{ $value | humanize }} races.",
            cases=(
                fires(_conflicts("0+300x60", "0+600x60"), 40, _EXPERIMENT),
                silent(_conflicts("0+60x60", "0+600x60"), 40),
                # Few, of a service that writes little.
                silent(_conflicts("0+6x60", "0+6x60"), 40),
            ),
        ),
    ),
)
