"""The OpenAPI documents of `apis/kubeflow.org/v1beta1`, which kubectl checks and explains with."""

from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from typing import Any

from trialbus.contracts.katib.models import API_VERSION
from trialbus.contracts.katib.openapi_meta import META, meta_schemas, reference, type_fields
from trialbus.contracts.katib.openapi_operations import (
    discovery_path,
    group_version_kind,
    paths_of,
    schema_name,
)
from trialbus.contracts.katib.schemas import KINDS, Kind, structural_schema

Json = Any
Document = dict[str, Json]

TITLE = "Trialbus"
# Of the Kubernetes API whose rules are followed.
VERSION = "v1.32"


@cache
def openapi_v3() -> Document:
    """The document of OpenAPI 3.0. Read it, do not change it."""
    schemas = meta_schemas()
    paths = discovery_path()
    for kind in KINDS:
        schemas[schema_name(kind.name)] = _object_schema(kind)
        schemas[schema_name(kind.list_name)] = _list_schema(kind)
        paths |= paths_of(kind)
    return {
        "openapi": "3.0.0",
        "info": {"title": TITLE, "version": VERSION},
        "paths": paths,
        "components": {"schemas": dict(sorted(schemas.items()))},
    }


def _object_schema(kind: Kind) -> Json:
    """Beside the structural schema: what a client must send, as no definition of custom resources
    may say it."""
    schema = deepcopy(structural_schema(kind))
    fields = schema["properties"]
    fields["apiVersion"]["enum"] = [API_VERSION]
    fields["kind"]["enum"] = [kind.name]
    fields["metadata"] = reference(f"{META}ObjectMeta", "Name, namespace, labels and annotations.")
    return schema | {
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "x-kubernetes-group-version-kind": [group_version_kind(kind.name)],
    }


def _list_schema(kind: Kind) -> Json:
    items = {
        "description": "The objects.",
        "type": "array",
        "items": reference(schema_name(kind.name)),
    }
    return {
        "description": f"A list of {kind.plural}.",
        "type": "object",
        "required": ["items"],
        "properties": {
            **type_fields(),
            "items": items,
            "metadata": reference(f"{META}ListMeta", "Of the list."),
        },
        "x-kubernetes-group-version-kind": [group_version_kind(kind.list_name)],
    }


@cache
def openapi_v2() -> Document:
    """The same as Swagger 2.0, for older clients. Read it, do not change it."""
    v3 = openapi_v3()
    return {
        "swagger": "2.0",
        "info": v3["info"],
        "paths": {path: _v2_path(item) for path, item in v3["paths"].items()},
        "definitions": {
            name: _v2_schema(schema) for name, schema in v3["components"]["schemas"].items()
        },
    }


def _v2_path(item: Mapping[str, Json]) -> Json:
    return {
        name: [_v2_parameter(it) for it in value]
        if name == "parameters"
        else _v2_operation(value)
        for name, value in item.items()
    }  # fmt: skip


def _v2_operation(operation: Mapping[str, Json]) -> Json:
    made = dict(operation)
    parameters = [_v2_parameter(parameter) for parameter in made.get("parameters", ())]
    body = made.pop("requestBody", None)
    if body is not None:
        made["consumes"] = list(body["content"])
        first = next(iter(body["content"].values()))
        parameters.append(
            {
                "name": "body",
                "in": "body",
                "required": body.get("required", False),
                "schema": _v2_schema(first["schema"]),
            }
        )
    answers = made["responses"]
    made["produces"] = list(next(iter(answers.values()))["content"])
    made["responses"] = {code: _v2_answer(answer) for code, answer in answers.items()}
    return made | {"parameters": parameters}


def _v2_answer(answer: Mapping[str, Json]) -> Json:
    first = next(iter(answer["content"].values()))
    return {"description": answer["description"], "schema": _v2_schema(first["schema"])}


def _v2_parameter(parameter: Mapping[str, Json]) -> Json:
    """The schema's keywords stand in the parameter itself."""
    rest = {name: value for name, value in parameter.items() if name != "schema"}
    return {**rest, **parameter["schema"]}


def _v2_schema(schema: Json) -> Json:
    """Without what version 2 has no words for: null, choices, references with a description."""
    if isinstance(schema, list):
        return [_v2_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {
        name: _v2_schema(value)
        for name, value in schema.items()
        if name not in {"nullable", "anyOf", "allOf"} or isinstance(value, dict)
    }
    if "$ref" in made:
        made["$ref"] = made["$ref"].replace("#/components/schemas/", "#/definitions/")
    if "allOf" in schema and isinstance(schema["allOf"], list):
        made |= _v2_schema(schema["allOf"][0])
    if schema.get("x-kubernetes-int-or-string"):
        made |= {"type": "string", "format": "int-or-string"}
    return made
