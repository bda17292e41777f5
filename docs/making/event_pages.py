"""The contracts of events and commands, and their page."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from making.page_parts import Row, capitalized, table
from trialbus.contracts import subjects, work_events
from trialbus.contracts.command_events import VERBS, event_type
from trialbus.contracts.work import WorkVerb
from trialbus.kernel import limits
from trialbus.kernel.events import EventType

EVENTS = Path(__file__).resolve().parents[2] / "proto/events"


def contract(name: str, event: EventType, kept: Mapping[str, Any]) -> dict[str, Any]:
    """The contract of one event: `about`, `id` and `schema` as they are, the rest from the code."""
    return {
        "type": f"io.trialbus.{name}.v1",
        "kind": event.kind.value,
        "meaning": event.meaning,
        "producer": event.producer,
        "consumers": list(event.consumers),
        "stream": subjects.EVENT_STREAM,
        "subject": f"trialbus.v1.evt.<namespace>.<experiment>.{name}",
        "key": f"namespace and experiment: one of {limits.PARTITIONS} partitions",
        "max_body_bytes": limits.MAX_PAYLOAD_BYTES,
        "about": kept["about"],
        "id": kept["id"],
        "schema": kept["schema"],
    }


# File -> CloudEvents type: of commands to experiments, and of what workers say.
COMMANDS = {f"{verb}-experiment": event_type(verb) for verb in VERBS}
WORK: Mapping[str, WorkVerb] = {
    "ask-trials": WorkVerb.ASK,
    "report-metrics": WorkVerb.REPORT,
    "heartbeat-trials": WorkVerb.HEARTBEAT,
    "tell-results": WorkVerb.TELL,
    "release-trials": WorkVerb.RELEASE,
}


def commands_part(types: Mapping[str, str]) -> str:
    """What others post, out of the contracts that people write. types: file -> its type."""
    parts = []
    for name, type_ in types.items():
        told = json.loads((EVENTS / f"commands/{name}.json").read_text())
        if told["type"] != type_:
            raise ValueError(f"{name}: its type is {told['type']}, not {type_}")
        data = list(_data_fields(told["schema"], "data"))
        links = [f"[`{it}`](#{it.replace('.', '')})" for it in told["follows"]]
        follows = ", ".join(links) or "nothing"
        parts.append(
            f"\n### {name}\n\n{capitalized(told['meaning'])} Type `{told['type']}`; on NATS "
            f"`{told['subject']}`. [Example](../../proto/events/examples/{name}.json). "
            f"What follows: {follows}.\n\n"
            + (table(["field", "meaning"], data) if data else "`data` is empty or absent.\n")
        )
    return "".join(parts)


def events_page(texts: Mapping[str, Any], contracts: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for name, it in contracts.items():
        link = f"[`{name}`](#{name.replace('.', '')})"
        wakes = ", ".join(it["consumers"]) or "none"
        rows.append([link, it["kind"], it["producer"], wakes, it["meaning"]])
    head = table(["event", "kind", "producer", "wakes", "meaning"], rows)
    events = "".join(_event(name, it) for name, it in contracts.items())
    work = {name: work_events.event_type(verb) for name, verb in WORK.items()}
    return (
        f"{head}{events}\n## Commands\n\n{texts['commands']}{commands_part(COMMANDS)}"
        f"\n## Workers\n\n{texts['work']}{commands_part(work)}"
    )


def _event(name: str, contract: Mapping[str, Any]) -> str:
    data = list(_data_fields(contract["schema"]["properties"]["data"], "data"))
    return (
        f"\n## {name}\n\n{capitalized(contract['meaning'])} "
        f"`ce-subject` is the {contract['about']}; `ce-id` is `{contract['id']}`.\n\n"
        + (table(["field", "meaning"], data) if data else "`data` is empty.\n")
    )


def _data_fields(schema: Mapping[str, Any], path: str) -> Iterator[Row]:
    for name, field in schema.get("properties", {}).items():
        where = f"{path}.{name}"
        yield [f"`{where}`", field["description"]]
        yield from _data_fields(field, where)
        yield from _data_fields(field.get("items", {}), f"{where}[]")
