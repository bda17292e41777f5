"""The OpenAPI document of Kubernetes' own `v1`: as much as kubectl looks at before it acts."""

from typing import Any

from trialbus.contracts.katib.openapi_meta import META, meta_schemas, reference, type_fields

Json = Any
Object = dict[str, Json]

_CORE = "io.k8s.api.core.v1."
_FREE: Object = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_PATCHES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)
_KINDS = {
    "Namespace": "Where objects with names of their own live. Every one is there already.",
    "Pod": "An attempt of a trial, which is a process on this machine.",
    "Event": "Something that happened to an object.",
}


def core_openapi_v3() -> Object:
    schemas = meta_schemas()
    for kind, meaning in _KINDS.items():
        schemas[f"{_CORE}{kind}"] = _schema(kind, meaning)
    return {
        "openapi": "3.0.0",
        "info": {"title": "Trialbus", "version": "v1.32"},
        "paths": {"/api/v1/namespaces/{name}": {"patch": _patch("Namespace")}},
        "components": {"schemas": dict(sorted(schemas.items()))},
    }


def _schema(kind: str, meaning: str) -> Object:
    schema: Object = {
        "description": meaning,
        "type": "object",
        "properties": {
            **type_fields(),
            "metadata": reference(f"{META}ObjectMeta", "Name, namespace, labels, annotations."),
        },
        "x-kubernetes-group-version-kind": [_identity(kind)],
    }
    if kind == "Event":
        return schema | {"x-kubernetes-preserve-unknown-fields": True}
    schema["properties"] |= {
        "spec": {"description": "What is wanted.", **_FREE},
        "status": {"description": "What is so.", **_FREE},
    }
    return schema


def _patch(kind: str) -> Object:
    """What makes kubectl leave the check of fields to the server."""
    query = [
        {"name": name, "in": "query", "description": meaning, "schema": {"type": "string"}}
        for name, meaning in (
            ("dryRun", "All: check, answer, and change nothing."),
            ("fieldManager", "Who makes the change."),
            ("fieldValidation", "Unknown fields: Ignore, Warn or Strict."),
        )
    ]
    patch = {"schema": reference(f"{META}Patch")}
    answer = {"application/json": {"schema": reference(f"{_CORE}{kind}")}}
    return {
        "description": f"change some fields of one {kind}",
        "operationId": f"patchCoreV1{kind}",
        "parameters": query,
        "requestBody": {"content": dict.fromkeys(_PATCHES, patch), "required": True},
        "responses": {"200": {"description": "OK", "content": answer}},
        "x-kubernetes-action": "patch",
        "x-kubernetes-group-version-kind": _identity(kind),
    }


def _identity(kind: str) -> Object:
    return {"group": "", "version": "v1", "kind": kind}
