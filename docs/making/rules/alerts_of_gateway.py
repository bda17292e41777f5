"""Alerts on what comes in and what goes out: HTTP, gRPC, webhooks, the cluster."""

from making.rules.promises import WORKED_ROUTES
from making.rules.rule import Alert, Group, fires, silent
from making.rules.series import series

_HTTP = "trialbus_http_request_seconds_count"
_GRPC = "trialbus_grpc_request_seconds_count"
_DOOR = "trialbus_requests_refused_total"
_HOOKS = "trialbus_webhook_attempts_total"
_CLUSTER = "trialbus_cluster_request_seconds_count"
_SYNC = "trialbus_resource_sync_failures_total"
_HALTED = "trialbus_resource_sync_halted"
_METHOD = "trialbus.v1.Workers/Ask"
# Statuses that are the server's fault.
_BROKEN = "INTERNAL|UNKNOWN|UNAVAILABLE|DEADLINE_EXCEEDED|DATA_LOSS"


def _failing(counter: str, codes: str, *, by: str, of: str = "") -> str:
    """That more than 5 % have such a code, and more than one a minute. of: a selector."""
    chosen = ",".join(it for it in (of, f'code=~"{codes}"') if it)
    every = f"{counter}{{{of}}}" if of else counter
    bad = f"sum by ({by}) (rate({counter}{{{chosen}}}[5m]))"
    return f"{bad} / sum by ({by}) (rate({every}[5m])) > 0.05 and {bad} * 60 > 1"


def _coded(counter: str, service: str, values: dict[str, str], **labels: str) -> dict[str, str]:
    """values: of each code."""
    return {
        name: counted
        for code, shown in values.items()
        for name, counted in series(counter, service, shown, code=code, **labels).items()
    }


def _hooks(*, delivered: str, failed: str, given_up: str = "0x60") -> dict[str, str]:
    found = series(_HOOKS, "gateway", delivered, outcome="delivered")
    found |= series(_HOOKS, "gateway", failed, outcome="failed")
    return found | series(_HOOKS, "gateway", given_up, outcome="given_up")


