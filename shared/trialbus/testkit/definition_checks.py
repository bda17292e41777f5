"""An object held to the definition of its kind, as an API server does it: what is null or unknown
is taken out, then the schema, then the rules in CEL."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import jsonschema
from cel_expr_python import cel

Json = Any
Schema = Mapping[str, Json]
Found = tuple[str, str]

_RULES = "x-kubernetes-validations"
_FREE = "x-kubernetes-preserve-unknown-fields"
# Words of CEL's own that are names of fields here.
_ESCAPED = {"namespace": "__namespace__"}
_MISSING = object()
_FORMATS = jsonschema.FormatChecker(formats=())


def _is_int32(value: object) -> bool:
    return not isinstance(value, int) or -(2**31) <= value < 2**31


_FORMATS.checks("int32")(_is_int32)


def problems(schema: Schema, obj: Mapping[str, Json], old: Json = _MISSING) -> list[Found]:
    """(field, message) of all that is wrong. old: what an update replaces. Rules are looked at
    only where the schema finds nothing."""
    kept = pruned(schema, obj)
    validator = jsonschema.Draft4Validator(_without_lists_of_keys(schema), format_checker=_FORMATS)
    found = [(_joined(it.absolute_path), it.message) for it in validator.iter_errors(kept)]
    found += _repeated(schema, kept, "")
    if found:
        return found
    before = old if old is _MISSING else pruned(schema, old)
    return list(_broken(schema, kept, before, ""))


def pruned(schema: Schema, value: Json) -> Json:
    """What the API server would store."""
    if isinstance(value, list) and "items" in schema:
        return [pruned(schema["items"], item) for item in value]
    if not isinstance(value, dict):
        return value
    fields, others = schema.get("properties", {}), schema.get("additionalProperties")
    free = schema.get(_FREE) or schema in ({}, {"type": "object"})
    return {
        name: pruned(fields.get(name) or others or {}, item)
        for name, item in value.items()
        if (name in fields or others or free) and not (item is None and (name in fields or others))
    }


def uses(schema: Schema, path: str = "") -> Iterator[tuple[str, Mapping[str, str]]]:
    """Every rule with where it stands."""
    yield from ((path, rule) for rule in schema.get(_RULES, ()))
    for name, inner in schema.get("properties", {}).items():
        yield from uses(inner, f"{path}.{name}".lstrip("."))
    if "items" in schema:
        yield from uses(schema["items"], f"{path}[]")


def _broken(schema: Schema, value: Json, old: Json, path: str) -> Iterator[Found]:
    for rule in schema.get(_RULES, ()):
        if "oldSelf" in rule["rule"] and old is _MISSING:
            continue
        bound = {"self": _escaped(value)} | ({} if old is _MISSING else {"oldSelf": _escaped(old)})
        answer = compiled(rule["rule"]).eval(data=bound).value()
        if answer is not True:
            # An evaluation that fails is a broken rule, too, with what failed.
            told = rule["message"] if answer is False else f"{rule['rule']}: {answer}"
            yield f"{path}{rule.get('fieldPath', '')}".lstrip("."), told
    if isinstance(value, dict):
        for name, inner in schema.get("properties", {}).items():
            if name in value:
                before = old.get(name, _MISSING) if isinstance(old, dict) else _MISSING
                yield from _broken(inner, value[name], before, f"{path}.{name}".lstrip("."))
    if isinstance(value, list) and "items" in schema:
        for i, item in enumerate(value):
            yield from _broken(schema["items"], item, _MISSING, f"{path}[{i}]")


@cache
def compiled(rule: str) -> Any:
    """Raises RuntimeError for what is no CEL."""
    env = cel.NewEnv(variables={"self": cel.Type.DYN, "oldSelf": cel.Type.DYN})
    return env.compile(rule)


def _escaped(value: Json) -> Json:
    if isinstance(value, dict):
        return {_ESCAPED.get(name, name): _escaped(item) for name, item in value.items()}
    return [_escaped(item) for item in value] if isinstance(value, list) else value


def _repeated(schema: Schema, value: Json, path: str) -> list[Found]:
    """Items of a set, or with the same keys in a map, that stand twice."""
    if isinstance(value, dict):
        fields = schema.get("properties", {})
        parts = [(fields[name], item, f"{path}.{name}") for name, item in value.items()
                 if name in fields]  # fmt: skip
        return [
            found for part in parts for found in _repeated(part[0], part[1], part[2].lstrip("."))
        ]
    if not isinstance(value, list) or "items" not in schema:
        return []
    keys = schema.get("x-kubernetes-list-map-keys", ())
    seen: list[Json] = []
    found = []
    for i, item in enumerate(value):
        key = [item.get(name) for name in keys] if keys and isinstance(item, dict) else item
        is_set = keys or schema.get("x-kubernetes-list-type") == "set"
        if is_set and key in seen:
            found.append((f"{path}[{i}]", "Duplicate value"))
        seen.append(key)
        found += _repeated(schema["items"], item, f"{path}[{i}]")
    return found


def _without_lists_of_keys(schema: Schema) -> Json:
    """Nothing of Kubernetes' own words: they mean nothing to JSON Schema."""
    if isinstance(schema, list):
        return [_without_lists_of_keys(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {
        name: _without_lists_of_keys(item)
        for name, item in schema.items()
        if not re.match("x-kubernetes-", name)
    }


def _joined(path: Any) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".")
