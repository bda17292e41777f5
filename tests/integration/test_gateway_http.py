"""The gateway over HTTP: every route with what it answers and what it refuses."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import grpc.aio
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from trialbus.adapters.http import health_routes, serving
from trialbus.contracts import subjects
from trialbus.contracts.collections import (
    CHUNKS,
    COLLECTIONS,
    EVIDENCE,
    EXPERIMENTS,
    RUNS,
    TRIALS,
)
from trialbus.contracts.documents import CHUNK, EXPERIMENT, RUN, TRIAL, Document
from trialbus.contracts.envelope import encode_event
from trialbus.contracts.logs import LogReply, LogRequest
from trialbus.kernel.catalogue import Catalogue
from trialbus.kernel.chunks import Chunk, MetricSummary, Series
from trialbus.kernel.events import Event
from trialbus.kernel.experiment import (
    BestTrial,
    Counts,
    Experiment,
    ExperimentPhase,
    OpenState,
    OpenTrial,
)
from trialbus.kernel.ids import chunk_id, run_id, trial_name
from trialbus.kernel.measurements import Summary
from trialbus.kernel.run import Run, RunPhase
from trialbus.kernel.templates import DefaultTemplate
from trialbus.kernel.trial import Assignment, MetricValues, Trial, TrialPhase
from trialbus.ports.bus import Request
from trialbus.ports.store import Write
from trialbus.runtime.clock import RandomIds, SystemClock
from trialbus.runtime.outbox import Outbox
from trialbus.runtime.parts import Parts
from trialbus.runtime.service import RunningService
from trialbus.runtime.settings import Settings
from trialbus.runtime.telemetry import Telemetry
from trialbus.testkit.memory_bus import MemoryBus
from trialbus.testkit.memory_bus import MemoryClient as BusClient
from trialbus.testkit.memory_store import MemoryClient as StoreClient
from trialbus.testkit.memory_store import MemoryStore
from trialbus.testkit.waits import until
from trialbus_experiment.app.commanding import Commanding as ExperimentCommanding
from trialbus_gateway.adapters.routes import http_app
from trialbus_gateway.app.commanding import Commanding
from trialbus_gateway.app.following import Following
from trialbus_gateway.app.questions import Questions
from trialbus_gateway.main import service
from trialbus_suggestion.core.catalogue import RANDOM

CATALOGUE = Catalogue(algorithms={"random": RANDOM}, stopping_rules={})
DEFAULT = DefaultTemplate(command=("/py", "-m", "trainer"))


def katib(name: str = "tune", namespace: str = "lab", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "parallelTrialCount": 2,
            "maxTrialCount": 5,
            "objective": {"type": "maximize", "goal": 0.9, "objectiveMetricName": "accuracy"},
            "algorithm": {"algorithmName": "random"},
            "parameters": [
                {
                    "name": "--lr",
                    "parameterType": "double",
                    "feasibleSpace": {"min": "0.1", "max": "0.9"},
                }
            ],
            **spec,
        },
    }


@dataclass
class World:
    """One gateway, with an experiment service that takes commands and does no more."""

    bus: MemoryBus
    store: MemoryStore
    gateway_bus: BusClient
    gateway_store: StoreClient
    parts: Parts
    client: httpx.AsyncClient
    app: Any

    async def put(self, *documents: Document, into: str) -> None:
        writes = [Write(base=None, document=document) for document in documents]
        await self.store.client("tests").commit(into, writes)

    async def apply(self, name: str = "tune", namespace: str = "lab") -> Experiment:
        path = f"/v1/namespaces/{namespace}/experiments/{name}"
        answer = await self.client.put(path, json={"object": katib(name, namespace)})
        assert answer.status_code == 201, answer.text
        return await self.experiment(answer.json()["uid"])

    async def experiment(self, uid: str) -> Experiment:
        found = await self.store.client("tests").get_many(EXPERIMENTS.name, [uid])
        return EXPERIMENT.decode(found[uid])

    async def change(self, state: Experiment, **changes: Any) -> Experiment:
        after = replace(state, version=state.version + 1, **changes)
        write = Write(base=EXPERIMENT.encode(state), document=EXPERIMENT.encode(after))
        await self.store.client("tests").commit(EXPERIMENTS.name, [write])
        return after

    async def get(self, path: str, status: int = 200) -> Any:
        answer = await self.client.get(path)
        assert answer.status_code == status, answer.text
        return answer.json()


def parts_of(bus: BusClient, store: StoreClient, service_name: str, data_dir: Path) -> Parts:
    clock, telemetry = SystemClock(), Telemetry(service_name)
    return Parts(
        bus=bus,
        store=store,
        clock=clock,
        ids=RandomIds(),
        settings=Settings(data_dir=data_dir),
        outbox=Outbox(bus, store, clock, telemetry),
        telemetry=telemetry,
    )


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    bus, store = MemoryBus(), MemoryStore()
    gateway_bus, gateway_store = bus.client("gateway"), store.client("gateway")
    await gateway_store.prepare(COLLECTIONS)
    parts = parts_of(gateway_bus, gateway_store, "gateway", tmp_path)
    app = http_app(
        Questions(
            parts,
            default=DEFAULT,
            interpreter="/py",
            following=Following(parts, heartbeat_s=0.05, quiet_s=0.05),
        ),
        Commanding(parts, CATALOGUE, deadline_s=0.3),
        health_routes(
            lambda: gateway_bus.connected and gateway_store.connected, parts.telemetry.registry
        ),
    )
    experiment_parts = parts_of(
        bus.client("experiment"), store.client("experiment"), "experiment", tmp_path
    )
    commands = ExperimentCommanding(experiment_parts, CATALOGUE)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        experiment_parts.bus.serve(
            subjects.commands(), "experiment", commands.respond, max_group=8
        ),
        httpx.AsyncClient(transport=transport, base_url="http://gateway") as client,
    ):
        yield World(
            bus=bus,
            store=store,
            gateway_bus=gateway_bus,
            gateway_store=gateway_store,
            parts=parts,
            client=client,
            app=app,
        )


def trial_of(state: Experiment, index: int, **changes: Any) -> Trial:
    made = Trial(
        id=f"{state.id}.{index}",
        uid=state.id,
        version=1,
        namespace=state.namespace,
        experiment=state.name,
        index=index,
        name=trial_name(state.name, state.id, index),
        phase=TrialPhase.CREATED,
        assignments=(Assignment(name="--lr", value="0.5"),),
        conditions=(),
        created_at=state.created_at + 1,
    )
    return replace(made, **changes)


def run_of(state: Experiment, index: int, attempt: int = 1, **changes: Any) -> Run:
    made = Run(
        id=run_id(state.id, index, attempt),
        uid=state.id,
        index=index,
        attempt=attempt,
        version=1,
        namespace=state.namespace,
        experiment=state.name,
        trial=trial_name(state.name, state.id, index),
        phase=RunPhase.RUNNING,
        host="box.lan",
        boot_id="b",
        created_at=state.created_at + 2,
        started_at=state.created_at + 3,
    )
    return replace(made, **changes)


def open_trial(attempt: int = 1) -> OpenTrial:
    return OpenTrial(attempt=attempt, state=OpenState.ACTIVE, request=1, opened_at=1.0)


async def running_trial(world: World, attempt: int = 1, **run: Any) -> tuple[Experiment, Trial]:
    """An experiment with one open trial whose newest attempt has a run."""
    state = await world.apply()
    state = await world.change(state, open={"0": open_trial(attempt)}, next_index=1)
    trial = trial_of(state, 0)
    await world.put(TRIAL.encode(trial), into=TRIALS.name)
    await world.put(RUN.encode(run_of(state, 0, attempt, **run)), into=RUNS.name)
    return state, trial


# Health ----------------------------------------------------------------------------------------


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


# Commands --------------------------------------------------------------------------------------

PATH = "/v1/namespaces/lab/experiments/tune"


async def test_apply_creates_once_and_then_answers_200(world: World) -> None:
    body = {"id": "c1", "object": katib(), "workingDir": "/data"}
    first = await world.client.put(PATH, json=body)
    again = await world.client.put(PATH, json=body)
    assert (first.status_code, again.status_code) == (201, 200)
    uid = first.json()["uid"]
    assert first.json() == {"id": "c1", "uid": uid, "created": True}
    assert again.json() == {"id": "c1", "uid": uid, "created": False}
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
    assert answer.json()["problems"][0]["field"] == "spec"


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
    await world.get(f"/v1/namespaces/lab/experiments/{name}{suffix}", 400)


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
    app = http_app(
        Questions(parts, default=DEFAULT, interpreter="/py", following=Following(parts)),
        Commanding(parts, CATALOGUE, deadline_s=0.4, attempt_s=0.1),
        (),
    )
    async with (
        bus.client("experiment").serve(subjects.commands(), "experiment", silent, max_group=8),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://g") as client,
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


# Objects ---------------------------------------------------------------------------------------


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
    state, trial = await running_trial(world)
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


# Pages -----------------------------------------------------------------------------------------


async def all_pages(world: World, path: str, limit: int) -> list[Any]:
    items, after = [], ""
    while True:
        page = await world.get(f"{path}limit={limit}{after}")
        assert len(page["items"]) <= limit
        items += page["items"]
        if page["next"] is None:
            return items
        after = f"&after={page['next']}"


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
async def test_pages_of_experiments_are_complete_ordered_and_without_doubles(
    world: World, limit: int
) -> None:
    template = await world.apply("e0")
    times = [5.0, 5.0, 5.0, 5.0, 3.0, 9.0, 9.0, 7.25]
    states = [
        replace(
            template, id=f"u{i}", name=f"n{i}", alive_name=f"lab/n{i}", created_at=at, version=1
        )
        for i, at in enumerate(times)
    ]
    elsewhere = replace(states[0], id="x", namespace="b", name="x", alive_name="b/x")
    tombstone = replace(states[1], id="gone", alive_name=None, phase=ExperimentPhase.DELETED)
    await world.put(
        *(EXPERIMENT.encode(it) for it in [*states, elsewhere, tombstone]), into=EXPERIMENTS.name
    )
    found = [it["metadata"]["name"] for it in await all_pages(world, "/v1/experiments?", limit)]
    assert found == ["e0", "n6", "n5", "n7", "x", "n3", "n2", "n1", "n0", "n4"]
    within = await all_pages(world, "/v1/experiments?namespace=lab&", limit)
    assert [it["metadata"]["name"] for it in within] == [name for name in found if name != "x"]
    assert world.store.full_scans == []


@pytest.mark.parametrize("limit", [1, 2, 5, 100])
async def test_pages_of_trials_are_complete_ordered_and_without_doubles(
    world: World, limit: int
) -> None:
    expected = []
    for name, count in (("c", 4), ("b", 0), ("a", 3)):
        state = await world.apply(name)
        trials = [trial_of(state, i) for i in range(count)]
        if trials:
            await world.put(*(TRIAL.encode(it) for it in trials), into=TRIALS.name)
        state = await world.change(state, created_at=float(100 - len(expected)))
        expected += [trial.name for trial in trials]
    found = await all_pages(world, "/v1/trials?", limit)
    assert [it["metadata"]["name"] for it in found] == expected
    one = await all_pages(world, "/v1/trials?namespace=lab&experiment=c&", limit)
    assert [it["metadata"]["name"] for it in one] == expected[:4]
    assert world.store.full_scans == []


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=501", "limit=-1", "limit=x", "limit=٣", "after=!", "namespace=A.b"],
)
@pytest.mark.parametrize("path", ["experiments", "suggestions", "trials"])
async def test_a_wrong_page_is_400(world: World, path: str, query: str) -> None:
    await world.get(f"/v1/{path}?{query}", 400)


async def test_trials_of_an_experiment_need_its_namespace(world: World) -> None:
    await world.get("/v1/trials?experiment=tune", 400)


# Progress --------------------------------------------------------------------------------------


async def test_progress_tells_counts_and_the_best_trial_with_its_command(world: World) -> None:
    state, trial = await running_trial(world)
    best = BestTrial(
        index=0,
        name=trial.name,
        value=math.inf,
        assignments=trial.assignments,
        observation=(MetricValues(name="accuracy", min=0.0, max=math.inf, latest=math.nan),),
    )
    await world.change(
        state, best=best, next_index=3, finished=2, counts=Counts(succeeded=1, failed=1)
    )
    shown = await world.get(f"{PATH}/progress")
    assert shown["uid"] == state.id
    assert (shown["phase"], shown["reason"]) == ("Created", "ExperimentCreated")
    assert (shown["parallel"], shown["max"], shown["goal"]) == (2, 5, 0.9)
    assert shown["objective"] == {"type": "maximize", "name": "accuracy"}
    assert shown["trials"] == {
        "created": 3,
        "pending": 0,
        "running": 1,
        "succeeded": 1,
        "failed": 1,
        "killed": 0,
        "earlyStopped": 0,
        "metricsUnavailable": 0,
    }
    assert shown["best"] == {
        "trial": trial.name,
        "value": "Infinity",
        "parameters": {"--lr": "0.5"},
        "command": ["/py", "-m", "trainer", "--lr=0.5"],
        "workingDir": None,
    }


async def test_progress_takes_two_reads_and_under_5_ms_at_ten_thousand_trials(
    world: World,
) -> None:
    state, trial = await running_trial(world)
    pattern = TRIAL.encode(trial_of(state, 1, phase=TrialPhase.SUCCEEDED))
    trials = [
        {**pattern, "_id": f"{state.id}.{i}", "index": i, "name": f"tune-{i}", "finished": i}
        for i in range(1, 10_000)
    ]
    await world.put(*trials, into=TRIALS.name)
    await world.change(state, next_index=10_000, finished=9_999, counts=Counts(succeeded=9_999))
    world.store.calls.clear()
    await world.get(f"{PATH}/progress")
    assert dict(world.store.calls) == {("experiments", "find"): 1, ("runs", "get_many"): 1}
    best_s = math.inf
    for _ in range(20):
        begun = perf_counter()
        await world.get(f"{PATH}/progress")
        best_s = min(best_s, perf_counter() - begun)
    assert best_s < 0.005
    for path in (PATH, f"{PATH}/explain", f"{PATH}/suggestion", f"/v1/trials/{trial.name}/explain"):
        await world.get(path)
    assert world.store.full_scans == []


# Explanations ----------------------------------------------------------------------------------


async def test_an_explanation_joins_all_documents_of_a_trial(world: World) -> None:
    state, trial = await running_trial(world, attempt=2)
    lost = run_of(state, 0, 1, phase=RunPhase.LOST, finished_at=state.created_at + 1)
    await world.put(RUN.encode(lost), into=RUNS.name)
    verdict = {"stop": True, "step": 4, "reason": "worse", "evidence": {"best": math.nan}}
    evidence = {"_id": run_id(state.id, 0, 2), "version": 1, "verdict": verdict}
    await world.put(evidence, into=EVIDENCE.name)
    shown = await world.get(f"/v1/trials/{trial.name}/explain")
    assert shown["subject"] == f"trial lab/{trial.name}"
    assert (shown["uid"], shown["state"], shown["reason"]) == (state.id, "Running", "Running")
    events = [step["event"] for step in shown["chain"]]
    assert events.count("taken") == 2
    assert "lost" in events
    assert events[-1] == "waiting"
    assert shown["evidence"] == {**verdict, "evidence": {"best": "NaN"}}
    assert shown["exitCode"] is None
    assert all(step["at"].endswith("Z") for step in shown["chain"])


@pytest.mark.parametrize(("index", "number"), [(0, 1), (2, 1), (3, 2), (898, 300), (899, 300)])
async def test_the_answer_that_holds_a_point_is_found_among_many(
    world: World, index: int, number: int
) -> None:
    state = await world.apply()
    state = await world.change(state, next_request=302)
    await world.put(*(answer_document(state, n) for n in range(1, 301)), into="answers")
    trial = trial_of(state, index, phase=TrialPhase.SUCCEEDED)
    await world.put(TRIAL.encode(trial), into=TRIALS.name)
    world.store.calls.clear()
    shown = await world.get(f"/v1/trials/{trial.name}/explain")
    drawn = next(step for step in shown["chain"] if step["event"] == "point drawn")
    assert drawn["reason"] == f"Request{number}"
    assert world.store.calls["answers", "get_many"] <= 6


def answer_document(state: Experiment, number: int) -> Document:
    """Three points each; request 301 is not answered."""
    return {
        "_id": f"{state.id}:{number}",
        "version": 1,
        "uid": state.id,
        "number": number,
        "first": 3 * (number - 1),
        "watermark": 0,
        "seed": 1,
        "points": [["0.1"], ["0.2"], ["0.3"]],
        "exhausted": False,
        "look_ahead": "free",
        "refused": None,
        "answered_at": 1.0,
        "took_s": 0.0,
    }


async def test_an_experiment_is_explained_with_its_failures(world: World) -> None:
    state, _ = await running_trial(world)
    failed = trial_of(
        state,
        1,
        phase=TrialPhase.FAILED,
        finished=1,
        reason="TrialFailed",
        message="exit code 3",
        completed_at=state.created_at + 5,
    )
    await world.put(TRIAL.encode(failed), into=TRIALS.name)
    await world.change(state, next_index=2, finished=1, counts=Counts(failed=1))
    shown = await world.get(f"{PATH}/explain")
    assert shown["subject"] == "experiment lab/tune"
    told = [step["message"] for step in shown["chain"]]
    assert f"{failed.name}: exit code 3" in told
    assert any(step["event"] == "waiting" for step in shown["chain"])


# Metrics ---------------------------------------------------------------------------------------


async def test_metric_points_are_joined_over_all_chunks(world: World) -> None:
    state, trial = await running_trial(world, attempt=2)
    key = run_id(state.id, 0, 2)
    summary = Summary(count=1, min=0.0, max=0.0, latest=0.0, first_at=0.0, latest_at=0.0)
    chunks = [
        Chunk(
            id=chunk_id(key, 10 * n),
            uid=state.id,
            run=key,
            version=1,
            from_byte=10 * n,
            to_byte=10 * n + 10,
            series=(
                Series(
                    metric="accuracy",
                    first_step=2 * n + 1,
                    values=(float(n), math.nan if n else -math.inf),
                    times=(1.0, 2.0),
                ),
            ),
            summaries=(MetricSummary(metric="accuracy", summary=summary),),
            final=False,
            final_run=None,
            stored_at=1.0,
        )
        for n in range(450)
    ]
    other = replace(chunks[0], id=chunk_id(run_id(state.id, 0, 21), 0))
    await world.put(*(CHUNK.encode(it) for it in [*chunks, other]), into=CHUNKS.name)
    shown = await world.get(f"/v1/trials/{trial.name}/metrics")
    assert (shown["trial"], shown["attempt"], shown["truncated"]) == (trial.name, 2, False)
    [series] = shown["metrics"]
    assert series["steps"] == list(range(1, 901))
    assert series["values"][:4] == [0.0, "-Infinity", 1.0, "NaN"]
    assert len(series["times"]) == 900
    assert world.store.full_scans == []


# Logs ------------------------------------------------------------------------------------------


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
        piece = text[asked.from_byte :][: min(asked.max_bytes, 1000)]
        after = asked.from_byte + len(piece)
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
    ended = {"phase": RunPhase.FINISHED, "output_bytes": size, "finished_at": 5.0}
    state, trial = await running_trial(world, **ended)
    host = Host({})
    async with host.here(world):
        await world.client.get(f"/v1/trials/{trial.name}/log?tail=2")
    assert [asked.from_byte for asked in host.asked] == [size - 4 * 1024 * 1024]


@pytest.mark.parametrize("gone", [True, False])
async def test_of_an_ended_run_the_kept_tail_is_shown_when_its_log_is_gone(
    world: World, gone: bool
) -> None:
    ended = {"phase": RunPhase.FINISHED, "log_tail": "a\nb\n", "finished_at": 5.0}
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
    await world.get(f"/v1/trials/{trial.name}/log", 503)


@pytest.mark.parametrize("query", ["follow=maybe", "tail=x", "tail=-1", "tail=999999999"])
async def test_a_wrong_question_about_a_log_is_400(world: World, query: str) -> None:
    _, trial = await running_trial(world)
    await world.get(f"/v1/trials/{trial.name}/log?{query}", 400)


async def test_a_followed_log_grows_until_the_run_ends(world: World) -> None:
    state, trial = await running_trial(world)
    key = run_id(state.id, 0, 1)
    host = Host({key: "first\n"})
    async with host.here(world), real_client(world) as client:
        async with client.stream("GET", f"/v1/trials/{trial.name}/log?follow=true") as answer:
            pieces = answer.aiter_text()
            assert await anext(pieces) == "first\n"
            host.output[key] += "second\n"
            assert await anext(pieces) == "second\n"
            host.ended.add(key)
            assert [piece async for piece in pieces if piece] == []


# Events ----------------------------------------------------------------------------------------


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


@asynccontextmanager
async def real_client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """The same gateway behind a real server."""
    async with serving(world.app, host="127.0.0.1", port=0) as port:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            yield client


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
    async with real_client(world) as client:
        async with client.stream("GET", f"{PATH}/events?follow=true") as answer:
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


# The whole service -----------------------------------------------------------------------------


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
