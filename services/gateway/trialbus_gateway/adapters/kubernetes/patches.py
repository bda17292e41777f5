"""JSON merge patch (RFC 7386) and JSON patch (RFC 6902). The documents given stay as they are."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

from trialbus.kernel.limits import MAX_YAML_NODES

Json = Any

# As in the API server: more operations are an attack, not an edit.
MAX_OPERATIONS = 10_000
# Copies of copies double: as many values as a whole document may hold.
MAX_COPIED_VALUES = MAX_YAML_NODES


class PatchFailed(Exception):
    """The patch cannot be applied to this document, or is none."""


class TestFailed(PatchFailed):
    """An operation `test` found another value."""

    __test__ = False  # no test for pytest


def merge_patch(target: Json, patch: Json) -> Json:
    """RFC 7386, section 2: objects are merged, null removes, anything else replaces."""
    if not isinstance(patch, Mapping):
        return deepcopy(patch)
    merged = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def json_patch(document: Json, operations: Json) -> Json:
    """RFC 6902: all operations or none. Raises PatchFailed, TestFailed."""
    if not isinstance(operations, Sequence) or isinstance(operations, str):
        raise PatchFailed("a JSON patch is a list of operations")
    if len(operations) > MAX_OPERATIONS:
        raise PatchFailed(f"more than {MAX_OPERATIONS} operations")
    result, left = deepcopy(document), MAX_COPIED_VALUES
    for number, operation in enumerate(operations):
        try:
            left -= _copies(result, operation, left)
            result = _apply(result, operation)
        except PatchFailed as error:
            raise type(error)(f"operation {number}: {error}") from error
        except RecursionError as error:
            raise PatchFailed(f"operation {number}: too deep") from error
    return result


def _copies(document: Json, operation: Json, most: int) -> int:
    """How many values the operation makes."""
    if not isinstance(operation, Mapping) or operation.get("op") != "copy":
        return 0
    count, rest = 0, [_at(document, _tokens(operation, "from"))]
    while rest:
        value = rest.pop()
        count += 1
        if count > most:
            raise PatchFailed(f"more than {MAX_COPIED_VALUES} values are copied")
        if isinstance(value, dict):
            rest.extend(value.values())
        elif isinstance(value, list):
            rest.extend(value)
    return count


def _apply(document: Json, operation: Json) -> Json:
    if not isinstance(operation, Mapping):
        raise PatchFailed("not an object")
    name = operation.get("op")
    perform = _OPERATIONS.get(name) if isinstance(name, str) else None
    if perform is None:
        known = ", ".join(_OPERATIONS)
        raise PatchFailed(f"op: {name!r:.100} is none of {known}")
    return perform(document, operation)


def _add(document: Json, operation: Mapping[str, Json]) -> Json:
    return _put(document, _tokens(operation, "path"), deepcopy(_value(operation)))


def _remove(document: Json, operation: Mapping[str, Json]) -> Json:
    return _take(document, _tokens(operation, "path"))[0]


def _replace(document: Json, operation: Mapping[str, Json]) -> Json:
    tokens, value = _tokens(operation, "path"), deepcopy(_value(operation))
    if not tokens:
        return value
    parent = _at(document, tokens[:-1])
    _at(parent, tokens[-1:])
    if isinstance(parent, dict):
        parent[tokens[-1]] = value
    else:
        parent[_index(tokens[-1], len(parent) - 1)] = value
    return document


def _move(document: Json, operation: Mapping[str, Json]) -> Json:
    source, target = _tokens(operation, "from"), _tokens(operation, "path")
    if target[: len(source)] == source and target != source:
        raise PatchFailed("a value cannot be moved into itself")
    rest, value = _take(document, source)
    return _put(rest, target, value)


def _copy(document: Json, operation: Mapping[str, Json]) -> Json:
    value = deepcopy(_at(document, _tokens(operation, "from")))
    return _put(document, _tokens(operation, "path"), value)


def _test(document: Json, operation: Mapping[str, Json]) -> Json:
    path, wanted = operation.get("path"), _value(operation)
    if not same(_at(document, _tokens(operation, "path")), wanted):
        raise TestFailed(f"test: another value is at {path!r:.200}")
    return document


_OPERATIONS: Mapping[str, Callable[[Json, Mapping[str, Json]], Json]] = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "move": _move,
    "copy": _copy,
    "test": _test,
}


def same(one: Json, other: Json) -> bool:
    """Equal as JSON: 1 is 1.0, but not true."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def _tokens(operation: Mapping[str, Json], field: str) -> list[str]:
    """A JSON pointer (RFC 6901)."""
    pointer = operation.get(field)
    if not isinstance(pointer, str):
        raise PatchFailed(f"{field}: a JSON pointer is needed")
    if not pointer:
        return []
    if not pointer.startswith("/"):
        raise PatchFailed(f"{field}: a JSON pointer begins with /: {pointer:.200}")
    return [it.replace("~1", "/").replace("~0", "~") for it in pointer[1:].split("/")]


def _value(operation: Mapping[str, Json]) -> Json:
    if "value" not in operation:
        raise PatchFailed("value: is needed")
    return operation["value"]


def _at(document: Json, tokens: Sequence[str]) -> Json:
    for token in tokens:
        if isinstance(document, dict):
            if token not in document:
                raise PatchFailed(f"there is no {token[:200]!r}")
            document = document[token]
        elif isinstance(document, list):
            document = document[_index(token, len(document) - 1)]
        else:
            raise PatchFailed(f"there is nothing at {token[:200]!r}")
    return document


def _put(document: Json, tokens: Sequence[str], value: Json) -> Json:
    if not tokens:
        return value
    parent, last = _at(document, tokens[:-1]), tokens[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list):
        index = len(parent) if last == "-" else _index(last, len(parent))
        parent.insert(index, value)
    else:
        raise PatchFailed(f"nothing can be added at {last[:200]!r}")
    return document


def _take(document: Json, tokens: Sequence[str]) -> tuple[Json, Json]:
    """The document without the value, and the value."""
    if not tokens:
        return None, document
    value = _at(document, tokens)
    parent, last = _at(document, tokens[:-1]), tokens[-1]
    if isinstance(parent, dict):
        del parent[last]
    else:
        del parent[_index(last, len(parent) - 1)]
    return document, value


def _index(token: str, most: int) -> int:
    canonical = token.isascii() and token.isdigit() and (token == "0" or token[0] != "0")
    if not canonical or len(token) > 9 or int(token) > most:
        raise PatchFailed(f"there is no item {token[:200]!r}")
    return int(token)
