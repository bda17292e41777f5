"""Answers of the gateway that go on: logs and server-sent events."""

import json
import math
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trialbus.contracts import subjects
from trialbus.contracts.envelope import encode_event
from trialbus.contracts.logs import LogReply, LogRequest
from trialbus.kernel.events import Event
from trialbus.kernel.experiment import (
    Experiment,
)
from trialbus.kernel.ids import run_id
from trialbus.kernel.run import RunPhase
from trialbus.ports.bus import Request
from trialbus.testkit.gateway_world import (
    PATH,
    World,
    gateway_world,
    real_client,
    running_trial,
)
from trialbus.testkit.waits import until
from trialbus_gateway.adapters.streams import LiveAnswer


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway_world(tmp_path) as made:
        yield made


# Logs ---------------------------------------------------------------------------------------------


class Host:
    """A launcher's side of logs: what runs wrote so far."""

    def __init__(self, output: Mapping[str, str]) -> None:
        self.output = dict(output)
        self.ended: set[str] = set()
        self.asked: list[LogRequest] = []

    async def respond(self, requests: Sequence[Request]) -> Sequence[bytes]:
        return [self._answer(LogRequest.from_bytes(it.data)).to_bytes() for it in requests]

    def _answer(self, asked: LogRequest) -> LogReply:
        self.asked.append(asked)
        if asked.run not in self.output:
            return LogReply(known=False, ended=True)
        text = self.output[asked.run]
        start = asked.from_byte if asked.from_byte >= 0 else max(0, len(text) + asked.from_byte)
        piece = text[start:][: min(asked.max_bytes, 1000)]
        after = start + len(piece)
        ended = asked.run in self.ended and after >= len(text)
        return LogReply(text=piece, next_byte=after, ended=ended)

    @asynccontextmanager
    async def here(self, world: World) -> AsyncIterator[None]:
        client = world.bus.client("launcher")
        async with client.serve(subjects.log("box.lan"), "log", self.respond, max_group=8):
            yield


async def test_a_log_is_read_from_the_host_of_its_newest_attempt(world: World) -> None:
    state, trial = await running_trial(world, attempt=2)
    text = "".join(f"line {i}\n" for i in range(1000))
    async with Host({run_id(state.id, 0, 2): text}).here(world):
        answer = await world.client.get(f"/v1/trials/{trial.name}/log")
        assert answer.headers["content-type"].startswith("text/plain")
        assert answer.text == text
        tail = await world.client.get(f"/v1/trials/{trial.name}/log?tail=2")
        assert tail.text == "line 998\nline 999\n"
        assert (await world.client.get(f"/v1/trials/{trial.name}/log?tail=0")).text == ""


async def test_the_tail_of_a_long_finished_log_does_not_read_all_of_it(world: World) -> None:
    size = 100 * 1024 * 1024
    ended: dict[str, Any] = {"phase": RunPhase.FINISHED, "output_bytes": size, "finished_at": 5.0}
    _, trial = await running_trial(world, **ended)
    host = Host({})
    async with host.here(world):
        await world.client.get(f"/v1/trials/{trial.name}/log?tail=2")
    assert [asked.from_byte for asked in host.asked] == [-4 * 1024 * 1024]


@pytest.mark.parametrize("gone", [True, False])
async def test_of_an_ended_run_the_kept_tail_is_shown_when_its_log_is_gone(
    world: World, gone: bool
) -> None:
    ended: dict[str, Any] = {"phase": RunPhase.FINISHED, "log_tail": "a\nb\n", "finished_at": 5.0}
    _, trial = await running_trial(world, **ended)
    path = f"/v1/trials/{trial.name}/log"
    if gone:
        async with Host({}).here(world):
            assert (await world.client.get(path)).text == "a\nb\n"
            assert (await world.client.get(f"{path}?tail=1")).text == "b\n"
    else:
        assert (await world.client.get(path)).text == "a\nb\n"


async def test_the_log_of_a_living_run_is_503_while_its_launcher_is_away(world: World) -> None:
    _, trial = await running_trial(world)
    assert (await world.get(f"/v1/trials/{trial.name}/log", 503))["message"]


@pytest.mark.parametrize("query", ["follow=maybe", "tail=x", "tail=-1", "tail=999999999"])
async def test_a_wrong_question_about_a_log_is_400(world: World, query: str) -> None:
    _, trial = await running_trial(world)
    assert (await world.get(f"/v1/trials/{trial.name}/log?{query}", 400))["message"]


async def test_a_followed_log_grows_until_the_run_ends(world: World) -> None:
    state, trial = await running_trial(world)
    key = run_id(state.id, 0, 1)
    host = Host({key: "first\n"})
    path = f"/v1/trials/{trial.name}/log?follow=true"
    async with (
        host.here(world),
        real_client(world) as client,
        client.stream("GET", path) as answer,
    ):
        pieces = answer.aiter_text()
        assert await anext(pieces) == "first\n"
        host.output[key] += "second\n"
        assert await anext(pieces) == "second\n"
        host.ended.add(key)
        assert [piece async for piece in pieces if piece] == []


# Events -------------------------------------------------------------------------------------------


def event_of(state: Experiment, number: int, type_: str, **changes: Any) -> Event:
    made = Event(
        id=f"{state.id}@{number}.{type_}",
        type=type_,
        uid=state.id,
        namespace=state.namespace,
        experiment=state.name,
        at=state.created_at,
        reason="Because",
    )
    return replace(made, **changes)


