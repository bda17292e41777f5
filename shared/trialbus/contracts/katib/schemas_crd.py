"""The custom resource definitions of Katib's kinds, for a cluster.

Other than the gateway's own, their schemas know no null: a field that may not be null is taken out
by the API server when it is, so rules need to know of absence alone.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from trialbus.contracts.katib import crd_bounds as bounds
from trialbus.contracts.katib.crd_rules import RULES
from trialbus.contracts.katib.models import API_GROUP, API_GROUP_VERSION
from trialbus.contracts.katib.schemas import CATEGORIES, EXPERIMENT, Kind, structural_schema

Json = Any
Schema = dict[str, Json]

_FREE = "x-kubernetes-preserve-unknown-fields"
# What is looked at in the trial's object, which is free otherwise.
_OBJECT_FIELDS: Mapping[str, Schema] = {
    "apiVersion": {
        "description": "The group and version of the object, such as batch/v1.",
        "type": "string",
        "maxLength": 1000,
    },
    "kind": {"description": "The kind of the object.", "type": "string", "maxLength": 1000},
    "metadata": {
        "description": "Labels and annotations of the object. It gets the trial's name.",
        "type": "object",
        _FREE: True,
        "properties": {
            name: {"description": "Must be left out.", "type": "string", "maxLength": 1000}
            for name in ("name", "namespace")
        },
    },
}


def custom_resource_definition(kind: Kind) -> dict[str, Json]:
    """As `kubectl apply` takes it (`apiextensions.k8s.io/v1`)."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.crd_name},
        "spec": {
            "group": API_GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.name,
                "listKind": kind.list_name,
                "plural": kind.plural,
                "singular": kind.singular,
                "categories": list(CATEGORIES),
            },
            "versions": [_version(kind)],
        },
    }


def _version(kind: Kind) -> dict[str, Json]:
    columns = [
        {
            "name": column.name,
            "type": column.type,
            "jsonPath": column.json_path,
            "description": column.description,
        }
        for column in kind.columns
    ]
    return {
        "name": API_GROUP_VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": columns,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": definition_schema(kind)},
    }


def definition_schema(kind: Kind) -> Schema:
    """Of a kind's objects on a cluster: with rules for Experiments, which people write."""
    schema: Schema = deepcopy(structural_schema(kind))
    _without_null(schema)
    if kind is EXPERIMENT:
        _bounded(schema)
        for rule in RULES:
            found = schema_at(schema, rule.at)
            found.setdefault("x-kubernetes-validations", []).append(rule.shown())
    return schema


def schema_at(schema: Schema, path: str) -> Schema:
    """`spec.parameters[].name` -> its schema."""
    for name in filter(None, path.split(".")):
        schema = schema["properties"][name.removesuffix("[]")]
        schema = schema["items"] if name.endswith("[]") else schema
    return schema


def _without_null(node: Schema) -> None:
    node.pop("nullable", None)
    for inner in (*node.get("properties", {}).values(), node.get("items"),
                  node.get("additionalProperties")):  # fmt: skip
        if inner is not None:
            _without_null(inner)


def _bounded(schema: Schema) -> None:
    trial_spec = schema_at(schema, "spec.trialTemplate.trialSpec")
    trial_spec["properties"] = deepcopy(dict(_OBJECT_FIELDS))
    for path, names in bounds.REQUIRED.items():
        schema_at(schema, path)["required"] = list(names)
    for path in bounds.NOT_EMPTY:
        schema_at(schema, path)["minLength"] = 1
    for path in bounds.EMPTY_IS_NONE:
        choice = schema_at(schema, path)
        choice["enum"] = [*choice["enum"], ""]
    words = {
        "maxItems": bounds.MAX_ITEMS,
        "minItems": bounds.MIN_ITEMS,
        "minimum": bounds.LEAST,
        "maxLength": bounds.MAX_LENGTHS,
        "maxProperties": bounds.MAX_PROPERTIES,
    }
    for word, limits in words.items():
        for path, limit in limits.items():
            schema_at(schema, path)[word] = limit
