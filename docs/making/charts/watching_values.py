"""Values of what watches an installation: Prometheus, Grafana, a collector of traces."""

from making.charts.schemas import FLAG, PEERS, TEXTS, choice
from making.charts.values import Group, Value

_DURATION = {"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"}

SERVICE_MONITOR = Group(
    name="serviceMonitor",
    about="ServiceMonitors of all services, for a Prometheus operator, which must be there.",
    parts=(
        Value(name="enabled", about="Whether there are any.", default=False, schema=FLAG),
        Value(name="interval", about="How often it scrapes.", default="30s", schema=_DURATION),
        Value(
            name="labels", about="Labels that the operator chooses by.", default={}, schema=TEXTS
        ),
    ),
)

OWN_SERVICE_MONITOR = Group(
    name="serviceMonitor",
    about="A ServiceMonitor of this service, whatever global.serviceMonitor says.",
    parts=(
        Value(name="enabled", about="Whether there is one.", default=False, schema=FLAG),
        Value(
            name="interval",
            about="Instead of global.serviceMonitor.interval.",
            default="",
            schema={"type": "string", "pattern": "^([0-9]+(ms|s|m|h))?$"},
        ),
        Value(
            name="labels",
            about="Labels beside those of global.serviceMonitor.",
            default={},
            schema=TEXTS,
        ),
    ),
)

TRACING = Group(
    name="tracing",
    about="Where the services' traces go.",
    parts=(
        Value(
            name="endpoint",
            about="Address of a collector that takes OTLP over HTTP, such as "
            "`http://otel-collector.monitoring.svc:4318`; empty: there are no traces.",
            default="",
            schema={"type": "string", "pattern": "^(https?://.+)?$"},
        ),
        Value(
            name="ratio",
            about="Share of traces that are kept, of those that begin here.",
            default=0.1,
            schema={"type": "number", "minimum": 0, "maximum": 1},
        ),
    ),
)

# Part of global.networkPolicy.
TRACING_PEERS = Value(
    name="tracing",
    about="Where the collector of global.tracing is; empty: anywhere, on the port of its address.",
    default=[],
    schema=PEERS,
)


def _labelled(name: str, about: str, label: str) -> Group:
    """A ConfigMap that a sidecar of Grafana's chart looks for."""
    return Group(
        name=name,
        about=about,
        parts=(
            Value(name="enabled", about="Whether it is there.", default=False, schema=FLAG),
            Value(
                name="labels",
                about="Labels that Grafana's sidecar chooses by.",
                default={label: "1"},
                schema=TEXTS,
            ),
            Value(
                name="annotations",
                about="Annotations, such as `grafana_folder`.",
                default={},
                schema=TEXTS,
            ),
        ),
    )


_DATA_SOURCE = _labelled(
    "dataSource",
    "The gateway as a data source of Grafana: experiments and trials out of the store.",
    "grafana_datasource",
)

MONITORING = Group(
    name="monitoring",
    about="What Prometheus and Grafana are given: docs/operations.",
    parts=(
        Group(
            name="rules",
            about="Recording and alerting rules.",
            parts=(
                Value(name="enabled", about="Whether they are there.", default=False, schema=FLAG),
                Value(
                    name="kind",
                    about="PrometheusRule, for a Prometheus operator, or ConfigMap, with a rule "
                    "file `trialbus.yaml`.",
                    default="PrometheusRule",
                    schema=choice("PrometheusRule", "ConfigMap"),
                ),
                Value(
                    name="labels",
                    about="Labels that the operator, or whoever mounts them, chooses by.",
                    default={},
                    schema=TEXTS,
                ),
                Value(
                    name="runbookUrl",
                    about="Where people read docs/operations/runbook.md: what alerts lead to.",
                    default="docs/operations/runbook.md",
                    schema={"type": "string", "minLength": 1},
                ),
            ),
        ),
        _labelled("dashboards", "The dashboards, each in a ConfigMap.", "grafana_dashboard"),
        Group(
            name=_DATA_SOURCE.name,
            about=_DATA_SOURCE.about,
            parts=(
                *_DATA_SOURCE.parts,
                Value(
                    name="tokenVariable",
                    about="Variable of Grafana's own environment with a reader's token; empty: "
                    "none is sent.",
                    default="TRIALBUS_TOKEN",
                    schema={"type": "string", "pattern": "^([A-Za-z_][A-Za-z0-9_]*)?$"},
                ),
            ),
        ),
    ),
)
