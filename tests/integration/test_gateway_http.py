"""The gateway's commands and objects over HTTP: what it answers and what it refuses."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc.aio
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from trialbus.adapters.http import serving
from trialbus.contracts import subjects
from trialbus.contracts.collections import (
    COLLECTIONS,
    EXPERIMENTS,
    TRIALS,
)
from trialbus.contracts.documents import TRIAL
from trialbus.kernel.experiment import (
    Counts,
    ExperimentPhase,
)
from trialbus.kernel.ids import trial_name
from trialbus.kernel.trial import TrialPhase
from trialbus.ports.bus import Request
from trialbus.runtime.service import RunningService
from trialbus.testkit.gateway_world import (
    CATALOGUE,
    DEFAULT,
    PATH,
    World,
    gateway_world,
    katib,
    open_trial,
    parts_of,
    running_trial,
    trial_of,
)
from trialbus.testkit.memory_bus import MemoryBus
from trialbus.testkit.memory_store import MemoryStore
from trialbus.testkit.waits import until
from trialbus_gateway.adapters.routes import http_app
from trialbus_gateway.app.commanding import Commanding
from trialbus_gateway.app.following import Following
from trialbus_gateway.app.ingress import Ingress
from trialbus_gateway.app.questions import Questions
from trialbus_gateway.app.working import Working
from trialbus_gateway.main import service


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway_world(tmp_path) as made:
        yield made


# Health -------------------------------------------------------------------------------------------


async def test_it_is_alive_but_not_ready_while_a_server_is_away(world: World) -> None:
    assert (await world.client.get("/readyz")).status_code == 200
    world.gateway_bus.cut()
    assert (await world.client.get("/healthz")).status_code == 200
    assert (await world.client.get("/readyz")).status_code == 503
    assert (await world.get("/v1/status"))["services"] == {"nats": False, "mongo": True}
    assert "trialbus_hints_total" in (await world.client.get("/metrics")).text


async def test_an_unknown_path_and_a_wrong_method_are_told_as_json(world: World) -> None:
    assert (await world.get("/v2", 404))["problems"] == []
    answer = await world.client.post("/v1/experiments")
    assert (answer.status_code, answer.json()["message"]) == (405, "Method Not Allowed")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "", "10.0.0.1"])
async def test_a_name_of_somebody_else_that_leads_to_loopback_is_403(
    world: World, host: str
) -> None:
    answer = await world.client.get("/v1/status", headers={"host": host})
    assert answer.status_code == 403


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1", "[::1]:80"])
async def test_loopback_answers_to_its_own_names(world: World, host: str) -> None:
    answer = await world.client.get("/v1/status", headers={"host": host})
    assert answer.status_code == 200


async def test_pages_of_other_sites_may_not_change_anything(world: World) -> None:
    await world.apply()
    for origin in ("https://evil.example", "null", "http://127.0.0.1:9"):
        answer = await world.client.post(f"{PATH}/suspend", headers={"origin": origin})
        assert answer.status_code == 403
    own = await world.client.post(f"{PATH}/suspend", headers={"origin": "http://127.0.0.1"})
    assert own.status_code == 202


# Commands -----------------------------------------------------------------------------------------


async def test_apply_creates_once_and_then_answers_200(world: World) -> None:
    body = {"id": "c1", "object": katib(), "workingDir": "/data"}
    first = await world.client.put(PATH, json=body)
    again = await world.client.put(PATH, json=body)
    assert (first.status_code, again.status_code) == (201, 200)
    uid = first.json()["uid"]
    assert first.json() == {"id": "c1", "uid": uid, "created": True, "changed": True}
    assert again.json() == {"id": "c1", "uid": uid, "created": False, "changed": True}
    assert (await world.experiment(uid)).spec.working_dir == "/data"
    assert len(world.store.documents(EXPERIMENTS.name)) == 1


async def test_every_problem_of_an_experiment_is_told_with_its_field(world: World) -> None:
    wrong = katib(objective={"type": "upwards"}, algorithm={"algorithmName": "nope"})
    answer = await world.client.put(PATH, json={"object": wrong})
    assert answer.status_code == 422
    fields = {problem["field"] for problem in answer.json()["problems"]}
    assert {"spec.objective.type", "spec.objective.objectiveMetricName"} <= fields
    assert any(field.startswith("spec.algorithm") for field in fields)
    assert world.store.documents(EXPERIMENTS.name) == []


async def test_an_object_of_another_name_is_refused(world: World) -> None:
    answer = await world.client.put(PATH, json={"object": katib("other")})
    assert answer.status_code == 422
    assert answer.json()["problems"][0]["field"] == "metadata.name"


async def test_an_edit_of_what_was_tuned_is_refused_by_the_experiment_service(
    world: World,
) -> None:
    await world.apply()
    answer = await world.client.put(PATH, json={"object": katib(resumePolicy="LongRunning")})
    assert answer.status_code == 422
    assert answer.json()["problems"][0]["field"] == "spec.resumePolicy"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b'{"object": null}',
        b'{"object": {}, "other": 1}',
        b'{"object": {"a": NaN}}',
        b'{"object": {}, "id": ""}',
        b'{"object": {}, "id": "two words"}',
        b'{"object": {}, "workingDir": "relative"}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"object": ' + b'{"a":' * 100_000,
    ],
    ids=lambda body: body[:40].decode(errors="replace"),
)
async def test_a_body_that_cannot_be_read_is_400(world: World, body: bytes) -> None:
    answer = await world.client.put(PATH, content=body)
    assert answer.status_code == 400
    assert answer.json()["message"]


async def test_half_a_character_in_an_object_is_no_fault_of_the_gateway(world: World) -> None:
    body = json.dumps({"object": katib()}).replace("accuracy", "\\ud800")
    answer = await world.client.put(PATH, content=body.encode())
    assert answer.status_code in (400, 422)


async def test_a_body_over_the_limit_is_413_even_when_its_size_is_not_told(world: World) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 65536

    answer = await world.client.put(PATH, content=pieces())
    assert answer.status_code == 413


async def test_an_object_that_fits_no_message_is_413(world: World) -> None:
    large = katib()
    large["metadata"]["annotations"] = {f"n{i}": "x" * 1000 for i in range(300)}
    answer = await world.client.put(PATH, json={"object": large})
    assert answer.status_code == 413


@pytest.mark.parametrize("name", ["UPPER", "a.b", "a*", "-a", "a" * 64, "%3E"])
@pytest.mark.parametrize("suffix", ["", "/progress", "/events", "/explain", "/suggestion"])
async def test_a_name_that_could_not_be_one_is_400(world: World, name: str, suffix: str) -> None:
    assert (await world.get(f"/v1/namespaces/lab/experiments/{name}{suffix}", 400))["message"]


async def test_suspend_resume_and_delete_reach_the_experiment(world: World) -> None:
    state = await world.apply()
    expected = {"id": "s1", "uid": state.id}
    answer = await world.client.post(f"{PATH}/suspend?id=s1")
    assert (answer.status_code, answer.json()) == (202, expected)
    assert (await world.experiment(state.id)).phase is ExperimentPhase.SUSPENDED
    assert (await world.client.post(f"{PATH}/resume")).status_code == 202
    assert (await world.experiment(state.id)).phase is ExperimentPhase.RUNNING
    assert (await world.client.delete(PATH)).status_code == 202
    assert (await world.experiment(state.id)).phase is ExperimentPhase.DELETING
    assert (await world.client.delete(PATH)).status_code == 404


async def test_a_command_for_an_earlier_namesake_is_409(world: World) -> None:
    first = await world.apply()
    await world.client.delete(PATH)
    second = await world.apply()
    assert first.id != second.id
    for answer in (
        await world.client.delete(f"{PATH}?uid={first.id}"),
        await world.client.post(f"{PATH}/suspend?uid={first.id}"),
        await world.client.put(PATH, json={"object": katib(), "uid": first.id}),
    ):
        assert answer.status_code == 409, answer.text
    assert (await world.experiment(second.id)).phase is ExperimentPhase.CREATED


async def test_a_command_names_the_experiment_that_was_there_when_it_was_given(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a repeat never stops a namesake that came in between."""
    first = await world.apply()
    request = world.gateway_bus.request

    async def late(asked: Request, *, timeout_s: float) -> bytes:
        monkeypatch.setattr(world.gateway_bus, "request", request)
        await world.client.delete(PATH)
        await world.apply()
        return await request(asked, timeout_s=timeout_s)

    monkeypatch.setattr(world.gateway_bus, "request", late)
    assert (await world.client.post(f"{PATH}/suspend")).status_code == 409
    [second] = [it for it in await world.experiments() if it.id != first.id]
    assert second.phase is ExperimentPhase.CREATED


