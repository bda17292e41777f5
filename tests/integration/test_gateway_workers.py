"""Workers at the gateway's HTTP door: what they say reaches who serves it, once and unchanged."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from trialbus.contracts import subjects
from trialbus.contracts.work import Ask, Reports, Tell, WorkVerb
from trialbus.kernel.limits import MAX_PAYLOAD_BYTES
from trialbus.testkit.gateway_world import PATH, World, gateway_world, real_client
from trialbus.testkit.waits import until
from trialbus.testkit.work_desk import PARAMETERS, WorkDesk
from trialbus_gateway.app.working import Working

HELD = {"trial": "tune-0", "attempt": 1}
REPORT = {**HELD, "step": 1, "metrics": {"loss": 0.5}}
RESULT = {**HELD, "metrics": {"accuracy": 0.9}}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway_world(tmp_path) as made:
        yield made


@pytest.fixture
async def desk(world: World) -> AsyncIterator[WorkDesk]:
    desk = WorkDesk("lab/tune")
    serve = world.bus.client("launcher").serve
    async with serve(subjects.commands(), "launcher", desk.respond, max_group=64):
        yield desk


async def say(world: World, verb: str, body: Any, status: int = 200) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = await world.client.post(f"{PATH}/{verb}", content=data)
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_a_whole_round_of_one_trial(world: World, desk: WorkDesk) -> None:
    asked = await say(world, "ask", {"id": "a-1", "worker": "w", "lease": 30})
    assert asked["trials"] == [
        {
            "trial": "tune-0",
            "attempt": 1,
            "index": 0,
            "parameters": PARAMETERS,
            "lease": 30.0,
            "checkpoint": "/checkpoints/0",
            "parent": "",
            "labels": {"rung": "1"},
        }
    ]
    assert (asked["phase"], asked["over"]) == ("Running", False)
    reported = await say(world, "report", {"reports": [REPORT]})
    assert reported["answers"] == [{**HELD, "accepted": True, "stop": ""}]
    desk.stop = "EarlyStopped"
    beaten = await say(world, "heartbeat", {"trials": [HELD]})
    assert beaten["answers"] == [{**HELD, "accepted": True, "stop": "EarlyStopped"}]
    told = await say(world, "tell", {"results": [RESULT], "ask": {"id": "a-2", "count": 2}})
    assert told["answers"][0]["accepted"]
    assert [it["trial"] for it in told["trials"]] == ["tune-1", "tune-2"]
    released = await say(world, "release", {"trials": [{"trial": "tune-1", "attempt": 1}]})
    assert released["answers"][0]["accepted"]
    late = await say(world, "report", {"reports": [REPORT]})
    assert late["answers"][0]["refused"] == "was not given out"


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("ask", {"id": "a-1", "wait": 0}),
        ("report", {"reports": [REPORT]}),
        ("heartbeat", {"trials": [HELD]}),
        ("tell", {"results": [RESULT]}),
        ("release", {"trials": [HELD]}),
    ],
)
async def test_what_lacks_nothing_is_handed_on_byte_for_byte(
    world: World, desk: WorkDesk, verb: str, body: Any
) -> None:
    data = json.dumps(body, indent=3).encode()
    await say(world, verb, data)
    [request] = desk.requests
    assert request.data == data
    assert request.subject == f"trialbus.v1.cmd.lab.tune.{verb}"


async def test_an_ask_without_an_id_gets_one_and_may_be_empty(world: World, desk: WorkDesk) -> None:
    await say(world, "ask", b"")
    await say(world, "ask", {"count": 2})
    await say(world, "tell", {"results": [RESULT], "ask": {}})
    first, second, told = (it.body for it in desk.heard)
    assert isinstance(first, Ask)
    assert isinstance(second, Ask)
    assert isinstance(told, Tell)
    assert told.ask is not None
    assert second.count == 2
    assert len({first.id, second.id, told.ask.id, ""}) == 4


async def test_a_lost_answer_is_repeated_under_the_same_ids(world: World, desk: WorkDesk) -> None:
    desk.drops = 1
    asked = await say(world, "ask", {})
    assert [it["trial"] for it in asked["trials"]] == ["tune-0"]
    desk.drops = 1
    unnamed = {**HELD, "metrics": {"loss": 0.5}}
    await say(world, "report", {"reports": [unnamed, unnamed]})
    one, again, first, repeat = (it.body for it in desk.heard)
    assert one == again
    assert first == repeat
    assert isinstance(first, Reports)
    assert len({it.id for it in first.reports} - {None}) == 2


async def test_a_long_ask_waits_in_portions_until_there_is_a_trial(
    world: World, desk: WorkDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trialbus_gateway.app.working._WAIT_PORTION_S", 0.01)
    desk.empty = True
    asking = asyncio.create_task(say(world, "ask", {"id": "a-1", "wait": 20}))
    await until(lambda: len(desk.heard) >= 3, "it was asked three times")
    desk.empty = False
    assert (await asking)["trials"]
    waits = [it.body.wait for it in desk.heard if isinstance(it.body, Ask)]
    assert set(waits) == {0.01}


async def test_who_has_gone_is_not_waited_for_any_more(
    world: World, desk: WorkDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trialbus_gateway.app.working._WAIT_PORTION_S", 0.01)
    answered = asyncio.Event()
    wait = Working._waited

    async def told(*arguments: Any) -> bytes:
        try:
            return await wait(*arguments)
        finally:
            answered.set()

    monkeypatch.setattr(Working, "_waited", told)
    desk.empty = True
    async with real_client(world) as client:
        asking = asyncio.create_task(client.post(f"{PATH}/ask", json={"wait": 30}))
        await until(lambda: desk.heard, "it is asked")
        asking.cancel()
        await until(answered.is_set, "it is asked no more")
    assert desk.results == {}


async def test_an_ask_that_waited_in_vain_is_answered_with_nothing(
    world: World, desk: WorkDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trialbus_gateway.app.working._WAIT_PORTION_S", 0.01)
    desk.empty = True
    assert (await say(world, "ask", {"id": "a-1", "wait": 0.05}))["trials"] == []


@pytest.mark.parametrize(
    ("verb", "body", "field"),
    [
        ("ask", {"count": 0}, "count"),
        ("report", {"reports": [HELD]}, "reports[0].metrics"),
        ("heartbeat", {"trials": []}, "trials"),
        ("tell", {"results": [{**RESULT, "state": "won"}]}, "results[0].state"),
        ("release", {}, "trials"),
    ],
)
async def test_a_wrong_body_is_422_with_its_problems_and_troubles_nobody(
    world: World, desk: WorkDesk, verb: str, body: Any, field: str
) -> None:
    answer = await say(world, verb, body, 422)
    assert [it["field"] for it in answer["problems"]] == [field]
    assert desk.requests == []


async def test_what_cannot_be_read_or_is_too_large_is_told_so(world: World, desk: WorkDesk) -> None:
    await say(world, "ask", b"{", 400)
    await say(world, "report", b"", 400)
    await say(world, "ask", b'{"id": "' + b"x" * MAX_PAYLOAD_BYTES + b'"}', 413)
    wrong = await world.client.post("/v1/namespaces/Lab/experiments/tune/ask", content=b"{}")
    assert wrong.status_code == 400
    assert desk.requests == []


async def test_an_experiment_that_is_not_there_is_404(world: World, desk: WorkDesk) -> None:
    desk.experiments.clear()
    answer = await say(world, "ask", {}, 404)
    assert answer["message"] == "there is no experiment lab/tune"


async def test_where_nobody_serves_workers_it_is_503_with_a_time_to_come_again(
    world: World,
) -> None:
    answer = await world.client.post(f"{PATH}/ask", content=b"{}")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


async def test_no_document_is_read_for_a_worker(
    world: World, desk: WorkDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise AssertionError("read")

    monkeypatch.setattr(world.gateway_store, "find", fail)
    monkeypatch.setattr(world.gateway_store, "get_many", fail)
    await say(world, "ask", {})
    await say(world, "tell", {"results": [RESULT]})
    assert len(desk.heard) == 2


# As CloudEvents ----------------------------------------------------------------------------------


def event(verb: str, data: Any, id_: str = "e-1", **more: Any) -> dict[str, Any]:
    type_ = f"io.trialbus.trial.{verb}.v1"
    subject = {"subject": "lab/tune", "data": data}
    return {"specversion": "1.0", "id": id_, "source": "/ci", "type": type_, **subject, **more}


async def post(world: World, body: Any, kind: str = "") -> httpx.Response:
    headers = {"content-type": f"application/cloudevents{kind}+json"}
    return await world.client.post("/v1/events", content=json.dumps(body), headers=headers)


async def test_every_verb_is_taken_as_an_event_and_answered_with_its_result(
    world: World, desk: WorkDesk
) -> None:
    bodies = {
        "ask": {},
        "report": {"reports": [REPORT]},
        "heartbeat": {"trials": [HELD]},
        "tell": {"results": [RESULT]},
        "release": {"trials": [HELD]},
    }
    for verb, body in bodies.items():
        answer = await post(world, event(verb, body))
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert (told["id"], told["namespace"], told["experiment"]) == ("e-1", "lab", "tune")
        assert told["result"]["accepted"]
    assert [it.verb for it in desk.heard] == list(WorkVerb)


async def test_the_same_event_again_gets_the_same_trials(world: World, desk: WorkDesk) -> None:
    first, again = [await post(world, event("ask", {"count": 2})) for _ in range(2)]
    other = await post(world, event("ask", {}, "e-2"))
    assert first.json() == again.json()
    assert [it["trial"] for it in first.json()["result"]["trials"]] == ["tune-0", "tune-1"]
    assert [it["trial"] for it in other.json()["result"]["trials"]] == ["tune-2"]
    assert len(desk.heard) == 3


async def test_events_of_a_batch_have_each_their_answer(world: World, desk: WorkDesk) -> None:
    good, wrong = event("ask", {}), event("ask", {"count": 0}, "e-2")
    gone = event("ask", {}, "e-3", subject="lab/gone")
    answer = await post(world, [good, wrong, gone], "-batch")
    assert answer.status_code == 207
    told = answer.json()["events"]
    assert [(it["id"], it["status"]) for it in told] == [("e-1", 200), ("e-2", 422), ("e-3", 404)]
    assert told[0]["result"]["trials"][0]["trial"] == "tune-0"
    assert [it["field"] for it in told[1]["problems"]] == ["data.count"]
    assert (await post(world, [good], "-batch")).status_code == 202
    assert len(desk.heard) == 3
