"""Schemas of built-in kinds (the offline ones of kubernetes-validate) and of custom resources, as
nodes that check, prune and fill a value in one walk.

Built-in kinds are decoded by Go types on a real server: a wrong type there is a 400. Custom
resources are checked against their structural schema: a 422 with a cause for each field.
"""

import functools
import json
import re
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

Object = dict[str, Any]
SCHEMAS_OF = "v1.36.0-local"
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}
# What every object may have beside its own schema.
_METADATA = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


@dataclass(slots=True, eq=False, kw_only=True)
class Node:
    """type: "" takes everything. extra: the node of keys that `fields` does not name."""

    type: str = ""
    fields: dict[str, "Node"] = field(default_factory=dict)
    extra: "Node | None" = None
    items: "Node | None" = None
    required: tuple[str, ...] = ()
    enum: tuple[Any, ...] = ()
    nullable: bool = False
    preserve: bool = False
    int_or_string: bool = False
    embedded: bool = False
    has_default: bool = False
    default: Any = None
    go: bool = False
    # The definition that stands behind it, of built-in kinds: filled when first looked into.
    pending: str = ""
    merge_key: str = ""
    list_type: str = ""
    list_keys: tuple[str, ...] = ()
    atomic: bool = False
    limits: dict[str, Any] = field(default_factory=dict)
    pattern: re.Pattern[str] | None = None
    all_of: tuple["Node", ...] = ()
    any_of: tuple["Node", ...] = ()
    one_of: tuple["Node", ...] = ()
    negated: "Node | None" = None
    rules: tuple[Object, ...] = ()
    holds_rules: bool = False
    holds_defaults: bool = False

    def is_type(self, value: object) -> bool:
        if self.int_or_string:
            return isinstance(value, int | str) and not isinstance(value, bool)
        if not self.type:
            return True
        if isinstance(value, bool):
            return self.type == "boolean"
        if self.type == "integer" and isinstance(value, float):
            return value.is_integer()
        return isinstance(value, _TYPES[self.type])


@functools.cache
def _definitions() -> dict[str, Object]:
    folder = resources.files("kubernetes_validate") / "kubernetes-json-schema" / SCHEMAS_OF
    loaded: dict[str, Object] = json.loads((folder / "_definitions.json").read_text())["$defs"]
    return loaded


@functools.cache
def _definition_names() -> dict[tuple[str, str, str], str]:
    found: dict[tuple[str, str, str], str] = {}
    for name, schema in _definitions().items():
        for gvk in schema.get("x-kubernetes-group-version-kind") or ():
            found.setdefault((gvk["group"], gvk["version"], gvk["kind"]), name)
    return found


@functools.cache
def builtin_node(group: str, version: str, kind: str) -> Node | None:
    name = _definition_names().get((group, version, kind))
    return None if name is None else _defined(name)


@functools.cache
def _defined(name: str) -> Node:
    return Node(go=True, type="object", pending=name)


def metadata_node() -> Node:
    return opened(_defined(_METADATA))


def opened(node: Node) -> Node:
    """The node with its fields there."""
    if node.pending:
        name, node.pending = node.pending, ""
        _fill_builtin(node, _definitions()[name])
    return node


def _builtin(schema: Object) -> Node:
    if "$ref" in schema:
        return _defined(schema["$ref"].rpartition("/")[2])
    node = Node(go=True)
    _fill_builtin(node, schema)
    return node


def _fill_builtin(node: Node, schema: Object) -> None:
    node.nullable = True
    if "oneOf" in schema:
        # IntOrString and Quantity.
        node.int_or_string, node.type = True, ""
        return
    types = schema.get("type", "")
    node.type = types if isinstance(types, str) else next((t for t in types if t != "null"), "")
    node.fields = {key: _builtin(value) for key, value in schema.get("properties", {}).items()}
    extra = schema.get("additionalProperties")
    node.extra = _builtin(extra) if isinstance(extra, dict) else None
    node.items = _builtin(schema["items"]) if "items" in schema else None
    node.required = tuple(schema.get("required") or ())
    node.merge_key = schema.get("x-kubernetes-patch-merge-key", "")
    node.list_type = schema.get("x-kubernetes-list-type", "")
    node.list_keys = tuple(schema.get("x-kubernetes-list-map-keys") or ())
    node.atomic = schema.get("x-kubernetes-map-type") == "atomic"
    free = node.type == "object" and not node.fields and node.extra is None
    node.preserve = free or bool(schema.get("x-kubernetes-preserve-unknown-fields"))
    if node.type == "string" and schema.get("format") in ("date-time", "int-or-string"):
        node.limits = {"format": schema["format"]}


_LIMITS = (
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "uniqueItems",
    "format",
)


def crd_node(schema: Object, *, root: bool = False) -> Node:
    """Of a structural schema. root: apiVersion, kind and metadata are there without being named."""
    fields = {key: crd_node(value) for key, value in (schema.get("properties") or {}).items()}
    extra = schema.get("additionalProperties")
    node = Node(
        type=schema.get("type", ""),
        fields=fields,
        extra=crd_node(extra) if isinstance(extra, dict) else Node() if extra is True else None,
        items=crd_node(schema["items"]) if "items" in schema else None,
        required=tuple(schema.get("required") or ()),
        enum=tuple(schema.get("enum") or ()),
        nullable=bool(schema.get("nullable")),
        preserve=bool(schema.get("x-kubernetes-preserve-unknown-fields")),
        int_or_string=bool(schema.get("x-kubernetes-int-or-string")),
        embedded=bool(schema.get("x-kubernetes-embedded-resource")),
        has_default="default" in schema,
        default=schema.get("default"),
        list_type=schema.get("x-kubernetes-list-type", ""),
        list_keys=tuple(schema.get("x-kubernetes-list-map-keys") or ()),
        atomic=schema.get("x-kubernetes-map-type") == "atomic",
        limits={key: schema[key] for key in _LIMITS if key in schema},
        pattern=re.compile(schema["pattern"]) if "pattern" in schema else None,
        all_of=tuple(map(crd_node, schema.get("allOf") or ())),
        any_of=tuple(map(crd_node, schema.get("anyOf") or ())),
        one_of=tuple(map(crd_node, schema.get("oneOf") or ())),
        negated=crd_node(schema["not"]) if "not" in schema else None,
        rules=tuple(schema.get("x-kubernetes-validations") or ()),
    )
    if root or node.embedded:
        node.fields = {**node.fields, **_envelope()}
    below = [*node.fields.values(), *(n for n in (node.extra, node.items) if n)]
    node.holds_rules = bool(node.rules) or any(n.holds_rules for n in below)
    node.holds_defaults = any(n.has_default or n.holds_defaults for n in below)
    return node


def _envelope() -> dict[str, Node]:
    text = Node(type="string")
    return {"apiVersion": text, "kind": text, "metadata": _defined(_METADATA)}
