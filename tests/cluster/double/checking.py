"""A value against its node: pruned, filled with defaults, and what is wrong with it."""

from dataclasses import dataclass, field
from typing import Any

from tests.cluster.double.errors import Cause
from tests.cluster.double.schemas import Node, opened

Object = dict[str, Any]


@dataclass(slots=True)
class Findings:
    """wrong_types: of built-in kinds, what Go's decoder would stop at."""

    causes: list[Cause] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    wrong_types: list[str] = field(default_factory=list)

    def add(self, reason: str, path: str, message: str) -> None:
        self.causes.append(Cause(reason=f"FieldValue{reason}", field=path or "", message=message))


def checked(node: Node, value: Any, path: str, out: Findings) -> Any:
    """The value without what the schema does not know; problems go to `out`."""
    opened(node)
    if value is None:
        return _null(node, path, out)
    if not node.is_type(value):
        _wrong_type(node, value, path, out)
        return value
    if isinstance(value, dict):
        value = _object(node, value, path, out)
    elif isinstance(value, list) and node.items is not None:
        items = node.items
        value = [checked(items, item, f"{path}[{i}]", out) for i, item in enumerate(value)]
    if not node.go:
        _constraints(node, value, path, out)
    return value


def _null(node: Node, path: str, out: Findings) -> Any:
    if not node.nullable and node.type and not node.go:
        _wrong_type(node, None, path, out)
    return None


def _wrong_type(node: Node, value: object, path: str, out: Findings) -> None:
    shown = "null" if value is None else _json_type(value)
    if node.go:
        out.wrong_types.append(f"json: cannot unmarshal {shown} into Go struct field {path}")
        return
    wanted = "integer,string" if node.int_or_string else node.type
    quoted = shown if value is None else f'"{shown}"'
    text = f'{path} in body must be of type {wanted}: "{shown}"'
    out.add("TypeInvalid", path, f"Invalid value: {quoted}: {text}")


