"""Values of the charts of the six services."""

from dataclasses import dataclass

from making.charts.global_values import GLOBAL
from making.charts.schemas import (
    COUNT,
    FLAG,
    PEERS,
    SECRET_KEY,
    SELECTOR,
    SOME,
    TEXT,
    TEXTS,
    choice,
    listed,
)
from making.charts.settings import settings_schema
from making.charts.shared_values import (
    ADDITIONS,
    ANNOTATIONS,
    DISRUPTIONS,
    EXTRA_EGRESS,
    SCHEDULING,
    SERVICE_ACCOUNT,
    image_value,
    resources_value,
)
from making.charts.values import Group, Part, Value
from making.charts.watching_values import OWN_SERVICE_MONITOR
from trialbus.contracts.cluster_permissions import TRIAL_KINDS


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceChart:
    """scales_by: what its autoscaler looks at. own: values that only this one has."""

    name: str
    requests: dict[str, str]
    limits: dict[str, str]
    scales_by: str = ""
    own: tuple[Part, ...] = ()


_SERVICE = Group(
    name="service",
    about="The Service that the gateway is reached by.",
    parts=(
        Value(
            name="type",
            about="ClusterIP, NodePort or LoadBalancer.",
            default="ClusterIP",
            schema=choice("ClusterIP", "NodePort", "LoadBalancer"),
        ),
        Value(
            name="annotations",
            about="Annotations, which load balancers are told things by.",
            default={},
            schema=TEXTS,
        ),
    ),
)

_GATEWAY: tuple[Part, ...] = (
    Value(
        name="tokensSecret",
        about="Secret and key with the file of bearer tokens, which `trialbus auth token create` "
        "makes. Without a name: none; then settings must name an issuer (oidc_issuer) or an "
        "audience (kubernetes_audience).",
        default={"name": "trialbus-access", "key": "tokens.yaml"},
        schema=SECRET_KEY,
    ),
    Value(
        name="webhooksSecret",
        about="Secret and key with the file of webhooks (docs/how-to/receive-webhooks.md); without "
        "a name: none.",
        default={"name": "", "key": "webhooks.yaml"},
        schema=SECRET_KEY,
    ),
    Group(
        name="customResources",
        about="Experiments, Trials and Suggestions as objects of the cluster.",
        parts=(
            Value(
                name="enabled",
                about="Whether the gateway keeps them and the store in step. The cluster must have "
                "their definitions (deploy/crds).",
                default=True,
                schema=FLAG,
            ),
        ),
    ),
    _SERVICE,
    Value(
        name="ingressFrom",
        about="Who may reach the HTTP and gRPC API, as peers of a NetworkPolicy; empty: anybody. "
        "Trials of this installation always may.",
        default=[],
        schema=PEERS,
    ),
)

_LAUNCHER: tuple[Part, ...] = (
    Value(
        name="kinds",
        about="Kinds of objects that trials may be, which the Role allows: "
        f"{', '.join(TRIAL_KINDS)}, or RESOURCE.GROUP of any other.",
        default=["Job"],
        schema={
            **listed(
                {
                    "anyOf": [
                        {"type": "string", "enum": list(TRIAL_KINDS)},
                        {"type": "string", "pattern": "^[a-z0-9]+\\.[a-z0-9][-.a-z0-9]*$"},
                    ]
                }
            ),
            "minItems": 1,
            "uniqueItems": True,
        },
    ),
    Group(
        name="wrapper",
        about="The image with the program that ships a trial's metrics from its pod.",
        parts=(
            Value(
                name="enabled",
                about="Whether trials get it; else logs are followed from outside.",
                default=True,
                schema=FLAG,
            ),
            image_value("trialbus/wrapper"),
        ),
    ),
    Group(
        name="trainer",
        about="The image of trials whose experiment has no template.",
        parts=(
            Value(
                name="enabled",
                about="Whether there is one; else such an experiment is refused.",
                default=True,
                schema=FLAG,
            ),
            image_value("trialbus/trainer"),
        ),
    ),
    Group(
        name="trialNetworkPolicy",
        about="What the pods of trials may reach, in each of global.namespaces.",
        parts=(
            Value(
                name="enabled",
                about="Whether they may reach the gateway, name servers, one another, and nothing "
                "else. They are never let in to NATS and MongoDB.",
                default=False,
                schema=FLAG,
            ),
            EXTRA_EGRESS,
        ),
    ),
)

