"""Values that most charts have: of images and pods."""

from typing import Any

from making.charts.schemas import (
    EGRESS,
    ENVIRONMENT,
    FLAG,
    MOUNTS,
    NAME,
    RESOURCES,
    SOME,
    SPREAD,
    TEXT,
    TEXTS,
    TOLERATIONS,
    VOLUMES,
)
from making.charts.values import Group, Part, Value


def image_value(repository: str, tag: str = "") -> Group:
    return Group(
        name="image",
        about="The container image.",
        parts=(
            Value(
                name="registry",
                about="Instead of global.image.registry.",
                default="",
                schema=TEXT,
            ),
            Value(name="repository", about="Its name.", default=repository, schema=TEXT),
            Value(
                name="tag",
                about="Instead of global.image.tag.",
                default=tag,
                schema={"type": "string", "not": {"const": "latest"}},
            ),
            Value(
                name="digest",
                about="`sha256:...`; goes before the tag.",
                default="",
                schema={"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
            ),
        ),
    )


def resources_value(requests: dict[str, str], limits: dict[str, str]) -> Value:
    return Value(
        name="resources",
        about="What a pod is sure to get, and what it gets at most.",
        default={"requests": requests, "limits": limits},
        schema=RESOURCES,
    )


def _map_value(name: str, about: str, schema: dict[str, Any] | None = None) -> Value:
    return Value(name=name, about=about, default={}, schema=schema or TEXTS)


SCHEDULING: tuple[Part, ...] = (
    Value(
        name="priorityClassName",
        about="PriorityClass of the pods.",
        default="",
        schema=NAME,
    ),
    _map_value("nodeSelector", "Labels of the nodes that pods may run on."),
    Value(
        name="tolerations",
        about="Taints of nodes that the pods bear.",
        default=[],
        schema=TOLERATIONS,
    ),
    Value(
        name="topologySpread",
        about="How replicas are spread; each gets the selector of these pods.",
        default=[
            {
                "topologyKey": "kubernetes.io/hostname",
                "maxSkew": 1,
                "whenUnsatisfiable": "ScheduleAnyway",
            }
        ],
        schema=SPREAD,
    ),
    _map_value("podAnnotations", "Annotations of the pods."),
    _map_value("podLabels", "More labels of the pods."),
)

ADDITIONS: tuple[Part, ...] = (
    Value(
        name="extraEnv",
        about="More environment variables, as Kubernetes writes them.",
        default=[],
        schema=ENVIRONMENT,
    ),
    Value(
        name="extraVolumes",
        about="More volumes: of Secrets, ConfigMaps, claims, or empty ones.",
        default=[],
        schema=VOLUMES,
    ),
    Value(
        name="extraVolumeMounts",
        about="Where they are mounted.",
        default=[],
        schema=MOUNTS,
    ),
)

EXTRA_EGRESS = Value(
    name="extraEgress",
    about="Where else the pods may connect to, as rules of a NetworkPolicy: an issuer of tokens, "
    "webhooks, algorithms elsewhere.",
    default=[],
    schema=EGRESS,
)

DISRUPTIONS = Group(
    name="podDisruptionBudget",
    about="What a drained node may take down at once.",
    parts=(
        Value(name="enabled", about="Whether there is one.", default=True, schema=FLAG),
        Value(
            name="maxUnavailable",
            about="Pods that may be missing.",
            default=1,
            schema=SOME,
        ),
    ),
)

ANNOTATIONS = _map_value("annotations", "Annotations of the workload's own object.")

SERVICE_ACCOUNT = Group(
    name="serviceAccount",
    about="The account of the pods.",
    parts=(
        Value(
            name="name",
            about="One that is there; empty: one is made.",
            default="",
            schema=NAME,
        ),
        _map_value("annotations", "Annotations of the one that is made."),
    ),
)
