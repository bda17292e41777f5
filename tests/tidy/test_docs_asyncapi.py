"""The AsyncAPI document is one, and tells of every event and command."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from making import asyncapi
from trialbus.contracts import subjects
from trialbus.kernel.events import EVENT_TYPES


@pytest.fixture(scope="module")
def document(repository: Path) -> dict[str, Any]:
    text = (repository / "docs/reference/asyncapi.yaml").read_text()
    loaded: dict[str, Any] = yaml.load(text, yaml.CSafeLoader)
    return loaded


@pytest.fixture(scope="module")
def official(repository: Path) -> Draft7Validator:
    schema = json.loads((repository / "tests/data/asyncapi/3.0.0.json").read_text())
    Draft7Validator.check_schema(schema)
    return Draft7Validator(schema)


def resolved(document: Mapping[str, Any], reference: str) -> Any:
    found: Any = document
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found


def references(value: Any) -> set[str]:
    if isinstance(value, list):
        return {it for item in value for it in references(item)}
    if not isinstance(value, dict):
        return set()
    own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
    return own | {it for item in value.values() for it in references(item)}


def test_it_keeps_the_official_schema(document: dict[str, Any], official: Draft7Validator) -> None:
    assert [f"{it.json_path}: {it.message}" for it in official.iter_errors(document)] == []


def test_a_document_that_does_not_is_found(
    document: dict[str, Any], official: Draft7Validator
) -> None:
    wrong = json.loads(json.dumps(document))
    wrong["operations"]["createExperiment"]["action"] = "take"
    assert list(official.iter_errors(wrong))


def test_every_reference_is_there(document: dict[str, Any]) -> None:
    found = references(document)
    assert found
    for reference in found:
        assert resolved(document, reference)


def test_every_event_is_sent_and_every_command_received_and_answered(
    document: dict[str, Any], repository: Path
) -> None:
    commands = {it.stem for it in (repository / "proto/events/commands").glob("*.json")}
    addresses = {
        action: {
            resolved(document, it["channel"]["$ref"])["address"]
            for it in document["operations"].values()
            if it["action"] == action
        }
        for action in ("send", "receive")
    }
    assert len(addresses["send"]) == len(EVENT_TYPES)
    assert len(addresses["receive"]) == len(commands)
    for name in EVENT_TYPES:
        address = subjects.event("lab", "tune", name)
        assert address.replace("lab.tune", "{namespace}.{experiment}") in addresses["send"]
    for it in document["operations"].values():
        assert ("reply" in it) == (it["action"] == "receive")


def test_every_example_keeps_the_schemas_of_its_message(document: dict[str, Any]) -> None:
    for message in document["components"]["messages"].values():
        for part in ("headers", "payload"):
            schema = {**message[part], "components": document["components"]}
            for example in message["examples"]:
                problems = [it.message for it in Draft7Validator(schema).iter_errors(example[part])]
                assert problems == [], message["name"]


def test_a_contract_with_another_subject_than_the_code_uses_is_found() -> None:
    contract = {"subject": "trialbus.v1.evt.<namespace>.<experiment>.x.y", "meaning": "m"}
    with pytest.raises(ValueError, match="its subject"):
        asyncapi._channel(contract, "x", subjects.event("n", "e", "trial.created"))


def test_two_definitions_of_one_name_are_found() -> None:
    schemas: dict[str, Any] = {"Point": {"type": "string"}}
    with pytest.raises(ValueError, match="Point"):
        asyncapi._lifted({"$defs": {"Point": {"type": "object"}}}, schemas)
