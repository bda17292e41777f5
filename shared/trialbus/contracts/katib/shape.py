"""The wire shape checked: every problem in words, and what is left without the wrong parts.

The rules run on what is left, so that a user sees the problems of shape and of meaning at once.
"""

import difflib
import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from trialbus.contracts.katib.models import ExperimentObject
from trialbus.kernel.errors import Problem, Refused
from trialbus.kernel.limits import MAX_PROBLEMS

Json = Any
_ErrorDetails = Mapping[str, Any]
_Location = tuple[int | str, ...]

# Wrong fields taken away can only uncover what stands in their place, so this is never reached.
_MAX_ROUNDS = 5
# Longer names are no misspelling of ours, and comparing them takes long.
_MAX_COMPARED_CHARS = 64
_MAX_COMPARED = 200
_SHOWN_CHARS = 60

_WANTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "an object (fields with values)",
    "model_type": "an object (fields with values)",
    "model_attributes_type": "an object (fields with values)",
}


def check_shape(obj: Mapping[str, Json]) -> tuple[dict[str, Json], list[Problem]]:
    """What is left of the object when its wrong fields are taken out, and why they were wrong."""
    rest = deepcopy(dict(obj))
    problems: dict[str, Problem] = {}
    for _ in range(_MAX_ROUNDS):
        errors = _errors(rest)
        if not errors:
            return rest, list(problems.values())
        for error in errors:
            if len(problems) < MAX_PROBLEMS:
                problem = _problem(error)
                problems.setdefault(problem.field, problem)
            _take_out(rest, error)
    raise Refused(list(problems.values()))


def join(location: Sequence[int | str]) -> str:
    """`("spec", "parameters", 2, "name")` -> `spec.parameters[2].name`."""
    text = ""
    for part in location:
        shown = f"{part!s:.{_SHOWN_CHARS}}"
        text += f"[{part}]" if isinstance(part, int) else f".{shown}" if text else shown
    return text


def show(value: Json) -> str:
    """A value in a message: as JSON, shortened."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """`; did you mean lr?`, or nothing when nothing is close."""
    close = _closest(name, known)
    return "" if close is None else f"; did you mean {close}?"


def _closest(name: str, known: Sequence[str]) -> str | None:
    if len(name) > _MAX_COMPARED_CHARS:
        return None
    by_lower = {candidate.lower(): candidate for candidate in reversed(known[:_MAX_COMPARED])}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[close[0]] if close else None


def meant_field(location: Sequence[int | str]) -> str | None:
    """The field there that comes closest to one that nobody knows."""
    return _closest(str(location[-1]), _known_fields(tuple(location[:-1])))


def _errors(obj: Mapping[str, Json]) -> Sequence[_ErrorDetails]:
    try:
        ExperimentObject.model_validate(obj)
    except ValidationError as exc:
        return exc.errors(include_url=False, include_context=True)
    return ()


def _problem(error: _ErrorDetails) -> Problem:
    return Problem(field=join(_path(error)), message=_message(error))


def _path(error: _ErrorDetails) -> _Location:
    """Where the error is, without the branches of unions that pydantic adds."""
    location: _Location = error["loc"]
    return location[:-1] if location[-2:-1] == ("port",) else location


def _message(error: _ErrorDetails) -> str:
    kind, given = error["type"], error["input"]
    if kind == "extra_forbidden":
        return _unknown_field(error["loc"])
    if kind == "string_too_long":
        return f"is longer than {error['ctx']['max_length']} characters"
    if kind in {"greater_than_equal", "less_than_equal"}:
        return f"{show(given)} is out of range: a whole number of 32 bits is expected"
    wanted = _WANTED.get(kind)
    if wanted is None:
        return f"{error['msg']}, not {show(given)}"
    message = f"must be {wanted}, not {show(given)}"
    if kind == "string_type" and isinstance(given, int | float):
        message += f': write "{_as_written(given)}" in quotes'
    return message


def _as_written(value: float) -> str:
    return json.dumps(value) if isinstance(value, bool) else f"{value:.15g}"


def _unknown_field(location: _Location) -> str:
    known = _known_fields(location[:-1])
    hint = did_you_mean(str(location[-1]), known) or f"; known here: {', '.join(known)}"
    return f"unknown field{hint}"


def _known_fields(location: _Location) -> list[str]:
    model: type[BaseModel] = ExperimentObject
    for part in location:
        if isinstance(part, str):
            fields = {info.alias: info.annotation for info in model.model_fields.values()}
            model = _model_in(fields.get(part)) or model
    return [info.alias or name for name, info in model.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model in `Model | None` or `list[Model] | None`."""
    if isinstance(annotation, type) and not get_args(annotation):
        return annotation if issubclass(annotation, BaseModel) else None
    found = (_model_in(argument) for argument in get_args(annotation))
    return next((model for model in found if model is not None), None)


def _take_out(obj: dict[str, Json], error: _ErrorDetails) -> None:
    """Remove a wrong field; in a list put a harmless value, so that places stay what they are."""
    *parents, last = _path(error)
    node: Json = obj
    for part in parents:
        try:
            node = node[part]
        except (KeyError, IndexError, TypeError):
            return  # taken out already, with what it stood in
    if isinstance(node, dict):
        node.pop(last, None)
    elif isinstance(node, list) and isinstance(last, int):
        node[last] = {} if error["type"].startswith(("model", "dict")) else _blank(error)


def _blank(error: _ErrorDetails) -> Json:
    return 0 if error["type"] in {"int_type", "greater_than_equal", "less_than_equal"} else ""
