"""Whether a custom resource definition is one that a server takes: a structural schema."""

from typing import Any

from tests.cluster.double.errors import Cause
from tests.cluster.double.rules import syntax_problem

Object = dict[str, Any]
_FREE_FORM = ("x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields")
_SCHEMA = "openAPIV3Schema"


def _required(path: str, why: str = "") -> Cause:
    message = f"Required value: {why}" if why else "Required value"
    return Cause(reason="FieldValueRequired", field=path, message=message)


def _forbidden(path: str, why: str) -> Cause:
    return Cause(reason="FieldValueForbidden", field=path, message=f"Forbidden: {why}")


def _invalid(path: str, value: object, why: str) -> Cause:
    return Cause(reason="FieldValueInvalid", field=path, message=f"Invalid value: {value}: {why}")


def definition_causes(name: str, spec: Object) -> list[Cause]:
    names, versions = spec.get("names") or {}, spec.get("versions") or []
    causes = [_required(f"spec.names.{k}") for k in ("plural", "kind") if not names.get(k)]
    causes += [_required(f"spec.{k}") for k in ("group", "scope") if not spec.get(k)]
    if not versions:
        causes.append(_required("spec.versions"))
    if causes:
        return causes
    wanted = f"{names['plural']}.{spec['group']}"
    if name != wanted:
        text = 'must be spec.names.plural+"."+spec.group'
        causes.append(_invalid("metadata.name", f'"{name}"', text))
    if sum(bool(v.get("storage")) for v in versions) != 1:
        text = "must have exactly one version marked as storage version"
        causes.append(_invalid("spec.versions", '"array"', text))
    for i, version in enumerate(versions):
        path = f"spec.versions[{i}].schema.{_SCHEMA}"
        schema = (version.get("schema") or {}).get(_SCHEMA)
        if schema is None:
            causes.append(_required(path, "schemas are required"))
        else:
            causes += _node(schema, path, root=True)
    return causes


def _node(schema: Object, path: str, *, root: bool = False) -> list[Cause]:
    causes: list[Cause] = []
    kind = schema.get("type")
    if not kind and not any(schema.get(key) for key in _FREE_FORM):
        causes.append(_required(f"{path}.type", "must not be empty for specified object fields"))
    if root and kind != "object":
        causes.append(_invalid(f"{path}.type", f'"{kind}"', "must be object at the root"))
    if schema.get("properties") and "additionalProperties" in schema:
        text = "additionalProperties and properties are mutual exclusive"
        causes.append(_forbidden(f"{path}.additionalProperties", text))
    if kind == "array" and "items" not in schema:
        causes.append(_required(f"{path}.items", "must be specified"))
    if schema.get("additionalProperties") is False:
        causes.append(_forbidden(f"{path}.additionalProperties", "must not be false"))
    for key in ("definitions", "$ref", "dependencies", "patternProperties"):
        if key in schema:
            causes.append(_forbidden(f"{path}.{key}", f"{key} is not supported"))
    if schema.get("uniqueItems"):
        causes.append(_forbidden(f"{path}.uniqueItems", "uniqueItems cannot be set to true"))
    causes += _lists(schema, path)
    for i, rule in enumerate(schema.get("x-kubernetes-validations") or ()):
        if problem := syntax_problem(rule.get("rule", "")):
            where = f"{path}.x-kubernetes-validations[{i}].rule"
            causes.append(_invalid(where, f'"{rule.get("rule")}"', problem))
    for name, child in (schema.get("properties") or {}).items():
        if root and name == "metadata":
            continue
        causes += _node(child, f"{path}.properties[{name}]")
    if "items" in schema:
        causes += _node(schema["items"], f"{path}.items")
    if isinstance(extra := schema.get("additionalProperties"), dict):
        causes += _node(extra, f"{path}.additionalProperties")
    for junction in ("allOf", "anyOf", "oneOf"):
        for i, part in enumerate(schema.get(junction) or ()):
            causes += _value_only(part, f"{path}.{junction}[{i}]", schema)
    return causes


def _lists(schema: Object, path: str) -> list[Cause]:
    if schema.get("x-kubernetes-list-type") != "map":
        return []
    keys = schema.get("x-kubernetes-list-map-keys")
    where = f"{path}.x-kubernetes-list-map-keys"
    if not keys:
        return [_required(where, "must not be empty if x-kubernetes-list-type is map")]
    items = schema.get("items") or {}
    fields, needed = items.get("properties") or {}, items.get("required") or ()
    causes = []
    for key in keys:
        if key not in fields:
            causes.append(_invalid(where, f'"{key}"', "entries must all be names of properties"))
        elif key not in needed and "default" not in fields[key]:
            text = "this property is in x-kubernetes-list-map-keys, so it must have a default or be"
            causes.append(_required(f"{path}.items.properties[{key}].default", f"{text} required"))
    return causes


def _value_only(schema: Object, path: str, outer: Object) -> list[Cause]:
    """Inside of allOf and its kin: no types, defaults or descriptions of its own."""
    causes = []
    shorthand = outer.get("x-kubernetes-int-or-string")
    for key in ("type", "default", "description", "additionalProperties", "nullable", "title"):
        if key in schema and not (shorthand and key == "type"):
            causes.append(_forbidden(f"{path}.{key}", "must be empty to be structural"))
    outer_fields = outer.get("properties") or {}
    for name, child in (schema.get("properties") or {}).items():
        if name not in outer_fields:
            where = f"{path[: path.rindex('.')]}.properties[{name}]"
            causes.append(_required(where, f"because it is defined in {path}.properties[{name}]"))
        causes += _value_only(child, f"{path}.properties[{name}]", outer_fields.get(name) or {})
    return causes
