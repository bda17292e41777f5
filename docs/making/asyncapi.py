"""The AsyncAPI 3.0 document, out of the contracts of events and commands and of the subjects."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from making.event_pages import EVENTS
from making.page_parts import capitalized
from trialbus.contracts import subjects
from trialbus.contracts.cloud_events import MAX_ATTRIBUTE_CHARS, SPEC_VERSION, STRUCTURED
from trialbus.contracts.command_events import VERBS
from trialbus.contracts.envelope import CommandReply
from trialbus.contracts.work import WorkReply

Json = dict[str, Any]
Contract = Mapping[str, Any]

_SCHEMAS = "#/components/schemas/"
_ABOUT = """\
What passes between Trialbus and whoever uses its NATS server: CloudEvents 1.0, attributes as
headers `ce-*`, JSON as the payload. `send` is what Trialbus sends, `receive` what it takes. Events
are also in the JetStream stream TRIALBUS_EVENTS, and go over HTTP as server-sent events and
webhooks, structured. Commands are also taken by `POST /v1/events`.
"""
_PARAMETERS: Json = {
    "namespace": {"description": "Of the experiment: a DNS label.", "examples": ["default"]},
    "experiment": {"description": "Its name: a DNS label.", "examples": ["digits"]},
}


def asyncapi() -> Json:
    """Raises ValueError for a contract whose subject is not what the code uses."""
    schemas: Json = {}
    channels: Json = {"reply": _reply_channel(schemas)}
    operations: Json = {}
    messages: Json = {}
    for name, contract, example in _contracts(EVENTS):
        key = _camel(name)
        channels[key] = _channel(contract, key, subjects.event("n", "e", name))
        messages[key] = _event_message(contract, example, schemas)
        operations[f"send{key[0].upper()}{key[1:]}"] = _operation("send", contract, key)
    for name, contract, example in _contracts(EVENTS / "commands"):
        key = _camel(name)
        verb = _verb_of(contract)
        channels[key] = _channel(contract, key, subjects.command("n", "e", verb))
        messages[key] = _command_message(contract, example, schemas)
        reply = "commandReply" if verb in VERBS else "workReply"
        operations[key] = _operation("receive", contract, key) | {
            "reply": {
                "channel": {"$ref": "#/channels/reply"},
                "messages": [{"$ref": f"#/channels/reply/messages/{reply}"}],
            }
        }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Trialbus", "version": "1.0.0", "description": _ABOUT},
        "defaultContentType": "application/json",
        "servers": {
            "nats": {
                "host": "{address}",
                "protocol": "nats",
                "description": "The address that `trialbus status` tells.",
                "variables": {"address": {"default": "127.0.0.1:4222"}},
            }
        },
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "parameters": _PARAMETERS, "schemas": schemas},
    }


def _contracts(folder: Path) -> Iterator[tuple[str, Contract, Contract]]:
    """Name, contract and example of every file in the folder."""
    for path in sorted(folder.glob("*.json")):
        example = json.loads((EVENTS / "examples" / path.name).read_text())
        yield path.stem, json.loads(path.read_text()), example


def _channel(contract: Contract, key: str, subject: str) -> Json:
    """subject: as the code has it, for the experiment `e` in the namespace `n`."""
    address = subject.replace(".n.e.", ".{namespace}.{experiment}.", 1)
    if contract["subject"] != address.replace("{", "<").replace("}", ">"):
        raise ValueError(f"{key}: its subject is {contract['subject']}, not {address}")
    return {
        "address": address,
        "description": capitalized(contract["meaning"]),
        "parameters": {name: {"$ref": f"#/components/parameters/{name}"} for name in _PARAMETERS},
        "messages": {key: {"$ref": f"#/components/messages/{key}"}},
    }


def _reply_channel(schemas: Json) -> Json:
    return {
        "address": None,
        "description": "The reply subject of the request.",
        "messages": {
            "commandReply": _reply("What became of a command.", CommandReply, schemas),
            "workReply": _reply("What became of a worker's word.", WorkReply, schemas),
        },
    }


def _reply(about: str, model: type[BaseModel], schemas: Json) -> Json:
    schema = model.model_json_schema(mode="serialization")
    return {
        "name": model.__name__,
        "summary": about,
        "contentType": "application/json",
        "payload": _lifted(schema, schemas),
    }


def _operation(action: str, contract: Contract, key: str) -> Json:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{key}"},
        "summary": capitalized(contract["meaning"]),
        "messages": [{"$ref": f"#/channels/{key}/messages/{key}"}],
    }


def _event_message(contract: Contract, example: Contract, schemas: Json) -> Json:
    properties = {
        "ce-specversion": {"const": SPEC_VERSION},
        "ce-id": {"type": "string", "description": contract["id"]},
        "ce-type": {"const": contract["type"]},
        "ce-source": {"const": f"/trialbus/{contract['producer']}"},
        "ce-subject": {"type": "string", "description": f"The {contract['about']}."},
        "ce-time": {"type": "string", "format": "date-time"},
        "ce-namespace": {"type": "string"},
        "ce-experiment": {"type": "string"},
        "ce-experimentuid": {"type": "string"},
        "traceparent": {"type": "string", "description": "W3C trace context, if there is one."},
    }
    required = [name for name in properties if name != "traceparent"]
    return _message(contract, example, schemas, properties, required)


def _command_message(contract: Contract, example: Contract, schemas: Json) -> Json:
    text = {"type": "string", "minLength": 1, "maxLength": MAX_ATTRIBUTE_CHARS}
    properties = {
        "ce-specversion": {"const": SPEC_VERSION},
        "ce-id": text | {"description": "With the source it names the event: taken once."},
        "ce-type": {"const": contract["type"]},
        "ce-source": text | {"description": "Who sends, as a URI reference."},
        "ce-subject": text | {"description": f"{contract['about']}."},
        "ce-experimentuid": text | {"description": "Only for the experiment with this uid."},
        "ce-workingdir": text | {"description": "Where the trials of a new experiment run."},
    }
    required = ["ce-specversion", "ce-id", "ce-type", "ce-source"]
    told = _message(contract, example, schemas, properties, required)
    return told | {
        "description": f"Or in structured mode, with the header `content-type: {STRUCTURED}`."
    }


def _message(
    contract: Contract, example: Contract, schemas: Json, properties: Json, required: list[str]
) -> Json:
    """example: structured, as the files have it."""
    headers = {
        f"ce-{name}": value
        for name, value in example.items()
        if name not in ("data", "datacontenttype")
    }
    shown = {"name": "example", "headers": headers, "payload": example.get("data", {})}
    return {
        "name": contract["type"],
        "title": contract["type"],
        "summary": capitalized(contract["meaning"]),
        "contentType": "application/json",
        "headers": {"type": "object", "properties": properties, "required": required},
        "payload": _lifted(contract["schema"], schemas),
        "examples": [shown],
    }


def _lifted(schema: Mapping[str, Any], schemas: Json) -> Json:
    """The schema with its own definitions among the components, where references find them."""
    for name, definition in schema.get("$defs", {}).items():
        lifted = _pointed(definition)
        if schemas.setdefault(name, lifted) != lifted:
            raise ValueError(f"two schemas are called {name}")
    rest = {key: it for key, it in schema.items() if key not in ("$defs", "$schema")}
    pointed: Json = _pointed(rest)
    return pointed


def _pointed(value: Any) -> Any:
    if isinstance(value, list):
        return [_pointed(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    return {
        key: it.replace("#/$defs/", _SCHEMAS) if key == "$ref" else _pointed(it)
        for key, it in value.items()
    }


def _verb_of(contract: Contract) -> str:
    """`io.trialbus.<aggregate>.<verb>.v1`."""
    return str(contract["type"].split(".")[3])


def _camel(name: str) -> str:
    first, *rest = name.replace("-", ".").replace("_", ".").split(".")
    return first + "".join(it.capitalize() for it in rest)