def _json_type(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "integer" if isinstance(value, int) else "number"
    if isinstance(value, str):
        return "string"
    return "object" if isinstance(value, dict) else "array" if isinstance(value, list) else "null"


def _object(node: Node, value: Object, path: str, out: Findings) -> Object:
    result: Object = {}
    fields, extra = node.fields, node.extra
    prefix = f"{path}." if path else ""
    for key, item in value.items():
        known = fields.get(key) or extra
        if known is None:
            if node.preserve:
                result[key] = item
            elif node.fields or node.type == "object":
                out.unknown.append(f"{prefix}{key}")
            else:
                result[key] = item
            continue
        if item is None and node.go:
            continue
        if item is None and not known.nullable:
            # Taken out before anything is checked (since 1.20), or replaced by the default.
            continue
        result[key] = checked(known, item, f"{prefix}{key}", out)
    if not node.go:
        _fill(node, result)
    for key in node.required:
        # Go's types know no required fields: their validation does, of those that matter here.
        if key not in result and (not node.go or key in ("containers", "name", "template")):
            out.add("Required", f"{prefix}{key}", "Required value")
    return result


def _fill(node: Node, result: Object) -> None:
    for key, child in node.fields.items():
        if child.has_default and key not in result:
            result[key] = filled(child, child.default)


def filled(node: Node, value: Any) -> Any:
    """A default with the defaults of what is inside it."""
    if not node.holds_defaults:
        return value
    if isinstance(value, dict):
        result = {
            key: filled(node.fields.get(key) or node.extra or Node(), item)
            for key, item in value.items()
        }
        _fill(node, result)
        return result
    if isinstance(value, list) and node.items:
        return [filled(node.items, item) for item in value]
    return value


def _shown(value: object) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else f'"{_json_type(value)}"'


def _constraints(node: Node, value: Any, path: str, out: Findings) -> None:
    if node.enum and value not in node.enum:
        known = ", ".join(_shown(item) for item in node.enum)
        text = f"Unsupported value: {_shown(value)}: supported values: {known}"
        out.add("NotSupported", path, text)
    if node.pattern is not None and isinstance(value, str) and not node.pattern.search(value):
        _invalid(path, value, f"should match '{node.pattern.pattern}'", out)
    if node.limits:
        _limits(node.limits, value, path, out)
    if isinstance(value, list) and node.list_type in ("map", "set"):
        _unique(node, value, path, out)
    _junctions(node, value, path, out)


def _invalid(path: str, value: object, what: str, out: Findings) -> None:
    out.add("Invalid", path, f"Invalid value: {_shown(value)}: {path} in body {what}")


def _limits(limits: Object, value: Any, path: str, out: Findings) -> None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        _number(limits, value, path, out)
    elif isinstance(value, str):
        if len(value) < limits.get("minLength", 0):
            _invalid(path, value, f"should be at least {limits['minLength']} chars long", out)
        if len(value) > limits.get("maxLength", len(value)):
            text = f"Too long: may not be more than {limits['maxLength']} bytes"
            out.add("TooLong", path, text)
    elif isinstance(value, list):
        if len(value) < limits.get("minItems", 0):
            _invalid(path, value, f"should have at least {limits['minItems']} items", out)
        if len(value) > limits.get("maxItems", len(value)):
            text = f"Too many: {len(value)}: must have at most {limits['maxItems']} items"
            out.add("TooMany", path, text)
    elif isinstance(value, dict):
        if len(value) < limits.get("minProperties", 0):
            what = f"should have at least {limits['minProperties']} properties"
            _invalid(path, value, what, out)
        if len(value) > limits.get("maxProperties", len(value)):
            text = f"Too many: {len(value)}: must have at most {limits['maxProperties']} items"
            out.add("TooMany", path, text)


def _number(limits: Object, value: float, path: str, out: Findings) -> None:
    low, high = limits.get("minimum"), limits.get("maximum")
    if low is not None and (value <= low if limits.get("exclusiveMinimum") else value < low):
        strictly = "greater than" if limits.get("exclusiveMinimum") else "greater than or equal to"
        _invalid(path, value, f"should be {strictly} {low}", out)
    if high is not None and (value >= high if limits.get("exclusiveMaximum") else value > high):
        strictly = "less than" if limits.get("exclusiveMaximum") else "less than or equal to"
        _invalid(path, value, f"should be {strictly} {high}", out)
    if (step := limits.get("multipleOf")) and value % step:
        _invalid(path, value, f"should be a multiple of {step}", out)


def _unique(node: Node, value: list[Any], path: str, out: Findings) -> None:
    seen: list[Any] = []
    for i, item in enumerate(value):
        key = item
        if node.list_type == "map" and isinstance(item, dict):
            key = {name: item.get(name) for name in node.list_keys}
        if key in seen:
            out.add("Duplicate", f"{path}[{i}]", f"Duplicate value: {_shown(key)}")
        seen.append(key)


def _passes(node: Node, value: Any) -> bool:
    """Of allOf and its kin: they only check; fields that they do not name are fine."""
    if value is None or not node.is_type(value):
        return value is None or not node.type
    inner = Findings()
    _constraints(node, value, "", inner)
    if isinstance(value, dict):
        if any(key not in value for key in node.required):
            return False
        for key, child in node.fields.items():
            if key in value and not _passes(child, value[key]):
                return False
    if isinstance(value, list) and node.items:
        return not inner.causes and all(_passes(node.items, item) for item in value)
    return not inner.causes


def _junctions(node: Node, value: Any, path: str, out: Findings) -> None:
    if node.all_of and not all(_passes(part, value) for part in node.all_of):
        _invalid(path, value, "must validate all the schemas (allOf)", out)
    if node.any_of and not any(_passes(part, value) for part in node.any_of):
        _invalid(path, value, "must validate at least one schema (anyOf)", out)
    if node.one_of and sum(_passes(part, value) for part in node.one_of) != 1:
        _invalid(path, value, "must validate one and only one schema (oneOf)", out)
    if node.negated is not None and _passes(node.negated, value):
        _invalid(path, value, "must not validate the schema (not)", out)
