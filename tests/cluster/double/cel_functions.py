"""Functions, methods and operators of CEL over plain JSON values."""

import itertools
import operator
import re
from collections.abc import Callable
from typing import Any


class CelError(Exception):
    """An expression failed while it was evaluated."""


class NotThere(Exception):
    """A function that this interpreter does not know."""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def same(left: Any, right: Any) -> bool:
    if isinstance(left, bool) != isinstance(right, bool):
        return False
    return bool(left == right)


_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def compared(name: str, left: Any, right: Any) -> bool:
    if (_is_number(left) and _is_number(right)) or (
        isinstance(left, str) and isinstance(right, str)
    ):
        return _ORDER[name](left, right)
    raise CelError("no such overload")


def arithmetic(name: str, left: Any, right: Any) -> Any:
    if name == "+" and type(left) is type(right) and isinstance(left, str | list):
        return left + right
    if not (_is_number(left) and _is_number(right)):
        raise CelError("no such overload")
    if name in "/%" and right == 0:
        raise CelError("division by zero" if name == "/" else "modulus by zero")
    if name == "+":
        return left + right
    if name == "-":
        return left - right
    if name == "*":
        return left * right
    whole = isinstance(left, int) and isinstance(right, int)
    quotient = int(left / right) if whole else left / right
    return quotient if name == "/" else left - right * quotient


def member_of(holder: Any, name: Any) -> Any:
    if not isinstance(holder, dict):
        raise CelError("no such overload")
    if name not in holder:
        raise CelError(f"no such key: {name}")
    return holder[name]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _substring(text: str, start: int, end: int | None = None) -> str:
    return text[start:end]


def _replace(text: str, old: str, new: str, count: int = -1) -> str:
    return text.replace(old, new, count)


def _index_of(holder: Any, item: Any) -> int:
    if isinstance(holder, str):
        return holder.find(item)
    return next((i for i, value in enumerate(holder) if same(value, item)), -1)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "size": len,
    "int": int,
    "double": float,
    "string": _text,
    "bool": lambda value: value in (True, "true"),
    "dyn": lambda value: value,
}
METHODS: dict[str, Callable[..., Any]] = {
    "size": len,
    "contains": lambda text, part: part in text,
    "startsWith": str.startswith,
    "endsWith": str.endswith,
    "matches": lambda text, pattern: re.search(pattern, text) is not None,
    "lowerAscii": str.lower,
    "upperAscii": str.upper,
    "trim": str.strip,
    "split": lambda text, mark: text.split(mark) if mark else list(text),
    "join": lambda parts, mark="": mark.join(parts),
    "replace": _replace,
    "substring": _substring,
    "charAt": lambda text, at: text[at : at + 1],
    "indexOf": _index_of,
    "isSorted": lambda items: all(a <= b for a, b in itertools.pairwise(items)),
    "sum": sum,
    "min": min,
    "max": max,
}
