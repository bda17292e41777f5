"""The words of Katib's wire that all its objects share: strict objects, texts with a bound, lists
that Kubernetes may merge, names out of a closed set.

What is in `json_schema_extra` is for the schemas alone; whether it holds is said by the rules, in
words that help.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

API_GROUP = "kubeflow.org"
API_GROUP_VERSION = "v1beta1"
API_VERSION = f"{API_GROUP}/{API_GROUP_VERSION}"

# Far above what means anything; a value is copied into every trial, a number is read as decimal.
MAX_NAME_CHARS = 1000
MAX_NUMBER_CHARS = 100
MAX_VALUE_CHARS = 10_000
MAX_INT32 = 2**31 - 1

Item = TypeVar("Item")

Name = Annotated[str, StringConstraints(max_length=MAX_NAME_CHARS)]
Number = Annotated[str, StringConstraints(max_length=MAX_NUMBER_CHARS)]
Value = Annotated[str, StringConstraints(max_length=MAX_VALUE_CHARS)]
Values = Annotated[list[Value], Field(json_schema_extra={"x-kubernetes-list-type": "set"})]

_INT32: dict[str, Any] = {"format": "int32"}
Count = Annotated[int, Field(ge=-MAX_INT32, le=MAX_INT32, json_schema_extra=_INT32)]
# What is counted is never below zero; a budget is at least one trial.
Amount = Annotated[Count, Field(json_schema_extra={**_INT32, "minimum": 0})]
Budget = Annotated[Count, Field(json_schema_extra={**_INT32, "minimum": 1})]

# How server-side apply merges a list: item by item, or as a whole. Katib marks four more lists so
# (sizes, operations, stopping rules) where two equal items mean something; here those are whole.
Set = Annotated[list[Item], Field(json_schema_extra={"x-kubernetes-list-type": "set"})]
ByName = Annotated[
    list[Item],
    Field(
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
        }
    ),
]
ByType = Annotated[
    list[Item],
    Field(
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        }
    ),
]
Whole = Annotated[list[Item], Field(json_schema_extra={"x-kubernetes-list-type": "atomic"})]


def one_of(names: Iterable[str]) -> Any:
    """The names that a text may be, for the schema."""
    return Field(json_schema_extra={"enum": [str(name) for name in names]})


def _is_time(text: str) -> str:
    if not text.endswith("Z"):
        raise ValueError("must be a time in UTC, such as 2023-11-14T22:13:20Z")
    datetime.fromisoformat(text)
    return text


Time = Annotated[str, AfterValidator(_is_time), Field(json_schema_extra={"format": "date-time"})]


class Wire(BaseModel):
    """One object of the wire: strict types, camelCase names, no unknown fields."""

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        # Most processes look at no Suggestion or Trial.
        defer_build=True,
    )


class NameValue(Wire):
    """A name with its value, both as text."""

    name: Name | None = None
    """What is set."""
    value: Value | None = None
    """What it is set to, as text: numbers are written in quotes."""
