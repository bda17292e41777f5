"""A batch/v1 Job against Kubernetes' own types: Katib refuses fields that it does not know and
values that do not fit (rule 35).

job_schema.json: every type that a Job consists of, field -> type, of Kubernetes 1.36. `[T]` is a
list of T, `texts` an object of texts, `quantities` an object of texts or numbers.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from trialbus.contracts.katib.shape import did_you_mean, show

Json = Any
Found = tuple[str, str]

_WANTED = {
    "str": "text",
    "int": "a whole number",
    "bool": "true or false",
    "int or text": "a whole number or text",
}


def job_problems(job: Mapping[str, Json]) -> Iterator[Found]:
    """Every field that no Job has and every value of a wrong type: (path below it, message)."""
    yield from _object(job, _schema()["Job"], "")


def container_problems(container: Mapping[str, Json]) -> Iterator[Found]:
    """The same of one container."""
    yield from _object(container, _schema()["Container"], "")


@cache
def _schema() -> Mapping[str, Mapping[str, str]]:
    text = files("trialbus.contracts.katib").joinpath("job_schema.json").read_text("utf-8")
    schema: Mapping[str, Mapping[str, str]] = json.loads(text)
    return schema


def _object(node: Mapping[str, Json], fields: Mapping[str, str], where: str) -> Iterator[Found]:
    for name, value in node.items():
        kind, at = fields.get(name), f"{where}.{name:.60}"
        if kind is None:
            yield at, f"unknown field{did_you_mean(name, list(fields))}"
        elif value is not None:
            yield from _value(value, kind, at)


def _value(value: Json, kind: str, where: str) -> Iterator[Found]:
    if kind.startswith("["):
        if not isinstance(value, list):
            yield where, f"must be a list, not {show(value)}"
            return
        for i, item in enumerate(value):
            yield from _value(item, kind[1:-1], f"{where}[{i}]")
    elif kind in ("texts", "quantities"):
        yield from _entries(value, where, numbers=kind == "quantities")
    elif (fields := _schema().get(kind)) is not None:
        if isinstance(value, Mapping):
            yield from _object(value, fields, where)
        else:
            yield where, f"must be an object (fields with values), not {show(value)}"
    elif not _fits(value, kind):
        yield where, _misfit(value, kind)


def _entries(value: Json, where: str, *, numbers: bool) -> Iterator[Found]:
    if not isinstance(value, Mapping):
        yield where, f"must be an object (fields with values), not {show(value)}"
        return
    for name, text in value.items():
        if not (_fits(text, "str") or (numbers and _is_number(text))):
            yield f"{where}.{name:.60}", _misfit(text, "str")


def _fits(value: Json, kind: str) -> bool:
    match kind:
        case "str":
            return isinstance(value, str)
        case "bool":
            return isinstance(value, bool)
        case "int":
            return _is_number(value) and value == int(value)
        case "int or text":
            return isinstance(value, str) or _fits(value, "int")
        case _:
            return True


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _misfit(value: Json, kind: str) -> str:
    message = f"must be {_WANTED[kind]}, not {show(value)}"
    if kind == "str" and isinstance(value, bool | int | float):
        message += ": write it in quotes"
    return message
