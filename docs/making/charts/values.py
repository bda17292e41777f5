"""Values of a chart: one source for values.yaml with its comments and for values.schema.json."""

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

Schema = Mapping[str, Any]
_WIDTH = 100
# Helm gives every chart an object for the values of each chart that it depends on.
_LIBRARY = "trialbus-lib"


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """about: a sentence for whoever sets it. default: what the chart does without."""

    name: str
    about: str
    default: Any
    schema: Schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Values under one name. Closed: another name below it is refused."""

    name: str
    about: str
    parts: tuple["Value | Group", ...]


Part = Value | Group


def values_text(parts: Sequence[Part]) -> str:
    """values.yaml, without a head; each value has its comment right above it."""
    return "".join(_lines(parts, ""))


def _lines(parts: Sequence[Part], indent: str) -> Iterator[str]:
    for part in parts:
        comment = textwrap.wrap(part.about, _WIDTH - len(indent) - 2, break_on_hyphens=False)
        yield from (f"{indent}# {line}\n" for line in comment)
        match part:
            case Value():
                yield from _value_lines(part, indent)
            case Group():
                yield f"{indent}{part.name}:\n"
                yield from _lines(part.parts, f"{indent}  ")


def _value_lines(value: Value, indent: str) -> Iterator[str]:
    text = yaml.safe_dump({value.name: value.default}, sort_keys=False, width=_WIDTH)
    yield from (f"{indent}{line}\n" for line in text.splitlines())


def schema_text(title: str, parts: Sequence[Part]) -> str:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        **closed(parts),
    }
    schema["properties"][_LIBRARY] = {"description": "Added by Helm.", "type": "object"}
    return json.dumps(schema, indent=2) + "\n"


def closed(parts: Sequence[Part]) -> dict[str, Any]:
    """The schema of an object with these parts and no others."""
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {part.name: _schema_of(part) for part in parts},
    }


def _schema_of(part: Part) -> Schema:
    if isinstance(part, Group):
        return {"description": part.about, **closed(part.parts)}
    return {"description": part.about, **part.schema}
