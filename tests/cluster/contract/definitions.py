"""A custom resource definition that has everything which the product leans on."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from tests.cluster.contract.targets import Target, name

Object = dict[str, Any]
VERSION = "v1"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_COLUMNS = [
    {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
    {
        "name": "Ready",
        "type": "string",
        "jsonPath": '.status.conditions[?(@.type=="Ready")].status',
    },
    {"name": "Size", "type": "integer", "jsonPath": ".spec.size", "priority": 1},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
]
_STATUS = {
    "type": "object",
    "properties": {
        "phase": {"type": "string"},
        "conditions": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type", "status"],
                "properties": {"type": {"type": "string"}, "status": {"type": "string"}},
            },
        },
    },
}
_SPEC = {
    "type": "object",
    "required": ["size"],
    "properties": {
        "size": {"type": "integer", "minimum": 1, "maximum": 10},
        "colour": {"type": "string", "enum": ["red", "blue"], "default": "red"},
        "code": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5},
        "limit": {"type": "integer"},
        "fixed": {
            "type": "string",
            "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "is fixed"}],
        },
        "port": {"x-kubernetes-int-or-string": True},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "nested": {
            "type": "object",
            "default": {},
            "properties": {"depth": {"type": "integer", "default": 3}},
        },
        "parts": {
            "type": "array",
            "maxItems": 3,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string"}, "value": {"type": "number"}},
            },
        },
    },
    "x-kubernetes-validations": [
        {"rule": "!has(self.limit) || self.limit >= self.size", "message": "limit below size"}
    ],
}


def definition(group: str) -> Object:
    schema = {"type": "object", "required": ["spec"], "properties": {"spec": _SPEC}}
    schema["properties"] = {"spec": _SPEC, "status": _STATUS}
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
        "additionalPrinterColumns": _COLUMNS,
    }
    names = {"plural": "samples", "kind": "Sample", "shortNames": ["smp"]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"samples.{group}"},
        "spec": {"group": group, "names": names, "scope": "Namespaced", "versions": [version]},
    }


@contextmanager
def serving_samples(target: Target) -> Iterator[Target]:
    """The target with a group of its own, in which `samples` are served during the block."""
    served = replace(target, group=f"{name('s')}.{target.group}")
    body = definition(served.group)
    served.make(CRDS, body)
    place = f"{CRDS}/{body['metadata']['name']}"
    try:
        served.until_condition(place, "Established")
        path = served.path("samples", group=f"{served.group}/{VERSION}")
        served.until(lambda: served.http.get(path).status_code == 200, "samples are served")
        # Another of the server's parts, which hears of it by itself.
        listed = f"/apis/{served.group}/{VERSION}"
        served.until(lambda: served.http.get(listed).status_code == 200, "they are discovered")
        yield served
    finally:
        served.delete(place)
        served.expect_gone(place)


def define_config_maps(target: Target) -> None:
    """On a server that has none: a kind that looks like them."""
    group = f"core.{target.group}"
    data = {"type": "object", "additionalProperties": {"type": "string"}}
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"data": data}}},
    }
    names = {"plural": "configmaps", "kind": "ConfigMap"}
    body = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"configmaps.{group}"},
        "spec": {"group": group, "names": names, "scope": "Namespaced", "versions": [version]},
    }
    target.make(CRDS, body)
    target.core = f"/apis/{group}/{VERSION}"
    path = target.path("configmaps")
    target.until(lambda: target.http.get(path).status_code == 200, "ConfigMaps are served")


def sample(target: Target, called: str, **spec: Any) -> Object:
    return {
        "apiVersion": f"{target.group}/{VERSION}",
        "kind": "Sample",
        "metadata": {"name": called},
        "spec": {"size": 2, **spec},
    }
