"""The schema of `settings:`: those of the services' settings that a chart does not set itself."""

from pathlib import Path
from typing import Any, get_args, get_origin

from annotated_types import Ge, Gt, Le

from trialbus.runtime.settings import Settings

# Follow from other values: addresses, ports, paths of mounted Secrets, where trials run.
BY_OTHER_VALUES = frozenset(
    {
        "nats_url",
        "nats_seed_file",
        "nats_tls_ca",
        "nats_tls_cert",
        "nats_tls_key",
        "nats_replicas",
        "nats_event_bytes",
        "mongo_url",
        "mongo_database",
        "data_dir",
        "host",
        "health_port",
        "http_port",
        "grpc_port",
        "tls_cert",
        "tls_key",
        "tokens_file",
        "trial_key_file",
        "webhooks_file",
        "place",
        "kubernetes_namespaces",
        "kubernetes_instance",
        "custom_resources",
        "wrapper_image",
        "default_trial_image",
        "trial_gateway_url",
        "trial_gateway_grpc",
        "suggestion_grpc",
        "metrics_collector_grpc",
        "early_stopping_grpc",
        "trace_endpoint",
        "trace_ratio",
    }
)
# Of processes on one machine: what a container's files stand for there.
ONE_MACHINE = frozenset({"image_map", "path_map", "interpreter", "kubeconfig"})


def settings_schema() -> dict[str, Any]:
    """Closed. A value may have the setting's own type, and becomes its environment variable."""
    missing = (BY_OTHER_VALUES | ONE_MACHINE) - Settings.model_fields.keys()
    if missing:
        raise ValueError(f"there are no settings {sorted(missing)}")
    properties = {
        name: {"description": info.description, **_type_of(name, info.annotation, info.metadata)}
        for name, info in Settings.model_fields.items()
        if name not in BY_OTHER_VALUES | ONE_MACHINE
    }
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _type_of(name: str, annotation: Any, bounds: list[Any]) -> dict[str, Any]:
    if annotation is bool:
        return {"type": "boolean"}
    if annotation in (int, float):
        return {"type": "integer" if annotation is int else "number"} | _bounds(bounds)
    if annotation in (str, Path):
        return {"type": "string"}
    if get_args(annotation) and all(isinstance(it, str) for it in get_args(annotation)):
        return {"type": "string", "enum": list(get_args(annotation))}
    if get_origin(annotation) is dict and get_args(annotation) == (str, str):
        return {"type": "object", "additionalProperties": {"type": "string"}}
    raise ValueError(f"the setting {name} has a type that no value stands for: {annotation}")


def _bounds(metadata: list[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for bound in metadata:
        match bound:
            case Ge(ge=least):
                found["minimum"] = least
            case Gt(gt=below):
                found["exclusiveMinimum"] = below
            case Le(le=most):
                found["maximum"] = most
            case _:
                pass
    return found