SERVICE_CHARTS: tuple[ServiceChart, ...] = (
    ServiceChart(
        name="gateway",
        requests={"cpu": "100m", "memory": "128Mi"},
        limits={"cpu": "2", "memory": "512Mi"},
        scales_by="cpu",
        own=_GATEWAY,
    ),
    ServiceChart(
        name="experiment",
        requests={"cpu": "100m", "memory": "128Mi"},
        limits={"cpu": "1", "memory": "512Mi"},
        scales_by="lag",
    ),
    ServiceChart(
        name="suggestion",
        requests={"cpu": "200m", "memory": "256Mi"},
        limits={"cpu": "4", "memory": "2Gi"},
        scales_by="lag",
    ),
    ServiceChart(
        name="trial-launcher",
        requests={"cpu": "100m", "memory": "128Mi"},
        limits={"cpu": "1", "memory": "1Gi"},
        own=_LAUNCHER,
    ),
    ServiceChart(
        name="metrics-collector",
        requests={"cpu": "100m", "memory": "128Mi"},
        limits={"cpu": "1", "memory": "512Mi"},
        scales_by="lag",
    ),
    ServiceChart(
        name="early-stopping",
        requests={"cpu": "100m", "memory": "128Mi"},
        limits={"cpu": "1", "memory": "512Mi"},
        scales_by="lag",
    ),
)


def service_values(chart: ServiceChart) -> tuple[Part, ...]:
    """All values of one service's chart."""
    scaling = _autoscaling(chart)
    return (
        GLOBAL,
        Value(
            name="replicas",
            about="Pods of this service." if scaling is None else "Pods, unless they are scaled.",
            default=1,
            schema=COUNT,
        ),
        image_value(f"trialbus/{chart.name}"),
        Value(
            name="settings",
            about="Settings of this service, over those of global.settings.",
            default={},
            schema=settings_schema(),
        ),
        *chart.own,
        resources_value(chart.requests, chart.limits),
        Group(
            name="storage",
            about="Sizes of the empty folders that a pod may write to.",
            parts=(
                Value(name="tmp", about="Of /tmp.", default="256Mi", schema=TEXT),
                Value(name="data", about="Of the data folder.", default="1Gi", schema=TEXT),
            ),
        ),
        *(() if scaling is None else (scaling,)),
        DISRUPTIONS,
        SERVICE_ACCOUNT,
        OWN_SERVICE_MONITOR,
        EXTRA_EGRESS,
        *SCHEDULING,
        ANNOTATIONS,
        *ADDITIONS,
    )


_CPU = Value(
    name="targetCpuPercent",
    about="Of the requested processor time.",
    default=70,
    schema={"type": "integer", "minimum": 1, "maximum": 1000},
)

_LAG = Group(
    name="lag",
    about="The metric of what waits for this service, which an adapter of the metrics API must "
    "serve.",
    parts=(
        Value(
            name="type",
            about="External (of the server) or Pods (of each pod).",
            default="External",
            schema=choice("External", "Pods"),
        ),
        Value(
            name="metric",
            about="Its name, as the adapter serves it: deploy/helm/README.md has the rule that "
            "makes it of trialbus_consumer_pending_messages.",
            default="trialbus_consumer_lag_messages",
            schema={"type": "string", "minLength": 1},
        ),
        Value(
            name="selector",
            about="Which of them; empty: that of this service (`service`).",
            default={},
            schema=SELECTOR,
        ),
        Value(
            name="averageValue",
            about="Messages for each pod.",
            default="100",
            schema={"type": "string", "pattern": "^[0-9]+[mk]?$"},
        ),
    ),
)


def _autoscaling(chart: ServiceChart) -> Group | None:
    if not chart.scales_by:
        return None
    return Group(
        name="autoscaling",
        about="A HorizontalPodAutoscaler.",
        parts=(
            Value(name="enabled", about="Whether there is one.", default=False, schema=FLAG),
            Value(name="minReplicas", about="Fewest pods.", default=1, schema=SOME),
            Value(
                name="maxReplicas",
                about="Most pods; the event stream has 16 parts to share.",
                default=8,
                schema={"type": "integer", "minimum": 1, "maximum": 64},
            ),
            _CPU if chart.scales_by == "cpu" else _LAG,
        ),
    )
