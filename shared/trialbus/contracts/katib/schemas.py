"""The schemas of Katib's kinds, made from the models: what Kubernetes calls structural, so that
they serve in custom resource definitions as they are (no references, a type for every field)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from trialbus.contracts.katib.models import API_GROUP, Experiment, Suggestion, Trial, Wire

Json = Any
Schema = dict[str, Json]

# The keywords of a model's schema that are kept. `additionalProperties` is one where it is the
# schema of a map's values: that other fields are refused is said by their absence.
_KEPT = (
    "description",
    "type",
    "format",
    "enum",
    "minimum",
    "maxLength",
    "items",
    "properties",
    "required",
    "additionalProperties",
)
_EXTENSION = "x-kubernetes-"
_INT_OR_STRING = "x-kubernetes-int-or-string"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of `kubectl get`, beside the name."""

    name: str
    type: str
    json_path: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of `kubeflow.org/v1beta1`, with its names and columns."""

    name: str
    plural: str
    model: type[Wire]
    columns: tuple[Column, ...]

    @property
    def singular(self) -> str:
        return self.name.lower()

    @property
    def list_name(self) -> str:
        return f"{self.name}List"

    @property
    def crd_name(self) -> str:
        return f"{self.plural}.{API_GROUP}"


CATEGORIES = ("all", "kubeflow", "katib")

_STATE = (
    Column(
        name="Type",
        type="string",
        json_path=".status.conditions[-1:].type",
        description="What is so now: the type of the last condition.",
    ),
    Column(
        name="Status",
        type="string",
        json_path=".status.conditions[-1:].status",
        description="Whether it is so.",
    ),
)
_POINTS = (
    Column(
        name="Requested",
        type="string",
        json_path=".spec.requests",
        description="How many points are wanted, in all so far.",
    ),
    Column(
        name="Assigned",
        type="string",
        json_path=".status.suggestionCount",
        description="Number of points that became trials.",
    ),
)
_AGE = (
    Column(
        name="Age",
        type="date",
        json_path=".metadata.creationTimestamp",
        description="How long ago it was made.",
    ),
)

EXPERIMENT = Kind(
    name="Experiment", plural="experiments", model=Experiment, columns=(*_STATE, *_AGE)
)
SUGGESTION = Kind(
    name="Suggestion", plural="suggestions", model=Suggestion, columns=(*_STATE, *_POINTS, *_AGE)
)
TRIAL = Kind(name="Trial", plural="trials", model=Trial, columns=(*_STATE, *_AGE))
KINDS = (EXPERIMENT, SUGGESTION, TRIAL)


@cache
def structural_schema(kind: Kind) -> Schema:
    """The schema of a kind's objects. Read it, do not change it."""
    made = kind.model.model_json_schema()
    schema = _structural(made, made.get("$defs", {}))
    for field in schema["properties"].values():
        field.pop("nullable", None)
    schema["properties"]["metadata"] = {"type": "object"}
    return schema


def _structural(node: Mapping[str, Json], defs: Mapping[str, Json]) -> Schema:
    node = _resolved(node, defs)
    if node.get(_INT_OR_STRING):
        return {
            "description": node["description"],
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            _INT_OR_STRING: True,
        }
    schema = {name: node[name] for name in _KEPT if name in node}
    schema |= {name: value for name, value in node.items() if name.startswith(_EXTENSION)}
    if node.get("nullable") and "enum" not in schema:
        schema["nullable"] = True
    if "description" in schema:
        schema["description"] = " ".join(schema["description"].split())
    if not isinstance(schema.get("additionalProperties", {}), dict):
        del schema["additionalProperties"]
    _without_bounds_of_the_type(schema)
    for name in ("items", "additionalProperties"):
        if name in schema:
            schema[name] = _structural(schema[name], defs)
    if "properties" in schema:
        schema["properties"] = {
            name: _structural(field, defs) for name, field in schema["properties"].items()
        }
    _require_keys(schema)
    return schema


def _resolved(node: Mapping[str, Json], defs: Mapping[str, Json]) -> Schema:
    """Without references, and `nullable` instead of a choice with null. What stands beside a
    reference or a choice says more than what stands in it."""
    rest = dict(node)
    if "$ref" in rest:
        target = defs[rest.pop("$ref").rpartition("/")[2]]
        return _resolved({**target, **rest}, defs)
    choices = rest.pop("anyOf", None)
    if choices is None:
        return rest
    others = [choice for choice in choices if choice.get("type") != "null"]
    if len(others) < len(choices):
        rest["nullable"] = True
    # A choice between types is an integer or a string, which has a keyword of its own.
    return {**_resolved(others[0], defs), **rest}


def _without_bounds_of_the_type(schema: Schema) -> None:
    """A 32-bit number is one by its format; a name out of a list is as long as it is."""
    if schema.get("minimum", 0) < 0:
        del schema["minimum"]
    if "enum" in schema:
        schema.pop("maxLength", None)


def _require_keys(schema: Schema) -> None:
    """Kubernetes wants the keys of a list's items to be there."""
    keys = schema.get("x-kubernetes-list-map-keys")
    if keys is None:
        return
    item = schema["items"]
    item["required"] = [name for name in item["properties"] if name in
                        {*keys, *item.get("required", ())}]  # fmt: skip
    for key in keys:
        item["properties"][key].pop("nullable", None)
