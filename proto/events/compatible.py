"""Holds the contracts to what was released: `python proto/events/compatible.py`.

Prints what breaks the promise: a type, subject or field that vanished or changed, something that
senders must now give, a released example that is refused now. Adding is fine. Exit code 1 if there
is anything.

We send events, others read them; others send commands, we read them. So an event may say less of
what it may hold, a command may take more.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

FOLDER = Path(__file__).resolve().parent
RELEASED = "released"
_KEPT = ("type", "subject", "about", "producer")
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_SAME = ("const", "pattern", "format", "anyOf", "oneOf", "allOf", "patternProperties")
_HOW = "names of fields and types stay; another meaning is a new type, `.v2`, beside the old"

Contract = Mapping[str, Any]
Schema = Mapping[str, Any]


def breaches(folder: Path = FOLDER) -> Iterator[str]:
    """What the contracts in `folder` break of those in its `released/<number>/`."""
    for release in sorted((folder / RELEASED).iterdir(), key=lambda it: int(it.name)):
        for path in sorted(release.rglob("*.json")):
            name = path.relative_to(release)
            if name.parts[0] == "examples":
                continue
            for broken in _of_contract(folder, release, name):
                yield f"{name.with_suffix('')}, release {release.name}: {broken}"


def _of_contract(folder: Path, release: Path, name: Path) -> Iterator[str]:
    if not (folder / name).is_file():
        yield f"it was removed; {_HOW}"
        return
    old, new = _read(release / name), _read(folder / name)
    for field in _KEPT:
        if old.get(field) != new.get(field):
            yield f"`{field}` was {old.get(field)!r} and is {new.get(field)!r}; {_HOW}"
    yield from schema_breaches(
        old["schema"], new["schema"], "data", we_read=name.parts[0] == "commands"
    )
    example = release / "examples" / name.name
    if example.is_file():
        found = Draft202012Validator(new["schema"]).iter_errors(_read(example).get("data", {}))
        for error in found:
            yield f"its released example is refused at {error.json_path}: {error.message}"


def schema_breaches(old: Schema, new: Schema, path: str, *, we_read: bool) -> Iterator[str]:
    """we_read: others send it. Otherwise we do."""
    yield from _type_breaches(old, new, path, we_read=we_read)
    for keyword in _SAME:
        if old.get(keyword) != new.get(keyword) and not (we_read and keyword not in new):
            yield f"{path}: its `{keyword}` was {old.get(keyword)!r} and is {new.get(keyword)!r}"
    if we_read:
        yield from _tighter(old, new, path)
    else:
        for field in sorted({*old.get("required", ())} - {*new.get("required", ())}):
            yield f"{path}.{field}: readers count on it, it must stay required"
    for field, inner in old.get("properties", {}).items():
        if field not in new.get("properties", {}):
            yield f"{path}.{field}: it vanished; {_HOW}"
            continue
        yield from schema_breaches(
            inner, new["properties"][field], f"{path}.{field}", we_read=we_read
        )
    if "items" in old:
        yield from schema_breaches(old["items"], new.get("items", {}), f"{path}[]", we_read=we_read)


def _type_breaches(old: Schema, new: Schema, path: str, *, we_read: bool) -> Iterator[str]:
    before, after = _types(old), _types(new)
    kept = before <= after if we_read else after <= before
    if not kept:
        yield f"{path}: its type was {_told(before)} and is {_told(after)}; {_HOW}"


def _tighter(old: Schema, new: Schema, path: str) -> Iterator[str]:
    for field in sorted({*new.get("required", ())} - {*old.get("required", ())}):
        yield f"{path}.{field}: senders never had to give it, now it is required"
    for keywords, sign in ((_UPPER, 1), (_LOWER, -1)):
        for keyword in keywords:
            if keyword in new and sign * new[keyword] < sign * old.get(keyword, sign * 1e308):
                yield f"{path}: its `{keyword}` became narrower, {new[keyword]}"
    gone = [it for it in old.get("enum", ()) if it not in new.get("enum", old.get("enum", ()))]
    if gone or ("enum" in new and "enum" not in old):
        yield f"{path}: it no longer takes {gone or 'any value'}"
    if new.get("additionalProperties") is False and old.get("additionalProperties") is not False:
        yield f"{path}: it no longer takes fields that it does not name"


_ANY = frozenset({"string", "number", "integer", "boolean", "null", "object", "array"})


def _types(schema: Schema) -> frozenset[str]:
    said = schema.get("type", sorted(_ANY))
    types = frozenset([said] if isinstance(said, str) else said)
    return types | {"integer"} if "number" in types else types


def _told(types: frozenset[str]) -> str:
    return "anything" if types == _ANY else " or ".join(sorted(types))


def _read(path: Path) -> Contract:
    contract: Contract = json.loads(path.read_text())
    return contract


def main() -> int:
    found = list(breaches())
    for breach in found:
        sys.stdout.write(f"{breach}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
