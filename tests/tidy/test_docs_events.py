"""Every event has its contract and one real example that keeps it."""

import copy
import importlib.util
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from trialbus.contracts.cloud_events import from_structured
from trialbus.contracts.command_events import VERBS, read_command
from trialbus.contracts.envelope import decode_event
from trialbus.contracts.katib.spec import parse_experiment
from trialbus.contracts.messages import Message
from trialbus.contracts.subjects import event as event_subject
from trialbus.contracts.work import WorkVerb
from trialbus.contracts.work_events import UNNAMED, read_work_event
from trialbus.kernel.events import EVENT_TYPES
from trialbus.runtime.catalogue import installed_catalogue

WORK_CONTRACTS = {
    "ask-trials": WorkVerb.ASK,
    "report-metrics": WorkVerb.REPORT,
    "heartbeat-trials": WorkVerb.HEARTBEAT,
    "tell-results": WorkVerb.TELL,
    "release-trials": WorkVerb.RELEASE,
}


@pytest.fixture(scope="module")
def folder(repository: Path) -> Path:
    return repository / "proto/events"


@pytest.fixture(scope="module")
def validate(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("validate", folder / "validate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read_example(folder: Path, name: str) -> dict[str, Any]:
    example: dict[str, Any] = json.loads((folder / "examples" / f"{name}.json").read_text())
    return example


def fields_without_meaning(schema: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Named fields below `schema` that have no description."""
    for name, field in schema.get("properties", {}).items():
        if not field.get("description"):
            yield f"{path}.{name}"
        yield from fields_without_meaning(field, f"{path}.{name}")
        yield from fields_without_meaning(field.get("items", {}), f"{path}.{name}[]")


def test_every_event_has_a_contract_and_an_example_and_nothing_else_is_there(folder: Path) -> None:
    commands = [*(f"{verb}-experiment" for verb in VERBS), *WORK_CONTRACTS]
    assert sorted(file.stem for file in folder.glob("*.json")) == sorted(EVENT_TYPES)
    assert sorted(file.stem for file in folder.glob("commands/*.json")) == sorted(commands)
    examples = [file.stem for file in (folder / "examples").glob("*.json")]
    assert sorted(examples) == sorted([*EVENT_TYPES, *commands])
    assert [file.name for file in (folder / "examples").iterdir() if file.suffix != ".json"] == []


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_the_example_keeps_the_contract(folder: Path, validate: ModuleType, name: str) -> None:
    example = read_example(folder, name)
    assert example["type"] == f"io.trialbus.{name}.v1"
    assert list(validate.problems(example)) == []


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_the_example_is_what_services_read(folder: Path, name: str) -> None:
    example = read_example(folder, name)
    attributes = {key: str(value) for key, value in example.items() if key != "data"}
    event = decode_event(
        Message(
            subject=event_subject(example["namespace"], example["experiment"], name),
            data=json.dumps(example["data"]).encode(),
            id=example["id"],
            headers={f"ce-{key}": value for key, value in attributes.items()},
        )
    )
    assert (event.type, event.uid) == (name, example["experimentuid"])
    assert (event.reason, event.message) == (example["data"]["reason"], example["data"]["message"])
    assert dict(event.data) == example["data"]["data"]


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_every_field_of_an_event_has_a_meaning(folder: Path, name: str) -> None:
    contract = json.loads((folder / f"{name}.json").read_text())
    data = contract["schema"]["properties"]["data"]
    assert list(fields_without_meaning(data)) == []


@pytest.mark.parametrize("verb", VERBS)
def test_the_example_of_a_command_keeps_its_contract_and_is_what_is_read(
    folder: Path, verb: str
) -> None:
    example = read_example(folder, f"{verb}-experiment")
    contract = json.loads((folder / f"commands/{verb}-experiment.json").read_text())
    assert list(Draft202012Validator(contract["schema"]).iter_errors(example.get("data", {}))) == []
    told = read_command(from_structured(example))
    assert (told.verb, told.namespace, told.name) == (verb, "default", "digits")
    assert set(contract["follows"]) <= set(EVENT_TYPES)
    assert list(fields_without_meaning(contract["schema"])) == []
    if told.command.object is not None:
        parse_experiment(told.command.object, catalogue=installed_catalogue())


@pytest.mark.parametrize(("name", "verb"), WORK_CONTRACTS.items())
def test_the_example_of_a_worker_keeps_its_contract_and_is_what_is_read(
    folder: Path, name: str, verb: WorkVerb
) -> None:
    example = read_example(folder, name)
    contract = json.loads((folder / f"commands/{name}.json").read_text())
    assert contract["type"] == example["type"] == f"io.trialbus.trial.{verb}.v1"
    assert list(Draft202012Validator(contract["schema"]).iter_errors(example["data"])) == []
    told = read_work_event(from_structured(example))
    assert (told.verb, told.namespace, told.name) == (verb, "default", "digits")
    assert set(contract["follows"]) <= set(EVENT_TYPES)
    assert list(fields_without_meaning(contract["schema"])) == []


@pytest.mark.parametrize(("name", "verb"), WORK_CONTRACTS.items())
def test_the_contract_of_a_worker_has_the_fields_and_limits_of_what_is_read(
    folder: Path, name: str, verb: WorkVerb
) -> None:
    read = UNNAMED[verb].model_json_schema()
    contract = json.loads((folder / f"commands/{name}.json").read_text())["schema"]
    assert dict(limits_of(contract, {})) == dict(limits_of(read, read.get("$defs", {})))


def limits_of(
    schema: Mapping[str, Any], parts: Mapping[str, Any], path: str = ""
) -> Iterator[tuple[str, Any]]:
    """What a schema says at each place, but for words to people and defaults."""
    branches = [it for it in schema.get("anyOf", ()) if it != {"type": "null"}]
    if len(branches) == 1:
        schema = branches[0]
    if "$ref" in schema:
        schema = parts[schema["$ref"].rpartition("/")[2]]
    for key in ("minimum", "maximum", "minLength", "maxLength", "pattern", "minItems", "maxItems"):
        if key in schema:
            yield f"{path}.{key}", schema[key]
    yield f"{path}.required", sorted(schema.get("required", ()))
    for name, field in schema.get("properties", {}).items():
        yield from limits_of(field, parts, f"{path}.{name}")
    if "items" in schema:
        yield from limits_of(schema["items"], parts, f"{path}[]")


def test_a_field_without_a_meaning_is_found() -> None:
    schema = {"properties": {"a": {"description": "A.", "items": {"properties": {"b": {}}}}}}
    assert list(fields_without_meaning(schema)) == [".a[].b"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"type": "io.trialbus.trial.forgotten.v1"}, "no contract"),
        ({"source": "/trialbus/gateway"}, "source"),
        ({"subject": "stopping"}, "is no trial"),
        ({"data": {"reason": "", "message": "", "data": {}}}, "'attempt' is a required"),
        ({"data": {"reason": "", "message": "x" * 300_000, "data": {}}}, "more than 262144"),
    ],
)
def test_an_event_that_breaks_its_contract_is_found(
    folder: Path, validate: ModuleType, change: dict[str, Any], problem: str
) -> None:
    event = read_example(folder, "trial.succeeded") | change
    if event["subject"] == "stopping":
        event["experiment"] = "stopping"
    assert any(problem in found for found in validate.problems(event))


def test_a_field_that_the_contract_does_not_name_is_found(
    folder: Path, validate: ModuleType
) -> None:
    event = copy.deepcopy(read_example(folder, "trial.stop_requested"))
    event["data"]["data"]["trials"][0]["evidence"]["mean"] = 1.0
    assert any("'mean'" in found for found in validate.problems(event))
