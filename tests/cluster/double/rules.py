"""x-kubernetes-validations: rules in CEL, as far as the double evaluates them."""

import functools
from typing import Any

from tests.cluster.double.cel import CelSyntax, Term, compiled
from tests.cluster.double.cel_functions import CelError, NotThere
from tests.cluster.double.errors import Cause
from tests.cluster.double.schemas import Node, opened

Object = dict[str, Any]
# Rules with a function that the double does not know: they hold for everything.
NOT_EVALUATED: set[str] = set()
# At the root a rule sees of the metadata only these.
_NAMES = ("name", "generateName")


@functools.lru_cache(maxsize=2000)
def _compiled(text: str) -> Term | None:
    try:
        return compiled(text)
    except NotThere:
        NOT_EVALUATED.add(text)
        return None


def syntax_problem(text: str) -> str:
    """Why a server would refuse the definition; "" for a rule that can be read."""
    try:
        _compiled(text)
    except CelSyntax as error:
        return f"compilation failed: ERROR: <input>:1:1: Syntax error: {error}"
    return ""


def broken_rules(node: Node, new: Any, old: Any) -> list[Cause]:
    """Of the whole object; old: None at its creation."""
    causes: list[Cause] = []
    _visit(node, _root(new), None if old is None else _root(old), "", causes)
    return causes


def _root(obj: Object) -> Object:
    meta = obj.get("metadata") or {}
    return {**obj, "metadata": {key: meta[key] for key in _NAMES if key in meta}}


def _visit(node: Node, new: Any, old: Any, path: str, causes: list[Cause]) -> None:
    if not node.holds_rules or new is None:
        return
    opened(node)
    for rule in node.rules:
        if (cause := _broken(rule, new, old, path)) is not None:
            causes.append(cause)
    if isinstance(new, dict):
        before = old if isinstance(old, dict) else {}
        for key, value in new.items():
            child = node.fields.get(key) or node.extra
            if child is not None:
                where = f"{path}.{key}" if path else key
                if key not in node.fields:
                    where = f"{path}[{key}]"
                _visit(child, value, before.get(key), where, causes)
    elif isinstance(new, list) and node.items is not None:
        for i, value in enumerate(new):
            _visit(node.items, value, _before(node, value, old), f"{path}[{i}]", causes)


def _before(node: Node, item: Any, old: Any) -> Any:
    """The item that it was: only lists with keys can tell."""
    if node.list_type != "map" or not isinstance(old, list):
        return None
    wanted = [item.get(key) for key in node.list_keys]
    return next((o for o in old if [o.get(key) for key in node.list_keys] == wanted), None)


def _broken(rule: Object, new: Any, old: Any, path: str) -> Cause | None:
    text = rule["rule"]
    if "oldSelf" in text and old is None:
        return None
    term = _compiled(text)
    if term is None:
        return None
    scope = {"self": new, "oldSelf": old}
    try:
        if term(scope) is True:
            return None
        told = _message(rule, scope)
    except CelError as error:
        told = f"{error} evaluating rule: {rule.get('message', text)}"
    where = path + rule.get("fieldPath", "")
    reason = rule.get("reason", "FieldValueInvalid")
    shown = "object" if isinstance(new, dict) else "array" if isinstance(new, list) else str(new)
    quoted = f'"{shown}"' if not isinstance(new, int | float) else shown
    words = {
        "FieldValueForbidden": f"Forbidden: {told}",
        "FieldValueRequired": f"Required value: {told}",
        "FieldValueDuplicate": f"Duplicate value: {quoted}",
    }
    message = words.get(reason, f"Invalid value: {quoted}: {told}")
    return Cause(reason=reason, field=where.lstrip(".") or "<nil>", message=message)


def _message(rule: Object, scope: Object) -> str:
    if expression := rule.get("messageExpression"):
        term = _compiled(expression)
        if term is not None:
            return str(term(scope))
    return str(rule.get("message") or f"failed rule: {rule['rule']}")
