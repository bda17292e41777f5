"""`POST /v1/events?wait`: answered as soon as the stream tells of the end, and in any case."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from trialbus.contracts.collections import EXPERIMENTS
from trialbus.contracts.documents import Document
from trialbus.kernel.experiment import Experiment, ExperimentPhase
from trialbus.testkit.gateway_world import World, gateway_world, katib
from trialbus.testkit.waits import until
from trialbus_gateway.app import experiment_ends

# Nobody looks by himself within the time of a test.
NEVER_S = (3600.0, 3600.0)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway_world(tmp_path) as made:
        yield made


@asynccontextmanager
async def followed(world: World) -> AsyncIterator[None]:
    following = asyncio.create_task(world.ends.run())
    try:
        await until(lambda: world.ends.followed, "the stream is followed")
        yield
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


def waiting_for(world: World, name: str) -> "asyncio.Task[httpx.Response]":
    body = {
        "specversion": "1.0",
        "id": name,
        "source": "/ci",
        "type": "io.trialbus.experiment.create.v1",
        "data": katib(name),
    }
    posted = world.client.post(
        "/v1/events?wait=3600",
        content=json.dumps(body),
        headers={"content-type": "application/cloudevents+json"},
    )
    return asyncio.create_task(posted)


class Looks:
    """Who reads experiments, by uid."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.read: list[str] = []
        get_many = world.gateway_store.get_many

        async def noted(collection: str, ids: Any, **more: Any) -> dict[str, Document]:
            found = await get_many(collection, ids, **more)
            if collection == EXPERIMENTS.name:
                self.read += found
            return found

        monkeypatch.setattr(world.gateway_store, "get_many", noted)


async def created(world: World, count: int) -> list[Experiment]:
    await until(
        lambda: len(world.store.documents(EXPERIMENTS.name)) == count, f"{count} are created"
    )
    return await world.experiments()


async def test_the_end_that_the_stream_tells_is_the_answer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiment_ends, "_FOLLOWED_PAUSES_S", NEVER_S)
    looks = Looks(world, monkeypatch)
    async with followed(world):
        waiting = [waiting_for(world, f"tune-{number}") for number in range(20)]
        states = await created(world, 20)
        await until(lambda: len(looks.read) == 20, "all have looked")
        for state in states:
            await world.tell(state, "trial.succeeded")
            await world.tell(state, "experiment.ending")
            await world.change(state, phase=ExperimentPhase.SUCCEEDED)
            await world.tell(state, "experiment.succeeded")
        async with asyncio.timeout(20):
            answers = await asyncio.gather(*waiting)
    assert {it.json()["result"]["phase"] for it in answers} == {"Succeeded"}
    # Each looked when it began to wait, and when its own end was told.
    assert sorted(looks.read) == sorted([it.id for it in states] * 2)


async def test_an_end_of_which_the_stream_tells_nothing_is_found(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiment_ends, "_FOLLOWED_PAUSES_S", (0.01, 0.05))
    async with followed(world):
        waiting = waiting_for(world, "tune")
        [state] = await created(world, 1)
        await world.change(state, phase=ExperimentPhase.FAILED)
        async with asyncio.timeout(20):
            assert (await waiting).json()["result"]["phase"] == "Failed"


async def test_what_ended_before_the_stream_was_followed_is_found_when_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiment_ends, "_FOLLOWED_PAUSES_S", NEVER_S)
    monkeypatch.setattr(experiment_ends, "_UNFOLLOWED_PAUSES_S", NEVER_S)
    looks = Looks(world, monkeypatch)
    waiting = waiting_for(world, "tune")
    [state] = await created(world, 1)
    await until(lambda: looks.read, "it has looked")
    await world.change(state, phase=ExperimentPhase.SUCCEEDED)
    await world.tell(state, "experiment.succeeded")
    async with followed(world), asyncio.timeout(20):
        assert (await waiting).json()["finished"] is True


async def test_while_the_stream_cannot_be_followed_they_look_often(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiment_ends, "_FOLLOWED_PAUSES_S", NEVER_S)
    monkeypatch.setattr(experiment_ends, "_UNFOLLOWED_PAUSES_S", (0.01, 0.05))
    looks = Looks(world, monkeypatch)
    async with followed(world):
        waiting = waiting_for(world, "tune")
        [state] = await created(world, 1)
        await until(lambda: looks.read, "it has looked")
    await world.change(state, phase=ExperimentPhase.SUCCEEDED)
    async with asyncio.timeout(20):
        assert (await waiting).json()["finished"] is True


async def test_who_goes_away_is_forgotten(world: World) -> None:
    waiting = [waiting_for(world, "tune") for _ in range(2)]
    await created(world, 1)
    await until(lambda: bool(world.ends.awaited_uids), "they wait")
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert not world.ends.awaited_uids


async def test_who_waits_for_an_hour_may_look_thousands_of_times(world: World) -> None:
    with world.ends.awaited("nobody's") as end:
        for _ in range(2_000):
            await end.until_next_look(0.0)
        end.news.set()
        await end.until_next_look(3600.0)
        assert not end.news.is_set()