GATEWAY = Group(
    name="trialbus-gateway",
    rules=(
        Alert(
            name="TrialbusGatewayErrors",
            expr=_failing(_HTTP, "5..", by="namespace, route", of=WORKED_ROUTES),
            severity="critical",
            minutes=5,
            summary="The gateway answers {{ $labels.route }} with errors.",
            description="{{ $value | humanizePercentage }} of the requests of {{ $labels.route }} "
            "are answered with 5xx.",
            cases=(
                fires(
                    _coded(_HTTP, "gateway", {"200": "0+90x30", "503": "0+10x30"}, route="/a"),
                    15,
                    {"route": "/a"},
                ),
                silent(
                    _coded(_HTTP, "gateway", {"200": "0+99x30", "503": "0+1x30"}, route="/a"), 15
                ),
                # It is not ready, and says so: TrialbusServiceNotReady.
                silent(_coded(_HTTP, "gateway", {"503": "0+10x30"}, route="/readyz"), 15),
                # What callers do wrong.
                silent(
                    _coded(_HTTP, "gateway", {"200": "0+50x30", "404": "0+50x30"}, route="/a"), 15
                ),
            ),
        ),
        Alert(
            name="TrialbusGrpcErrors",
            expr=_failing(_GRPC, _BROKEN, by="namespace, service, method"),
            severity="warning",
            minutes=5,
            summary="gRPC calls of {{ $labels.method }} fail.",
            description="{{ $value | humanizePercentage }} of the calls of {{ $labels.method }} at "
            "{{ $labels.service }} fail.",
            cases=(
                fires(
                    _coded(
                        _GRPC, "gateway", {"OK": "0+90x30", "INTERNAL": "0+10x30"}, method=_METHOD
                    ),
                    15,
                    {"service": "gateway", "method": _METHOD},
                ),
                silent(
                    _coded(
                        _GRPC, "gateway", {"OK": "0+90x30", "NOT_FOUND": "0+10x30"}, method=_METHOD
                    ),
                    15,
                ),
            ),
        ),
        Alert(
            name="TrialbusDoorRefusals",
            expr="sum by (namespace, reason) (rate(trialbus_requests_refused_total[5m])) > 1",
            severity="warning",
            minutes=5,
            summary="The door turns many away: {{ $labels.reason }}.",
            description="{{ $value | humanize }} requests a second are not let in: "
            "{{ $labels.reason }}.",
            cases=(
                fires(
                    series(_DOOR, "gateway", "0+300x30", reason="unauthenticated"),
                    15,
                    {"reason": "unauthenticated"},
                ),
                # A client with an old token, every ten seconds.
                silent(series(_DOOR, "gateway", "0+6x30", reason="unauthenticated"), 15),
            ),
        ),
        Alert(
            name="TrialbusWebhookFailing",
            expr="sum by (namespace)"
            ' (rate(trialbus_webhook_attempts_total{outcome="failed"}[15m])) / sum by (namespace)'
            ' (rate(trialbus_webhook_attempts_total{outcome=~"delivered|failed"}[15m])) > 0.5',
            severity="warning",
            minutes=10,
            summary="Webhooks are not delivered.",
            description="{{ $value | humanizePercentage }} of the attempts to deliver an event "
            "fail.",
            cases=(
                fires(_hooks(delivered="0+1x60", failed="0+9x60"), 30),
                silent(_hooks(delivered="0+9x60", failed="0+1x60"), 30),
            ),
        ),
        Alert(
            name="TrialbusWebhookEventsLost",
            expr="sum by (namespace)"
            ' (increase(trialbus_webhook_attempts_total{outcome="given_up"}[15m])) > 0',
            severity="warning",
            minutes=0,
            summary="Events for webhooks were given up.",
            description="{{ $value | humanize }} events will never reach their webhook.",
            cases=(
                fires(_hooks(delivered="0+1x60", failed="0+1x60", given_up="0x20 1x40"), 25),
                silent(_hooks(delivered="0+1x60", failed="0+1x60"), 25),
            ),
        ),
        Alert(
            name="TrialbusClusterFailing",
            expr=_failing(_CLUSTER, "0|429|5..", by="namespace, service"),
            severity="warning",
            minutes=5,
            summary="The cluster's API server does not answer {{ $labels.service }}.",
            description="{{ $value | humanizePercentage }} of the requests of "
            "{{ $labels.service }} to the API server fail.",
            cases=(
                fires(
                    _coded(
                        _CLUSTER,
                        "trial_launcher",
                        {"200": "0+90x30", "500": "0+5x30", "0": "0+5x30"},
                        verb="create",
                    ),
                    15,
                    {"service": "trial_launcher"},
                ),
                # One of few.
                silent(
                    _coded(
                        _CLUSTER, "trial_launcher", {"200": "0x30", "0": "0x5 1x25"}, verb="get"
                    ),
                    12,
                ),
                # An object that is there already, or gone already.
                silent(
                    _coded(
                        _CLUSTER,
                        "trial_launcher",
                        {"200": "0+90x30", "409": "0+5x30", "404": "0+5x30"},
                        verb="create",
                    ),
                    15,
                ),
            ),
        ),
        Alert(
            name="TrialbusClusterRefuses",
            expr="sum by (namespace, service, verb, code)"
            ' (rate(trialbus_cluster_request_seconds_count{code=~"401|403"}[10m])) * 60 > 1',
            severity="warning",
            minutes=10,
            summary="The cluster does not permit {{ $labels.service }} to {{ $labels.verb }}.",
            description="{{ $value | humanize }} times a minute the API server answers "
            "{{ $labels.verb }} of {{ $labels.service }} with {{ $labels.code }}.",
            cases=(
                fires(
                    _coded(_CLUSTER, "gateway", {"403": "0+6x60"}, verb="list"),
                    30,
                    {"service": "gateway", "verb": "list", "code": "403"},
                ),
                # A quota.
                silent(_coded(_CLUSTER, "gateway", {"403": "0x10 3x60"}, verb="create"), 30),
            ),
        ),
        Alert(
            name="TrialbusResourceSyncFailing",
            expr="sum by (namespace) (rate(trialbus_resource_sync_failures_total[10m])) * 60 > 2",
            severity="warning",
            minutes=10,
            summary="Custom resources are not brought in step.",
            description="{{ $value | humanize }} times a minute a custom resource could not be "
            "brought in step with the store.",
            cases=(
                fires(series(_SYNC, "gateway", "0+6x60"), 30),
                # One object that the cluster does not take, tried twice a minute.
                silent(series(_SYNC, "gateway", "0+2x60"), 30),
            ),
        ),
        Alert(
            name="TrialbusResourcesHalted",
            expr="sum by (namespace) (trialbus_resource_sync_halted) > 0",
            severity="warning",
            minutes=5,
            summary="The gateway does not know this cluster, and keeps no custom resources.",
            description="{{ $value }} of its gateways keep none: objects that are not there may be "
            "another cluster's, so nothing is deleted or made until somebody says what is to "
            "become of them. The log says how.",
            cases=(
                fires(series(_HALTED, "gateway", "0x5 1x20"), 15),
                # A store that is put back within minutes.
                silent(series(_HALTED, "gateway", "0x5 1x3 0x12"), 15),
            ),
        ),
    ),
)
