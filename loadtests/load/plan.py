"""What the process that makes the load is told, and what it writes down."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from loadtests.load.scenario import People
from loadtests.load.windows import Cell, Window

# In a line of their own, after all windows: results that were told and accepted, by experiment.
TOLD = "told"


class Plan(BaseModel):
    """names: by group, of the experiments that are there. objects: by group, an experiment whose
    name is put in. namespace: of all. window: seconds of one window. seconds: until people go.
    come_within: seconds in which they come.
    output: file of JSON lines."""

    model_config = ConfigDict(frozen=True)

    http: str
    nats: str
    namespace: str
    seconds: float
    come_within: float
    window: float
    output: Path
    people: tuple[People, ...]
    names: dict[str, list[str]]
    objects: dict[str, dict[str, Any]]


def window_line(at: float, cells: Mapping[str, Cell]) -> str:
    record = {"at": round(at, 2), "cells": {name: cell.record() for name, cell in cells.items()}}
    return json.dumps(record, separators=(",", ":")) + "\n"


def told_line(told: Mapping[str, int]) -> str:
    return json.dumps({TOLD: dict(told)}) + "\n"


def read_windows(path: Path) -> list[Window]:
    return [
        Window(line["at"], {name: Cell.read(it) for name, it in line["cells"].items()})
        for line in _lines(path)
        if "cells" in line
    ]


def read_told(path: Path) -> dict[str, int]:
    """Empty if the process did not come to its end."""
    found: dict[str, int] = {}
    for line in _lines(path):
        found |= line.get(TOLD, {})
    return found


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    for text in path.read_text().splitlines():
        # The last one of a process that was killed may be cut off.
        if text.endswith("}"):
            yield json.loads(text)
