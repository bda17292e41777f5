"""What users write into names, ids and headers never becomes a line, header or subject of NATS."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from nats.aio.msg import Msg

from trialbus.contracts.nats_identities import (
    EXPERIMENT,
    GATEWAY,
    PROVISIONER,
    Identity,
    Role,
    outside,
)
from trialbus.local.bus_connection import open_bus
from trialbus.local.provisioning import provision
from trialbus.testkit.gateway_world import World, gateway_world, katib
from trialbus.testkit.secured_bus import SecuredBus, secured_bus

pytestmark = pytest.mark.servers

PATH = "/v1/events"
DEADLINE_S = 30.0
STRUCTURED = "application/cloudevents+json"
HOSTILE = [
    "x\r\nNats-Msg-Id: evil",
    "x\r\nX-Evil: 1",
    "x\nX-Evil: 1\n",
    "x\r\n\r\nPUB trialbus.v1.cmd.blue.e.delete 4\r\nevil\r\n",
    "x\x00y",
    "x\u2028X-Evil: 1",
    "x y",
    "x\ty",
    "*",
    ">",
    "x.>",
    "lab.*.delete",
    "a.b",
    "..",
    "",
    "$JS.API.STREAM.DELETE.TRIALBUS_EVENTS",
    "x%0d%0aX-Evil: 1",
    "ÄÖ",
    "X" * 5000,
]
FIELDS = [
    "id",
    "source",
    "type",
    "subject",
    "experimentuid",
    "workingdir",
    "traceparent",
    "extension",
    "name",
    "namespace",
    "label",
    "parameter",
]
# What our own messages carry.
HEADERS = re.compile(r"(?i)ce-[a-z]+|content-type|traceparent|nats-msg-id|nats-expected-[a-z-]+")
SUBJECTS = re.compile(
    r"trialbus\.v1\.(cmd|evt)\.[a-z0-9-]+\.[a-z0-9-]+\.[a-z_.]+"
    r"|\$JS\.API\.(STREAM|CONSUMER)\.(CREATE|UPDATE|INFO)\.[A-Za-z0-9_.-]+"
    r"|_INBOX(_[a-z_]+)?(\.[A-Za-z0-9_-]+)+"
)


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[SecuredBus]:
    guest = outside(Role.PIPELINE, "pipe", ["lab"])
    async with secured_bus(tmp_path / "bus", [guest]) as bus:
        await provision(bus.settings(PROVISIONER), within_s=20)
        yield bus


@pytest.fixture
async def world(bus: SecuredBus, tmp_path: Path) -> AsyncIterator[World]:
    """Gateway and experiment service over that bus, each with its own key."""
    async with AsyncExitStack() as stack:
        buses = {}
        for name in (GATEWAY, EXPERIMENT):
            identity = Identity(name=name, role=Role.SERVICE)
            buses[name] = await open_bus(identity, bus.settings(name))
            stack.push_async_callback(buses[name].close)
        made = await stack.enter_async_context(gateway_world(tmp_path, buses=buses))
        await bus.heard_so_far()
        yield made


def hostile_event(field: str, text: str) -> dict[str, Any]:
    object_ = katib()
    event = {
        "specversion": "1.0",
        "id": "e1",
        "source": "/ci",
        "type": "io.trialbus.experiment.apply.v1",
        "data": object_,
    }
    match field:
        case "name" | "namespace":
            object_["metadata"][field] = text
        case "label":
            object_["metadata"]["labels"] = {"team": text, text: "x"}
        case "parameter":
            object_["spec"]["parameters"][0]["name"] = text
        case "extension":
            event[text] = "x"
            event["other"] = text
        case _:
            event[field] = text
    return event


async def answered(world: World, content: str, headers: dict[str, str]) -> httpx.Response:
    """Asked again while a busy machine makes the experiment service late."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            answer = await world.client.post(PATH, content=content, headers=headers)
            if answer.status_code != 503:
                return answer


def wrong(messages: list[Msg]) -> list[str]:
    """Messages that are none of ours, or carry what none of ours carries."""
    found = []
    for message in messages:
        headers = message.headers or {}
        values = [*headers.values(), *headers]
        if (
            not SUBJECTS.fullmatch(message.subject)
            or not all(map(HEADERS.fullmatch, headers))
            or any(set(value) & set("\r\n\0") for value in values)
            or headers.get("Nats-Msg-Id") == "evil"
            or ".blue." in message.subject
        ):
            found.append(f"{message.subject} {headers}")
    return found


@pytest.mark.parametrize("mode", ["structured", "binary"])
async def test_over_http_nothing_of_it_reaches_the_wire_as_more_than_a_value(
    bus: SecuredBus, world: World, mode: str
) -> None:
    statuses = set()
    for field in FIELDS:
        for text in HOSTILE:
            event = hostile_event(field, text)
            if mode == "structured":
                content, headers = json.dumps(event), {"content-type": STRUCTURED}
            else:
                content = json.dumps(event.pop("data"))
                headers = {f"ce-{quote(it)}": quote(str(value)) for it, value in event.items()}
                headers["content-type"] = "application/json"
            answer = await answered(world, content, headers)
            statuses.add(answer.status_code)
            assert answer.status_code < 500, (field, text, answer.text)
            told = str(answer.headers)
            assert "evil" not in told.lower(), told
    assert {202, 422} <= statuses
    assert wrong(await bus.heard_so_far()) == []
    # An empty namespace is the default one.
    assert {it.namespace for it in await world.experiments()} == {"lab", "default"}
    assert not re.search("Violation|parser|Parser", bus.logged())


async def test_over_nats_wildcards_and_lines_are_refused_and_the_refusal_is_clean(
    bus: SecuredBus, world: World
) -> None:
    """A client's own headers are its own; what we say of them is ours."""
    names = ("*", "X_Y", "-x", "$x")
    async with bus.identity("pipe") as (client, _):
        for field in FIELDS:
            for number, text in enumerate(HOSTILE):
                event = hostile_event(field, text)
                headers = {"content-type": STRUCTURED}
                content = json.dumps(event)
                if number % 2:
                    content = json.dumps(event.pop("data"))
                    headers = {"ce-" + re.sub("[^a-z]", "", it): quote(str(value))
                               for it, value in event.items()}  # fmt: skip
                name = names[number % len(names)] if field == "id" else "tune"
                subject = f"trialbus.v1.cmd.lab.{name}.apply"
                reply = await client.request(subject, content.encode(), timeout=20, headers=headers)
                assert json.loads(reply.data)["accepted"] in (True, False)
    heard = await bus.heard_so_far()
    ours = [it for it in heard if ".cmd." not in it.subject]
    assert sum("command.refused" in it.subject for it in ours) > 100
    assert wrong(ours) == []
    assert {it.name for it in await world.experiments()} <= {"tune"}
    assert not re.search("Violation|parser|Parser", bus.logged())
