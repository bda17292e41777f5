"""Merge, JSON, strategic and apply patches, as pure functions over plain JSON."""

import copy
from typing import Any

from tests.cluster.double.errors import ApiError, bad_request
from tests.cluster.double.schemas import Node, opened

Object = dict[str, Any]


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def json_patch(target: Object, operations: Any) -> Object:
    """RFC 6902. A failed `test` is a 422, as on a real server."""
    if not isinstance(operations, list):
        raise bad_request("json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    result = copy.deepcopy(target)
    for operation in operations:
        result = _apply_operation(result, operation)
    return result


def _apply_operation(document: Any, operation: Object) -> Any:
    name, path = operation.get("op"), _pointer(operation.get("path", ""))
    if name == "test":
        if _value_at(document, path) != operation.get("value"):
            text = f"testing value {operation['path']} failed: test failed"
            raise _unprocessable(text)
        return document
    if name == "remove":
        return _removed(document, path)
    if name == "add":
        return _put(document, path, operation.get("value"), insert=True)
    if name == "replace":
        _value_at(document, path)
        return _put(document, path, operation.get("value"), insert=False)
    if name in ("copy", "move"):
        source = _pointer(operation.get("from", ""))
        value = copy.deepcopy(_value_at(document, source))
        if name == "move":
            document = _removed(document, source)
        return _put(document, path, value, insert=True)
    raise bad_request(f"Unexpected kind: {name}")


def _unprocessable(text: str) -> ApiError:
    return ApiError(422, "Invalid", f"the server rejected our request due to an error: {text}")


def _pointer(text: str) -> list[str]:
    if text == "":
        return []
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _value_at(document: Any, path: list[str]) -> Any:
    for part in path:
        try:
            document = document[int(part)] if isinstance(document, list) else document[part]
        except (KeyError, ValueError, IndexError, TypeError):
            raise _unprocessable(f"path not found: /{'/'.join(path)}") from None
    return document


def _removed(document: Any, path: list[str]) -> Any:
    _value_at(document, path)
    holder = _value_at(document, path[:-1])
    if isinstance(holder, list):
        del holder[int(path[-1])]
    else:
        del holder[path[-1]]
    return document


def _put(document: Any, path: list[str], value: Any, *, insert: bool) -> Any:
    if not path:
        return value
    holder, last = _value_at(document, path[:-1]), path[-1]
    if not isinstance(holder, list):
        holder[last] = value
    elif last == "-":
        holder.append(value)
    elif insert:
        holder.insert(int(last), value)
    else:
        holder[int(last)] = value
    return document


def strategic_patch(target: Any, patch: Any, node: Node | None) -> Any:
    """Lists with a merge key are merged by it; `$patch` delete and replace are obeyed."""
    if not isinstance(patch, dict):
        return patch
    if patch.get("$patch") == "replace":
        return {key: value for key, value in patch.items() if key != "$patch"}
    if node is not None:
        opened(node)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if key.startswith(("$setElementOrder/", "$retainKeys")) or key == "$patch":
            continue
        if key.startswith("$deleteFromPrimitiveList/"):
            name = key.partition("/")[2]
            result[name] = [item for item in result.get(name) or [] if item not in value]
        elif value is None:
            result.pop(key, None)
        else:
            child = _child(node, key)
            result[key] = _strategic_value(result.get(key), value, child)
    return result


def _child(node: Node | None, key: str) -> Node | None:
    if node is None:
        return None
    child = node.fields.get(key) or node.extra
    return opened(child) if child is not None else None


def _strategic_value(target: Any, value: Any, node: Node | None) -> Any:
    if isinstance(value, list) and node is not None and node.merge_key:
        return _merged_list(target or [], value, node, node.merge_key)
    if isinstance(value, dict):
        return strategic_patch(target, value, node)
    return value


def _merged_list(target: list[Any], patch: list[Any], node: Node, key: str) -> list[Any]:
    result = list(target)
    for item in patch:
        if item == {"$patch": "replace"}:
            return [other for other in patch if other != item]
        place = next((i for i, old in enumerate(result) if old.get(key) == item.get(key)), None)
        if item.get("$patch") == "delete":
            if place is not None:
                del result[place]
        elif place is None:
            result.append(item)
        else:
            result[place] = strategic_patch(result[place], item, node.items)
    return result


def apply_patch(live: Any, applied: Any, before: Any, node: Node | None) -> Any:
    """Server-side apply by one manager: what it applied before and no longer does goes away.

    Lists with keys (x-kubernetes-list-type map) are merged by them, others replaced.
    """
    if not isinstance(applied, dict):
        return applied
    if node is not None:
        opened(node)
    result = dict(live) if isinstance(live, dict) else {}
    old = before if isinstance(before, dict) else {}
    for key in old.keys() - applied.keys():
        result.pop(key, None)
    for key, value in applied.items():
        child = _child(node, key)
        if isinstance(value, list) and child is not None and child.list_type == "map":
            result[key] = _applied_list(result.get(key) or [], value, old.get(key) or [], child)
        elif isinstance(value, dict) and not (child is not None and child.atomic):
            result[key] = apply_patch(result.get(key), value, old.get(key), child)
        else:
            result[key] = value
    return result


def _applied_list(live: list[Any], applied: list[Any], old: list[Any], node: Node) -> list[Any]:
    def key_of(item: Object) -> tuple[Any, ...]:
        return tuple(item.get(name) for name in node.list_keys)

    wanted, before = {key_of(i): i for i in applied}, {key_of(i): i for i in old}
    result = []
    for item in live:
        key = key_of(item)
        if key in wanted:
            result.append(apply_patch(item, wanted.pop(key), before.get(key), node.items))
        elif key not in before:
            result.append(item)
    return [*result, *wanted.values()]
