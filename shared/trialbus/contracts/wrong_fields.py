"""What is wrong with a JSON body, in words for its sender: pydantic's errors as problems."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from trialbus.kernel.errors import Problem
from trialbus.kernel.limits import MAX_PROBLEMS

_SHOWN_CHARS = 60
# By pydantic's kind of error; it speaks of Python's types.
_WORDS = {
    "missing": "must be given",
    "model_type": "must be an object",
    "dict_type": "must be an object",
    "tuple_type": "must be a list",
    "too_short": "must have at least {min_length} entry",
    "too_long": "must have at most {max_length} entries",
    "string_type": "must be a text",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must be printable ASCII",
    "literal_error": "must be {expected}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "finite_number": "must be a finite number",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": 'must be a number, or "NaN", "Infinity" or "-Infinity"',
    "float_parsing": 'must be a number, or "NaN", "Infinity" or "-Infinity"',
}
_KEY = "[key]"


def wrong_fields(error: ValidationError, *, within: str = "") -> list[Problem]:
    """Every problem with the path of its field, as it stands in the JSON; at most `MAX_PROBLEMS`.
    within: where the body stands in what was sent."""
    found = error.errors(include_url=False, include_input=False)
    places = [it["loc"] for it in found]
    return [
        _problem(it["type"], it["loc"], it.get("ctx", {}), it["msg"], within)
        for it in found
        # Wrong entries are not counted, so their list seems to be too short as well.
        if it["type"] != "too_short" or not any(_below(it["loc"], place) for place in places)
    ][:MAX_PROBLEMS]


def _problem(
    kind: str, location: Sequence[int | str], told: Mapping[str, Any], message: str, within: str
) -> Problem:
    shown = {name: f"{it:.15g}" if isinstance(it, float) else it for name, it in told.items()}
    words = _WORDS[kind].format(**shown) if kind in _WORDS else message
    if location and location[-1] == _KEY:
        location, words = location[:-1], f"the name {words}"
    return Problem(field=_path(within, location), message=words)


def _below(whole: Sequence[int | str], part: Sequence[int | str]) -> bool:
    return len(part) > len(whole) and part[: len(whole)] == whole


def _path(within: str, location: Sequence[int | str]) -> str:
    """`("reports", 2, "metrics")` -> `reports[2].metrics`."""
    text = within
    for part in location:
        shown = f"{part!s:.{_SHOWN_CHARS}}"
        text += f"[{part}]" if isinstance(part, int) else f".{shown}" if text else shown
    return text
