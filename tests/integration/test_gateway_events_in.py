"""`POST /v1/events`: what pipelines post, in HTTP's three modes."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from trialbus.contracts.collections import EXPERIMENTS
from trialbus.kernel.experiment import ExperimentPhase
from trialbus.kernel.limits import MAX_BATCH_EVENTS
from trialbus.ports.bus import Request
from trialbus.testkit.gateway_world import World, gateway_world, katib
from trialbus.testkit.waits import until

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
PATH = "/v1/events"
EXPERIMENT = "/v1/namespaces/lab/experiments/tune"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway_world(tmp_path) as made:
        yield made


def event(verb: str, id_: str = "e1", **more: Any) -> dict[str, Any]:
    type_ = f"io.trialbus.experiment.{verb}.v1"
    return {"specversion": "1.0", "id": id_, "source": "/ci", "type": type_, **more}


async def post(
    world: World, body: Any, content_type: str = STRUCTURED, query: str = ""
) -> httpx.Response:
    headers = {"content-type": content_type}
    return await world.client.post(f"{PATH}{query}", content=json.dumps(body), headers=headers)


@pytest.mark.parametrize("content_type", [STRUCTURED, "application/json"])
async def test_a_structured_event_creates_an_experiment_once(
    world: World, content_type: str
) -> None:
    first = await post(world, event("create", data=katib()), content_type)
    [state] = await world.experiments()
    assert (first.status_code, first.json()) == (
        202,
        {
            "id": "e1",
            "namespace": "lab",
            "experiment": "tune",
            "uid": state.id,
            "created": True,
            "changed": True,
        },
    )
    again = await post(world, event("create", data=katib()), content_type)
    assert (again.status_code, again.json()["uid"]) == (202, state.id)
    assert len(await world.experiments()) == 1


async def test_a_binary_event_says_what_it_is_in_its_headers(world: World) -> None:
    headers = {f"ce-{name}": value for name, value in event("apply").items()}
    headers["content-type"] = "application/json"
    answer = await world.client.post(PATH, content=json.dumps(katib()), headers=headers)
    assert (answer.status_code, answer.json()["created"]) == (202, True)


async def test_commands_of_the_life_of_an_experiment(world: World) -> None:
    state = await world.apply()
    about = {"subject": "lab/tune"}
    await post(world, event("edit", "e1", data={"maxTrialCount": 9}, **about))
    assert (await world.experiment(state.id)).spec.max_trial_count == 9
    await post(world, event("suspend", "e2", **about))
    assert (await world.experiment(state.id)).phase is ExperimentPhase.SUSPENDED
    await post(world, event("resume", "e3", **about))
    assert (await world.experiment(state.id)).phase is ExperimentPhase.RUNNING
    await post(world, event("stop", "e4", **about))
    assert (await world.experiment(state.id)).phase is ExperimentPhase.ENDING
    deleted = await post(world, event("delete", "e5", data={"keepHistory": True}, **about))
    assert deleted.json()["uid"] == state.id
    assert (await world.experiment(state.id)).phase is ExperimentPhase.DELETING
    # The same again, though the name is free by now.
    assert (await post(world, event("delete", "e5", **about))).json()["uid"] == state.id


async def test_an_event_may_be_meant_for_one_experiment_only(world: World) -> None:
    await world.apply()
    answer = await post(world, event("stop", subject="lab/tune", experimentuid="another"))
    assert answer.status_code == 409


async def test_who_means_one_experiment_never_reaches_a_namesake_that_came_in_between(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await world.apply()
    assert (await world.client.delete(EXPERIMENT)).status_code == 202
    request = world.gateway_bus.request

    async def late(asked: Request, *, timeout_s: float) -> bytes:
        monkeypatch.setattr(world.gateway_bus, "request", request)
        await world.apply()
        return await request(asked, timeout_s=timeout_s)

    monkeypatch.setattr(world.gateway_bus, "request", late)
    about = {"subject": "lab/tune", "experimentuid": first.id}
    assert (await post(world, event("stop", **about))).status_code == 409
    [second] = [it for it in await world.experiments() if it.id != first.id]
    assert second.phase is ExperimentPhase.CREATED


async def test_a_repeated_edit_of_what_is_deleted_by_now_created_nothing(world: World) -> None:
    state = await world.apply()
    edit = event("apply", data=katib(maxTrialCount=9))
    assert (await post(world, edit)).json()["created"] is False
    assert (await world.client.delete(EXPERIMENT)).status_code == 202
    told = (await post(world, edit)).json()
    assert (told["uid"], told["created"]) == (state.id, False)
    assert len(await world.experiments()) == 1


async def test_creating_what_is_there_is_a_conflict(world: World) -> None:
    await world.apply()
    assert (await post(world, event("create", data=katib()))).status_code == 409
    assert (await post(world, event("apply", data=katib()))).status_code == 202


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        ("{", STRUCTURED, 400),
        ("{}", "text/plain", 400),
        ("[]", STRUCTURED, 422),
        ("{}", BATCH, 400),
        (json.dumps({"specversion": "1.0"}), STRUCTURED, 422),
    ],
)
async def test_what_is_no_event_is_refused(
    world: World, body: str, content_type: str, status: int
) -> None:
    answer = await world.client.post(PATH, content=body, headers={"content-type": content_type})
    assert answer.status_code == status, answer.text


async def test_every_problem_of_an_object_is_told_with_its_field(world: World) -> None:
    wrong = katib(parallelTrialCount=-1, algorithm={"algorithmName": "magic"})
    answer = await post(world, event("create", data=wrong))
    fields = {problem["field"] for problem in answer.json()["problems"]}
    assert answer.status_code == 422
    assert fields == {"spec.parallelTrialCount", "spec.algorithm.algorithmName"}


async def test_a_command_for_what_is_not_there_is_404(world: World) -> None:
    assert (await post(world, event("stop", subject="lab/tune"))).status_code == 404


async def test_each_event_of_a_batch_has_its_own_answer(world: World) -> None:
    batch = [
        event("create", "a", data=katib("one")),
        event("stop", "b", subject="lab/nobody"),
        event("create", "c", data=katib("two")),
        {"id": "d"},
    ]
    answer = await post(world, batch, BATCH)
    told = answer.json()["events"]
    assert answer.status_code == 207
    assert [(it["id"], it["status"]) for it in told] == [
        ("a", 202),
        ("b", 404),
        ("c", 202),
        ("d", 422),
    ]
    assert {it.name for it in await world.experiments()} == {"one", "two"}
    assert (await post(world, batch[:1], BATCH)).status_code == 202
    many = [event("stop", str(i), subject="lab/x") for i in range(MAX_BATCH_EVENTS + 1)]
    assert (await post(world, many, BATCH)).status_code == 422


async def test_who_waits_gets_the_result(world: World) -> None:
    body = event("create", data=katib())
    waiting = asyncio.create_task(post(world, body, query="?wait=30"))
    await until(lambda: world.store.documents(EXPERIMENTS.name), "it is created")
    [state] = await world.experiments()
    await world.change(state, phase=ExperimentPhase.SUCCEEDED)
    answer = await waiting
    told: Mapping[str, Any] = answer.json()
    assert (answer.status_code, told["finished"]) == (200, True)
    assert told["result"]["phase"] == "Succeeded"
    assert told["id"] == "e1"


async def test_who_waits_for_what_is_deleted_meanwhile_is_told_at_once(world: World) -> None:
    waiting = asyncio.create_task(post(world, event("create", data=katib()), query="?wait=3600"))
    await until(lambda: world.store.documents(EXPERIMENTS.name), "it is created")
    assert (await world.client.delete(EXPERIMENT)).status_code == 202
    answer = await waiting
    assert (answer.status_code, answer.json()["finished"]) == (202, False)


async def test_who_waits_for_a_batch_gets_all_results(world: World) -> None:
    batch = [event("create", name, data=katib(name)) for name in ("one", "two")]
    batch.append(event("stop", "x", subject="lab/nobody"))
    waiting = asyncio.create_task(post(world, batch, BATCH, "?wait=30"))
    await until(lambda: len(world.store.documents(EXPERIMENTS.name)) == 2, "both are created")
    for state in await world.experiments():
        assert not waiting.done()
        await world.change(state, phase=ExperimentPhase.FAILED)
    answer = await waiting
    told = answer.json()["events"]
    assert answer.status_code == 207
    assert [it["status"] for it in told] == [200, 200, 404]
    assert [it["result"]["name"] for it in told[:2]] == ["one", "two"]
    assert [it["result"]["phase"] for it in told[:2]] == ["Failed", "Failed"]
    assert (await post(world, batch[:2], BATCH, "?wait=1")).status_code == 200


async def test_a_batch_that_has_waited_long_enough_says_what_has_ended(world: World) -> None:
    batch = [event("create", name, data=katib(name)) for name in ("one", "two")]
    assert (await post(world, batch, BATCH)).status_code == 202
    state = next(it for it in await world.experiments() if it.name == "one")
    await world.change(state, phase=ExperimentPhase.SUCCEEDED)
    answer = await post(world, batch, BATCH, "?wait=1")
    told = answer.json()["events"]
    assert (answer.status_code, [it["finished"] for it in told]) == (202, [True, False])


async def test_who_has_waited_long_enough_is_told_so(world: World) -> None:
    answer = await post(world, event("create", data=katib()), query="?wait=1")
    assert (answer.status_code, answer.json()["finished"]) == (202, False)
    assert (await post(world, event("create"), query="?wait=soon")).status_code == 400