async def say(world: World, *events: Event) -> None:
    await world.bus.client("services").publish([encode_event(event) for event in events])


def read_stream(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Ids and data of server-sent events; comments are left out."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(
            line.split(": ", 1) for line in block.splitlines() if not line.startswith(":")
        )
        if fields:
            found.append((fields["id"], json.loads(fields["data"])))
    return found


async def test_stored_events_come_in_order_and_none_of_a_namesake(world: World) -> None:
    earlier = await world.apply()
    await say(world, event_of(earlier, 1, "experiment.created"))
    await world.client.delete(PATH)
    state = await world.apply()
    neighbour = replace(state, name="other")
    await say(
        world,
        event_of(earlier, 2, "experiment.deleted"),
        event_of(state, 1, "experiment.created"),
        event_of(neighbour, 1, "experiment.created"),
        event_of(state, 2, "trial.created", trial="tune-bcdfghjk"),
        event_of(state, 3, "trial.succeeded", trial="tune-bcdfghjk", data={"objective": math.nan}),
    )
    answer = await world.client.get(f"{PATH}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = read_stream(answer.text)
    assert [key for key, _ in found] == [
        f"{state.id}@1.experiment.created",
        f"{state.id}@2.trial.created",
        f"{state.id}@3.trial.succeeded",
    ]
    last = found[-1][1]
    assert last["id"] == found[-1][0]
    assert last["specversion"] == "1.0"
    assert last["type"] == "io.trialbus.trial.succeeded.v1"
    assert last["subject"] == "tune-bcdfghjk"
    assert last["experimentuid"] == state.id
    assert last["datacontenttype"] == "application/json"
    assert last["data"] == {"reason": "Because", "message": "", "data": {"objective": "NaN"}}


async def test_without_follow_the_stream_ends_even_while_new_events_come(world: World) -> None:
    state = await world.apply()
    await say(world, event_of(state, 1, "experiment.created"))
    later = [event_of(state, n, "trial.created", at=state.created_at + 1e6) for n in range(2, 50)]
    await say(world, *later)
    found = read_stream((await world.client.get(f"{PATH}/events")).text)
    assert [key for key, _ in found] == [f"{state.id}@1.experiment.created"]


async def test_a_follower_hears_new_events_and_heartbeats_until_the_experiment_is_deleted(
    world: World,
) -> None:
    state = await world.apply()
    async with (
        real_client(world) as client,
        client.stream("GET", f"{PATH}/events?follow=true") as answer,
    ):
        lines = answer.aiter_lines()
        beats = 0
        while beats < 3:
            beats += (await anext(lines)).startswith(":")
        await say(
            world,
            event_of(state, 1, "experiment.created"),
            event_of(state, 2, "experiment.deleted"),
        )
        heard = [line async for line in lines if line.startswith("id: ")]
    assert heard == [
        f"id: {state.id}@1.experiment.created",
        f"id: {state.id}@2.experiment.deleted",
    ]


async def test_a_stream_that_broke_off_goes_on_behind_the_last_event(world: World) -> None:
    state = await world.apply()
    for _ in range(4):
        await world.tell(state)
    whole = [event["id"] for event in await stored_events(world)]
    assert len(whole) >= 4
    for at, last in enumerate(whole):
        assert [it["id"] for it in await stored_events(world, after=last)] == whole[at + 1 :]


async def test_who_goes_on_from_an_event_that_is_not_known_gets_all(world: World) -> None:
    state = await world.apply()
    await world.tell(state)
    whole = await stored_events(world)
    assert await stored_events(world, after="of-another-stream") == whole


async def stored_events(world: World, after: str = "") -> list[dict[str, Any]]:
    headers = {"last-event-id": after} if after else {}
    answer = await world.client.get(f"{PATH}/events", headers=headers)
    lines = [line for line in answer.text.splitlines() if line.startswith("data: ")]
    return [json.loads(line.removeprefix("data: ")) for line in lines]


async def test_a_client_that_goes_closes_its_tail(world: World, monkeypatch: Any) -> None:
    await world.apply()
    open_tails = 0
    real_tail = world.gateway_bus.tail

    @asynccontextmanager
    async def counted_tail(subject: str, *, from_start: bool) -> AsyncIterator[Any]:
        nonlocal open_tails
        open_tails += 1
        try:
            async with real_tail(subject, from_start=from_start) as messages:
                yield messages
        finally:
            open_tails -= 1

    monkeypatch.setattr(world.gateway_bus, "tail", counted_tail)
    async with real_client(world) as client:
        async with client.stream("GET", f"{PATH}/events?follow=true") as answer:
            await anext(answer.aiter_lines())
            assert open_tails == 1
        await until(lambda: open_tails == 0, "the tail is closed")


async def test_a_client_that_goes_while_it_is_written_to_closes_the_source() -> None:
    closed = False

    async def endless() -> AsyncGenerator[bytes, None]:
        nonlocal closed
        try:
            while True:
                yield b"more"
        finally:
            closed = True

    async def gone(message: Any) -> None:
        if message.get("body"):
            raise OSError("the client has gone")

    with pytest.raises(OSError, match="gone"):
        await LiveAnswer(endless(), "text/plain", "log").stream_response(gone)
    assert closed
