"""deploy/crds: what an API server would take. Its rules for structural schemas, by hand
(kubernetes.io: Extend the Kubernetes API with CustomResourceDefinitions, "structural schema")."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "deploy/crds"
CRDS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(FOLDER.glob("*.yaml"))}
Schema = Mapping[str, Any]

TYPES = {"object", "array", "string", "integer", "number", "boolean"}
ALLOWED = {
    "description", "type", "format", "enum", "nullable", "properties", "additionalProperties",
    "items", "required", "minimum", "maximum", "minLength", "maxLength", "pattern", "default",
    "anyOf", "x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type",
    "minItems", "maxItems", "maxProperties", "x-kubernetes-validations",
}  # fmt: skip
INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]
SCALARS = {"string", "integer", "number", "boolean"}


def violations(node: Schema, path: str = "") -> Iterator[str]:
    """What an API server would refuse the schema for."""
    yield from (f"{path}: {word} is forbidden" for word in node.keys() - ALLOWED)
    if node.get("x-kubernetes-int-or-string"):
        if "type" in node or node.get("anyOf", INT_OR_STRING) != INT_OR_STRING:
            yield f"{path}: an int-or-string has no type and no other choices"
        return
    if "anyOf" in node:
        yield f"{path}: anyOf without int-or-string"
    if node.get("type") not in TYPES:
        yield f"{path}: needs a type"
    if node.get("nullable") and "enum" in node:
        yield f"{path}: null is none of the enum"
    if node.get("nullable"):
        yield f"{path}: a rule would have to know of null"
    for rule in node.get("x-kubernetes-validations", ()):
        if not rule.get("rule") or not rule.get("message") or "\n" in rule["message"]:
            yield f"{path}: a rule needs a message of one line"
    yield from _object_violations(node, path)
    if node.get("type") == "array":
        yield from _list_violations(node, path)


def _object_violations(node: Schema, path: str) -> Iterator[str]:
    properties = node.get("properties", {})
    if (properties or "additionalProperties" in node) and node.get("type") != "object":
        yield f"{path}: only an object has fields"
    if node.get("x-kubernetes-preserve-unknown-fields") and node.get("type") != "object":
        yield f"{path}: only an object keeps unknown fields"
    if properties and "additionalProperties" in node:
        yield f"{path}: properties and additionalProperties exclude each other"
    if isinstance(node.get("additionalProperties"), bool):
        yield f"{path}: additionalProperties must be a schema"
    elif "additionalProperties" in node:
        yield from violations(node["additionalProperties"], f"{path}.*")
    unknown = set(node.get("required", ())) - set(properties)
    yield from (f"{path}: {name} is required and not there" for name in unknown)
    for name, inner in properties.items():
        yield from violations(inner, f"{path}.{name}")


def _list_violations(node: Schema, path: str) -> Iterator[str]:
    item = node.get("items")
    if not isinstance(item, Mapping):
        yield f"{path}: a list needs items"
        return
    yield from violations(item, f"{path}[]")
    kind, keys = node.get("x-kubernetes-list-type"), node.get("x-kubernetes-list-map-keys", [])
    if kind in {"set", "map"} and item.get("nullable"):
        yield f"{path}: items of a {kind} cannot be null"
    if kind == "set" and item["type"] not in SCALARS:
        yield f"{path}: a set has scalars"
    if (kind == "map") != bool(keys) or len(set(keys)) < len(keys):
        yield f"{path}: a map has keys, and only a map"
    for key in keys:
        inner = item.get("properties", {}).get(key, {})
        if inner.get("type") not in SCALARS or inner.get("nullable"):
            yield f"{path}: the key {key} must be a scalar and not null"
        if key not in item.get("required", ()) and "default" not in inner:
            yield f"{path}: the key {key} must be required"


def schema_of(crd: Schema) -> dict[str, Any]:
    schema: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


@pytest.mark.parametrize("name", CRDS)
def test_an_api_server_takes_the_schema(name: str) -> None:
    assert list(violations(schema_of(CRDS[name]))) == []


@pytest.mark.parametrize("name", CRDS)
def test_the_root_is_an_object_whose_metadata_is_left_to_kubernetes(name: str) -> None:
    schema = schema_of(CRDS[name])
    assert schema["type"] == "object"
    assert schema["properties"]["metadata"] == {"type": "object"}
    assert schema["properties"]["kind"]["type"] == "string"


@pytest.mark.parametrize("kind", ["experiment", "suggestion", "trial"])
def test_names_are_katibs(kind: str) -> None:
    crd = CRDS[kind]
    assert (crd["apiVersion"], crd["kind"]) == (
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
    )
    assert crd["metadata"] == {"name": f"{kind}s.kubeflow.org"}
    spec = crd["spec"]
    assert (spec["group"], spec["scope"]) == ("kubeflow.org", "Namespaced")
    assert spec["names"] == {
        "kind": kind.capitalize(),
        "listKind": f"{kind.capitalize()}List",
        "plural": f"{kind}s",
        "singular": kind,
        "categories": ["all", "kubeflow", "katib"],
    }
    assert [(v["name"], v["served"], v["storage"]) for v in spec["versions"]] == [
        ("v1beta1", True, True)
    ]
    assert spec["versions"][0]["subresources"] == {"status": {}}


STATE = [
    ("Type", ".status.conditions[-1:].type"),
    ("Status", ".status.conditions[-1:].status"),
]
AGE = [("Age", ".metadata.creationTimestamp")]
POINTS = [("Requested", ".spec.requests"), ("Assigned", ".status.suggestionCount")]


@pytest.mark.parametrize(
    ("kind", "columns"),
    [
        ("experiment", STATE + AGE),
        ("suggestion", STATE + POINTS + AGE),
        ("trial", STATE + AGE),
    ],
)
def test_columns_are_katibs(kind: str, columns: list[tuple[str, str]]) -> None:
    shown = CRDS[kind]["spec"]["versions"][0]["additionalPrinterColumns"]
    assert [(column["name"], column["jsonPath"]) for column in shown] == columns
    assert {column["type"] for column in shown if column["name"] == "Age"} == {"date"}


def test_there_is_one_for_each_kind() -> None:
    assert set(CRDS) == {"experiment", "suggestion", "trial"}


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({}, "needs a type"),
        ({"$ref": "#/a", "type": "object"}, "$ref is forbidden"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}], "type": "string"}, "anyOf"),
        ({"type": "object", "additionalProperties": False}, "must be a schema"),
        ({"type": "object", "properties": {"a": {}}}, ".a: needs a type"),
        ({"type": "array"}, "needs items"),
        ({"type": "string", "uniqueItems": True}, "uniqueItems is forbidden"),
        ({"type": "string", "x-kubernetes-preserve-unknown-fields": True}, "only an object"),
        ({"type": "object", "required": ["a"]}, "a is required"),
        ({"type": "string", "enum": ["a"], "nullable": True}, "null is none"),
        ({"type": "string", "x-kubernetes-validations": [{"rule": "true"}]}, "needs a message"),
        (
            {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "properties": {"name": {"type": "string"}}},
            },
            "must be required",
        ),
    ],
)
def test_a_broken_schema_is_found(broken: Schema, words: str) -> None:
    assert any(words in problem for problem in violations(broken))
