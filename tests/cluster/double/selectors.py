"""Label and field selectors: text -> a predicate over objects."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tests.cluster.double.errors import bad_request

Object = dict[str, Any]
Predicate = Callable[[Object], bool]
_SET = re.compile(r"^(?P<key>\S+)\s+(?P<op>in|notin)\s*\((?P<values>[^)]*)\)$")
_EQUAL = re.compile(r"^(?P<key>[^=!\s]+)\s*(?P<op>==|=|!=)\s*(?P<value>[^=\s]*)$")
_KEY = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")
# What a server indexes; every kind has the first two.
FIELDS = {
    "": ("metadata.name", "metadata.namespace"),
    "pods": ("spec.nodeName", "spec.restartPolicy", "spec.serviceAccountName", "status.phase"),
    "events": (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
    "namespaces": ("status.phase",),
    "jobs": ("status.successful",),
    "secrets": ("type",),
}


def _parts(text: str) -> Iterator[str]:
    """Split at commas that are in no parentheses."""
    depth, start = 0, 0
    for at, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            yield text[start:at].strip()
            start = at + 1
    yield text[start:].strip()


def _label_term(term: str) -> Callable[[Mapping[str, str]], bool]:
    if found := _SET.match(term):
        key = found["key"]
        values = frozenset(value.strip() for value in found["values"].split(","))
        if found["op"] == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if found := _EQUAL.match(term):
        key, value = found["key"], found["value"]
        if found["op"] == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    bare = term.removeprefix("!").strip()
    if not _KEY.match(bare):
        raise bad_request(f"unable to parse requirement: found '{term}', expected: identifier")
    if term.startswith("!"):
        return lambda labels: bare not in labels
    return lambda labels: bare in labels


def label_selector(text: str) -> Predicate | None:
    """None: everything matches."""
    if not text.strip():
        return None
    terms = [_label_term(term) for term in _parts(text)]

    def matches(obj: Object) -> bool:
        labels = obj["metadata"].get("labels") or {}
        return all(term(labels) for term in terms)

    return matches


def field_selector(text: str, plural: str, more: tuple[str, ...] = ()) -> Predicate | None:
    """more: the fields that a custom resource declares selectable."""
    if not text.strip():
        return None
    known = {*FIELDS[""], *FIELDS.get(plural, ()), *more}
    terms: list[tuple[tuple[str, ...], bool, str]] = []
    for term in _parts(text):
        found = _EQUAL.match(term)
        if not found:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{term}'")
        if found["key"] not in known:
            raise bad_request(f"field label not supported: {found['key']}")
        terms.append((tuple(found["key"].split(".")), found["op"] != "!=", found["value"]))

    def matches(obj: Object) -> bool:
        return all((_at(obj, path) == value) is wanted for path, wanted, value in terms)

    return matches


def _at(obj: Object, path: tuple[str, ...]) -> str:
    if path == ("status", "successful"):
        return str((obj.get("status") or {}).get("succeeded", 0))
    value: Any = obj
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    return "" if value is None else str(value)


def both(first: Predicate | None, second: Predicate | None) -> Predicate | None:
    if first is None or second is None:
        return first or second
    return lambda obj: first(obj) and second(obj)