async def test_a_command_without_an_answer_is_repeated_under_its_id_then_503(
    tmp_path: Path,
) -> None:
    heard: list[str] = []

    async def silent(requests: Sequence[Request]) -> Sequence[bytes]:
        heard.extend(json.loads(request.data)["id"] for request in requests)
        raise RuntimeError("killed")

    bus, store = MemoryBus(), MemoryStore()
    parts = parts_of(bus.client("gateway"), store.client("gateway"), "gateway", tmp_path)
    await parts.store.prepare(COLLECTIONS)
    questions = Questions(parts, default=DEFAULT, interpreter="/py", following=Following(parts))
    commanding = Commanding(parts, CATALOGUE, deadline_s=0.4, attempt_s=0.1)
    working = Working(parts)
    ingress = Ingress(parts, commanding, questions, working)
    app = http_app(questions, commanding, (), ingress=ingress, working=working)
    async with (
        bus.client("experiment").serve(subjects.commands(), "experiment", silent, max_group=8),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://localhost"
        ) as client,
    ):
        answer = await client.put(PATH, json={"object": katib(), "id": "c9"})
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert len(heard) > 1
    assert set(heard) == {"c9"}


async def test_without_bus_or_store_a_call_is_503(world: World) -> None:
    await world.apply()
    world.gateway_bus.cut()
    assert (await world.client.post(f"{PATH}/suspend")).status_code == 503
    assert (await world.client.get(f"{PATH}/events")).status_code == 503
    world.gateway_store.reachable = False
    for path in (PATH, f"{PATH}/progress", "/v1/trials", "/v1/experiments"):
        await world.get(path, 503)


