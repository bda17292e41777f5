"""get and list: pages of a consistent past, selectors, other versions of a kind."""

import base64
import json
from typing import Any

from pydantic_core import to_json
from tests.cluster.double import errors
from tests.cluster.double.calls import Call
from tests.cluster.double.selectors import Predicate, both, field_selector, label_selector
from tests.cluster.double.state import Key, Shelf, State, Stored, key_of

Object = dict[str, Any]
_OLD_CONTINUE = (
    "The provided continue parameter is too old to display a consistent list result. You can "
    "start a new list without the continue parameter, or use the continue token in this response "
    "to retrieve the remainder of the results. Continuing with the provided token results in an "
    "inconsistent list - objects that were created, modified, or deleted between the time the "
    "first chunk was returned and now may show up in the list."
)


def predicate(call: Call) -> Predicate | None:
    labels = label_selector(call.query.get("labelSelector", ""))
    fields = field_selector(
        call.query.get("fieldSelector", ""), call.kind.plural, call.version.selectable
    )
    if call.name and call.verb in ("watch", "list"):
        name = call.name
        return both(both(labels, fields), lambda obj: obj["metadata"]["name"] == name)
    return both(labels, fields)


def encoded(call: Call, stored: Stored) -> bytes:
    """In the version that is asked for; of a built-in kind there is one."""
    if call.version.name == call.kind.storage:
        return stored.json
    api_version = call.kind.api_version(call.version.name)
    return to_json({**stored.obj, "apiVersion": api_version})


class ListResult:
    """items: of one page. token: of the next, "" at the end."""

    __slots__ = ("items", "remaining", "token", "version")

    def __init__(self, items: list[Stored], version: int, token: str, remaining: int) -> None:
        self.items = items
        self.version = version
        self.token = token
        self.remaining = remaining

    def meta(self) -> Object:
        meta: Object = {"resourceVersion": str(self.version)}
        if self.token:
            meta["continue"] = self.token
            if self.remaining:
                meta["remainingItemCount"] = self.remaining
        return meta


def _token(version: int, after: Key) -> str:
    text = json.dumps({"v": "meta.k8s.io/v1", "rv": version, "start": after})
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_token(text: str) -> tuple[int, Key]:
    try:
        read = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        return int(read["rv"]), (str(read["start"][0]), str(read["start"][1]))
    except (ValueError, KeyError, TypeError) as error:
        raise errors.bad_request(f"continue key is not valid: {error}") from error


def listed(state: State, shelf: Shelf, call: Call, *, events_back: int = 0) -> ListResult:
    """events_back: how far in the past (a fault). Raises 400, 410 and 504."""
    version, after = state.version, None
    if token := call.query.get("continue", ""):
        if call.query.get("resourceVersion", "") not in ("", "0"):
            text = "specifying resource version is not allowed when using continue"
            raise errors.bad_request(text)
        version, after = _read_token(token)
        if version == -1:
            # The token that a 410 offers: goes on with what is there now.
            version = state.version
        elif version < shelf.compacted:
            raise errors.expired(_OLD_CONTINUE, {"continue": _token(-1, after)})
    else:
        version = _asked_version(state, shelf, call, events_back)
    keep = predicate(call)
    limit = int(call.query.get("limit") or 0)
    return _page(shelf, call, version, after, keep, limit, state.version)


def _asked_version(state: State, shelf: Shelf, call: Call, events_back: int) -> int:
    if events_back and shelf.log:
        back = min(events_back, len(shelf.log))
        return max(shelf.log[-back].stored.version - 1, shelf.compacted)
    asked = call.query.get("resourceVersion", "")
    match = call.query.get("resourceVersionMatch", "")
    if match and not asked:
        raise errors.bad_request("resourceVersionMatch is forbidden unless resourceVersion is set")
    if asked in ("", "0"):
        return state.version
    if not asked.isdigit():
        raise errors.bad_request(f"invalid resource version: {asked}")
    if int(asked) > state.version:
        raise errors.too_large_version(int(asked), state.version)
    if match == "Exact":
        if int(asked) < shelf.compacted:
            raise errors.expired(f"The resourceVersion for the provided list is too old: {asked}")
        return int(asked)
    return state.version


def _page(
    shelf: Shelf,
    call: Call,
    version: int,
    after: Key | None,
    keep: Predicate | None,
    limit: int,
    now: int,
) -> ListResult:
    namespace = None if call.all_namespaces else call.namespace
    if version == now or not shelf.log or shelf.log[-1].stored.version <= version:
        found = shelf.in_order(namespace, after)
    else:
        past = shelf.at_version(version)
        found = iter(
            past[key]
            for key in sorted(past)
            if (namespace is None or key[0] == namespace) and (after is None or key > after)
        )
    items: list[Stored] = []
    for stored in found:
        if keep is not None and not keep(stored.obj):
            continue
        if limit and len(items) == limit:
            rest = 0 if keep is not None else 1 + sum(1 for _ in found)
            return ListResult(items, version, _token(version, key_of(items[-1].obj)), rest)
        items.append(stored)
    return ListResult(items, version, "", 0)


def list_json(call: Call, result: ListResult) -> bytes:
    api_version = call.kind.api_version(call.version.name)
    head = to_json(
        {
            "kind": f"{call.kind.kind}List",
            "apiVersion": api_version,
            "metadata": result.meta(),
        }
    )
    items = b",".join(encoded(call, stored) for stored in result.items)
    return head[:-1] + b',"items":[' + items + b"]}"
