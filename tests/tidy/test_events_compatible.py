"""Contracts of events keep what was released."""

import copy
import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from trialbus.contracts.cloud_events import from_structured
from trialbus.contracts.command_events import read_command
from trialbus.contracts.work_events import is_work, read_work_event


@pytest.fixture(scope="module")
def compatible(repository: Path) -> ModuleType:
    path = repository / "proto/events/compatible.py"
    spec = importlib.util.spec_from_file_location("compatible", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_contract_breaks_what_was_released(compatible: ModuleType) -> None:
    assert list(compatible.breaches()) == [], "see proto/events/README.md, `What was released`"


def test_every_release_is_complete(repository: Path) -> None:
    releases = sorted((repository / "proto/events/released").iterdir())
    assert releases
    for release in releases:
        contracts = [it for it in release.rglob("*.json") if it.parent.name != "examples"]
        examples = {it.name for it in (release / "examples").glob("*.json")}
        assert {it.name for it in contracts} == examples


def test_released_commands_are_still_read(repository: Path) -> None:
    released = repository / "proto/events/released"
    paths = [it for it in released.glob("*/examples/*-*.json") if "." not in it.stem]
    assert paths
    for path in paths:
        event = from_structured(json.loads(path.read_text()))
        if is_work(event):
            assert read_work_event(event).verb == event.type.split(".")[3]
        else:
            assert read_command(event).verb == event.type.split(".")[3]


# The rules themselves ---------------------------------------------------------------------------

Change = Callable[[dict[str, Any]], None]


def _drop(schema: dict[str, Any]) -> None:
    del schema["properties"]["size"]


def _retype(schema: dict[str, Any]) -> None:
    schema["properties"]["size"]["type"] = "string"


def _require(schema: dict[str, Any]) -> None:
    schema["required"].append("size")


def _no_longer_require(schema: dict[str, Any]) -> None:
    schema["required"].remove("name")


def _narrow(schema: dict[str, Any]) -> None:
    schema["properties"]["size"]["maximum"] = 5


def _nullable(schema: dict[str, Any]) -> None:
    schema["properties"]["size"]["type"] = ["integer", "null"]


def _add(schema: dict[str, Any]) -> None:
    schema["properties"]["colour"] = {"type": "string"}


def _retype_inside(schema: dict[str, Any]) -> None:
    schema["properties"]["parts"]["items"]["properties"]["id"]["type"] = "integer"


OLD = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "size": {"type": "integer", "maximum": 9},
        "parts": {
            "type": "array",
            "items": {"type": "object", "properties": {"id": {"type": "string"}}},
        },
    },
    "required": ["name"],
}


@pytest.mark.parametrize(
    ("change", "of_events", "of_commands"),
    [
        (_add, "", ""),
        (_drop, "data.size: it vanished", "data.size: it vanished"),
        (_retype, "data.size: its type was integer and is string", "data.size: its type"),
        (_retype_inside, "data.parts[].id: its type", "data.parts[].id: its type"),
        (_require, "", "data.size: senders never had to give it"),
        (_no_longer_require, "data.name: readers count on it", ""),
        (_narrow, "", "data.size: its `maximum` became narrower"),
        (_nullable, "data.size: its type was integer and is integer or null", ""),
    ],
)
def test_what_breaks_the_promise_is_told(
    compatible: ModuleType, change: Change, of_events: str, of_commands: str
) -> None:
    new = copy.deepcopy(OLD)
    change(new)
    for we_read, expected in ((False, of_events), (True, of_commands)):
        found = list(compatible.schema_breaches(OLD, new, "data", we_read=we_read))
        assert len(found) == bool(expected)
        assert "".join(found).startswith(expected)


@pytest.fixture
def contracts(repository: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    folder = tmp_path / "events"
    shutil.copytree(repository / "proto/events", folder)
    return folder


def test_a_type_that_is_gone_is_found(compatible: ModuleType, contracts: Path) -> None:
    (contracts / "experiment.succeeded.json").unlink()
    assert any(it.startswith("experiment.succeeded") for it in compatible.breaches(contracts))


def test_another_subject_is_found(compatible: ModuleType, contracts: Path) -> None:
    path = contracts / "commands/stop-experiment.json"
    path.write_text(path.read_text().replace(".stop", ".halt"))
    assert any("`subject` was" in it for it in compatible.breaches(contracts))


def test_a_released_example_that_is_refused_is_found(
    compatible: ModuleType, contracts: Path
) -> None:
    path = contracts / "released/1/examples/trial.succeeded.json"
    path.write_text(path.read_text().replace('"attempt"', '"attempted"'))
    assert any("released example is refused" in it for it in compatible.breaches(contracts))