# Objects ------------------------------------------------------------------------------------------


async def test_an_experiment_shows_its_trials_by_state(world: World) -> None:
    state, trial = await running_trial(world)
    done = trial_of(state, 1, phase=TrialPhase.SUCCEEDED, finished=1)
    await world.put(TRIAL.encode(done), into=TRIALS.name)
    opened = {**state.open, "2": open_trial()}
    await world.change(state, open=opened, next_index=3, finished=1, counts=Counts(succeeded=1))
    status = (await world.get(PATH))["status"]
    assert status["runningTrialList"] == [trial.name]
    assert status["pendingTrialList"] == [trial_name("tune", state.id, 2)]
    assert status["succeededTrialList"] == [done.name]
    [listed] = (await world.get("/v1/experiments"))["items"]
    assert listed["status"]["trialsRunning"] == 1
    assert listed["status"]["trialsSucceeded"] == 1
    assert "succeededTrialList" not in listed["status"]


async def test_a_trial_and_a_suggestion_are_shown(world: World) -> None:
    _, trial = await running_trial(world)
    shown = await world.get(f"/v1/trials/{trial.name}")
    assert shown["metadata"]["name"] == trial.name
    assert [it["type"] for it in shown["status"]["conditions"]] == ["Running"]
    suggestion = await world.get(f"{PATH}/suggestion")
    assert suggestion["kind"] == "Suggestion"
    assert [it["name"] for it in suggestion["status"]["suggestions"]] == [trial.name]
    [listed] = (await world.get("/v1/suggestions?namespace=lab"))["items"]
    assert listed["metadata"]["name"] == "tune"


async def test_what_is_not_there_is_404(world: World) -> None:
    for path in (
        PATH,
        f"{PATH}/progress",
        f"{PATH}/events",
        f"{PATH}/explain",
        f"{PATH}/suggestion",
        "/v1/trials/t-bcdfghjk",
        "/v1/trials/t-bcdfghjk/log",
        "/v1/trials/t-bcdfghjk/metrics",
        "/v1/trials/t-bcdfghjk/explain",
        "/v1/trials?namespace=lab&experiment=tune",
    ):
        assert (await world.get(path, 404))["message"].startswith("there is no")
    for call in (
        world.client.delete(PATH),
        world.client.post(f"{PATH}/suspend"),
        world.client.post(f"{PATH}/resume"),
    ):
        assert (await call).status_code == 404


async def test_a_trial_of_a_deleted_experiment_is_gone(world: World) -> None:
    _, trial = await running_trial(world)
    await world.client.delete(PATH)
    await world.get(f"/v1/trials/{trial.name}", 404)
    assert (await world.get("/v1/trials"))["items"] == []


# The whole service --------------------------------------------------------------------------------


async def test_the_service_listens_tells_its_ports_and_leaves(tmp_path: Path) -> None:
    bus, store = MemoryBus(), MemoryStore()
    bus_client = bus.client("gateway")
    parts = parts_of(bus_client, store.client("gateway"), "gateway", tmp_path)
    await parts.store.prepare(COLLECTIONS)
    stop = asyncio.Event()
    running = asyncio.create_task(RunningService(service, parts).run(stop))
    written = tmp_path / "run" / "gateway.json"
    await until(lambda: written.exists() or running.done(), "the ports are told")
    addresses = json.loads(written.read_text())
    async with httpx.AsyncClient(base_url=addresses["http"]) as client:
        assert (await client.get("/readyz")).status_code == 200
        assert (await client.get("/v1/experiments")).json() == {"items": [], "next": None}
    async with grpc.aio.insecure_channel(addresses["grpc"]) as channel:
        health = health_pb2_grpc.HealthStub(channel)

        async def status() -> Any:
            return (await health.Check(health_pb2.HealthCheckRequest())).status

        assert await status() == health_pb2.HealthCheckResponse.SERVING

        async def says(wanted: Any) -> bool:
            return bool(await status() == wanted)

        bus_client.cut()
        await until(lambda: says(health_pb2.HealthCheckResponse.NOT_SERVING), "an outage shows")
    stop.set()
    await asyncio.wait_for(running, 10)
    async with httpx.AsyncClient(base_url=addresses["http"]) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("/healthz")


async def test_two_servers_cannot_have_one_port(world: World) -> None:
    async with serving(world.app, host="127.0.0.1", port=0) as port:
        with pytest.raises(OSError, match="in use"):
            async with serving(world.app, host="127.0.0.1", port=port):
                raise AssertionError("it listens on a taken port")
