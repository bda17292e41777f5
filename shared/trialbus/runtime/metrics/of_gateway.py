"""Metrics of the gateway, and of the gRPC ports that other services have, too."""

from trialbus.runtime import metric_labels as labels
from trialbus.runtime.metric import Label, MetricsOf

_GATEWAY = MetricsOf("gateway")
_SERVES_GRPC = MetricsOf("gateway", "suggestion", "metrics_collector", "early_stopping")


HTTP = _GATEWAY.seconds(
    "trialbus_http_request_seconds",
    "Requests of the HTTP port, to the first byte of the answer.",
    labels.HTTP_ROUTE,
    labels.HTTP_METHOD,
    labels.HTTP_CODE,
)
HTTP_IN_FLIGHT = _GATEWAY.gauge(
    "trialbus_http_requests_in_flight", "Requests whose answer has not begun."
)
STREAMS = _GATEWAY.gauge(
    "trialbus_streams",
    "Open streams.",
    Label("kind", "`events`, `watch` or `log`", ("events", "watch", "log")),
)
GRPC = _SERVES_GRPC.seconds(
    "trialbus_grpc_request_seconds",
    "Calls of a gRPC port.",
    Label("method", "service and method; `unmatched`: there is none"),
    Label("code", "name of the gRPC status"),
)
DOOR_REFUSALS = _GATEWAY.counter(
    "trialbus_requests_refused_total",
    "Requests that the door did not let in.",
    Label(
        "reason",
        "`unauthenticated`, `forbidden`, `rate` or `size`",
        ("unauthenticated", "forbidden", "rate", "size"),
    ),
)
WEBHOOK_ATTEMPTS = _GATEWAY.counter(
    "trialbus_webhook_attempts_total",
    "Attempts to deliver an event to a webhook, and events given up.",
    Label("outcome", "`delivered`, `failed` or `given_up`", ("delivered", "failed", "given_up")),
)
WEBHOOK_WAITING = _GATEWAY.gauge(
    "trialbus_webhook_events_waiting", "Events that wait for a webhook."
)
RESOURCE_SYNC = _GATEWAY.seconds(
    "trialbus_resource_sync_seconds",
    "From the word of a change in the store to the status of its custom resource.",
)
RESOURCES_HALTED = _GATEWAY.gauge(
    "trialbus_resource_sync_halted",
    "1 while no custom resources are kept because this may be another cluster.",
)
RESOURCE_FAILURES = _GATEWAY.counter(
    "trialbus_resource_sync_failures_total",
    "Custom resources that could not be brought in step and are tried again.",
)
