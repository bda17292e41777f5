"""Kubernetes' own kinds in the gateway: what shows trials, over stores in memory."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trialbus.contracts.collections import RUNS, TRIALS
from trialbus.contracts.documents import RUN, TRIAL
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.run import RunPhase
from trialbus.kernel.spec import ResumePolicy
from trialbus.kernel.trial import TrialPhase
from trialbus.testkit.gateway_world import (
    World,
    gateway_world,
    open_trial,
    real_client,
    run_of,
    running_trial,
    trial_of,
)

LAB = "/api/v1/namespaces/lab"
JOBS = "/apis/batch/v1/namespaces/lab/jobs"
TABLE = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway_world(tmp_path) as made:
        yield made


async def _ended(world: World, count: int) -> Experiment:
    """An experiment with so many trials that succeeded."""
    state = await world.apply()
    trials = [
        trial_of(state, i, phase=TrialPhase.SUCCEEDED, finished=i + 1, reason="TrialSucceeded")
        for i in range(count)
    ]
    runs = [run_of(state, i, phase=RunPhase.FINISHED, exit_code=0) for i in range(count)]
    await world.put(*map(TRIAL.encode, trials), into=TRIALS.name)
    await world.put(*map(RUN.encode, runs), into=RUNS.name)
    return await world.change(state, next_index=count, finished=count)


def _names(answer: Any) -> list[str]:
    return [item["metadata"]["name"] for item in answer["items"]]


# Namespaces ---------------------------------------------------------------------------------------


async def test_namespaces_are_default_and_those_of_living_experiments(world: World) -> None:
    # The signs before and after "/" in ASCII.
    for namespace in ("lab", "lab-2", "lab0", "other"):
        await world.apply("tune", namespace)
        await world.apply("more", namespace)
    await world.client.delete("/v1/namespaces/other/experiments/tune")
    found = await world.get("/api/v1/namespaces")
    assert _names(found) == ["default", "lab", "lab-2", "lab0", "other"]


async def test_every_name_is_a_namespace_and_what_is_none_is_not_found(world: World) -> None:
    found = await world.get("/api/v1/namespaces/anything")
    assert (found["kind"], found["status"]["phase"]) == ("Namespace", "Active")
    missing = await world.get("/api/v1/namespaces/No_Name", 404)
    assert (missing["kind"], missing["reason"]) == ("Status", "NotFound")


async def test_a_patched_namespace_shows_the_labels_and_keeps_none(world: World) -> None:
    patch = {"metadata": {"labels": {"team": "blue", "kubernetes.io/metadata.name": None}}}
    answer = await world.client.patch(
        "/api/v1/namespaces/lab",
        content=json.dumps(patch),
        headers={"content-type": "application/strategic-merge-patch+json"},
    )
    assert answer.status_code == 200
    labels = answer.json()["metadata"]["labels"]
    assert labels == {"katib.kubeflow.org/metrics-collector-injection": "enabled", "team": "blue"}
    kept = await world.get("/api/v1/namespaces/lab")
    assert "team" not in kept["metadata"]["labels"]


# The protobuf of kubectl: `k8s\0`, Unknown{typeMeta, raw: Namespace{metadata: ObjectMeta{name}}}.
PROTOBUF = b"k8s\x00" + b"\x0a\x0f\x0a\x02v1\x12\x09Namespace" + b"\x12\x07\x0a\x05\x0a\x03new"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"metadata": {"name": "new"}}', 201),
        (PROTOBUF, 201),
        (PROTOBUF[:-2], 201),
        (PROTOBUF[:20], 422),
        (b"k8s\x00\xff\xff\xff", 422),
        (b"\xff\xfe", 422),
        (b'{"metadata": {"name": "No_Name"}}', 422),
        (b"[]", 422),
        (b"", 422),
    ],
)
async def test_a_namespace_is_created_from_json_or_protobuf(
    world: World, body: bytes, status: int
) -> None:
    answer = await world.client.post("/api/v1/namespaces", content=body)
    assert answer.status_code == status, answer.text


# Pods and jobs ------------------------------------------------------------------------------------


async def test_a_running_trial_is_a_running_pod_of_a_job(world: World) -> None:
    state, trial = await running_trial(world)
    pod = await world.get(f"{LAB}/pods/{trial.name}")
    assert pod["status"]["phase"] == "Running"
    assert [it["name"] for it in pod["spec"]["containers"]] == [
        "training-container",
        "metrics-logger-and-collector",
    ]
    assert pod["metadata"]["labels"] == {
        "katib.kubeflow.org/experiment": state.name,
        "katib.kubeflow.org/trial": trial.name,
        "batch.kubernetes.io/job-name": trial.name,
        "job-name": trial.name,
    }
    job = await world.get(f"{JOBS}/{trial.name}")
    assert job["status"]["active"] == 1
    assert pod["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]
    owner = job["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["uid"]) == ("Trial", trial.id)


@pytest.mark.parametrize(
    "query",
    [
        "labelSelector=katib.kubeflow.org/trial={trial}",
        "labelSelector=job-name in ({trial})",
        "labelSelector=katib.kubeflow.org/experiment=tune",
        "fieldSelector=metadata.name={trial}",
        "fieldSelector=status.phase=Running",
        "fieldSelector=status.phase!=Pending",
        "limit=1",
        "",
    ],
)
async def test_selectors_find_it(world: World, query: str) -> None:
    _, trial = await running_trial(world)
    for path in (f"{LAB}/pods", "/api/v1/pods"):
        found = await world.get(f"{path}?{query.format(trial=trial.name)}")
        assert _names(found) == [trial.name]


@pytest.mark.parametrize(
    "query",
    [
        "labelSelector=katib.kubeflow.org/trial=other",
        "labelSelector=katib.kubeflow.org/experiment=other",
        "labelSelector=katib.kubeflow.org/experiment=tune,team=blue",
        "fieldSelector=status.phase=Succeeded",
        "fieldSelector=metadata.name=other",
        # What nothing here can be called may still be asked for.
        "labelSelector=job-name=My_Job",
        "labelSelector=job-name=",
        "labelSelector=katib.kubeflow.org/experiment=My.Experiment",
        "fieldSelector=metadata.name=a.b",
    ],
)
async def test_selectors_leave_it_out(world: World, query: str) -> None:
    await running_trial(world)
    assert _names(await world.get(f"{LAB}/pods?{query}")) == []


async def test_a_namespace_has_only_its_own(world: World) -> None:
    _, trial = await running_trial(world)
    assert _names(await world.get("/api/v1/namespaces/other/pods")) == []
    await world.get(f"/api/v1/namespaces/other/pods/{trial.name}", 404)
    selector = f"labelSelector=katib.kubeflow.org/trial={trial.name}"
    assert _names(await world.get(f"/api/v1/namespaces/other/pods?{selector}")) == []


async def test_pages_hold_all_once(world: World) -> None:
    await _ended(world, 5)
    page = await world.get(f"{JOBS}?limit=2")
    found = _names(page)
    while "continue" in page["metadata"]:
        page = await world.get(f"{JOBS}?limit=2&continue={page['metadata']['continue']}")
        found += _names(page)
    assert found == _names(await world.get(JOBS))
    assert len(set(found)) == 5


@pytest.mark.parametrize(
    "query", ["limit=x", "limit=5&continue=x", "fieldSelector=a=b", "labelSelector=(", "watch=2"]
)
async def test_what_cannot_be_understood_is_a_bad_request(world: World, query: str) -> None:
    refused = await world.get(f"{LAB}/pods?{query}", 400)
    assert (refused["kind"], refused["reason"]) == ("Status", "BadRequest")


async def test_pods_cannot_be_written(world: World) -> None:
    _, trial = await running_trial(world)
    for method in ("DELETE", "PUT", "PATCH"):
        answer = await world.client.request(method, f"{LAB}/pods/{trial.name}")
        assert (answer.status_code, answer.json()["reason"]) == (405, "MethodNotAllowed")


async def test_a_table_has_the_columns_of_kubernetes(world: World) -> None:
    state = await _ended(world, 1)
    answer = await world.client.get(f"{LAB}/pods", headers=TABLE)
    table = answer.json()
    shown = [it["name"] for it in table["columnDefinitions"] if it["priority"] == 0]
    assert shown == ["Name", "Ready", "Status", "Restarts", "Age"]
    [row] = table["rows"]
    assert row["cells"][1:4] == ["0/2", "Completed", "0"]
    assert row["object"]["kind"] == "PartialObjectMetadata"
    assert row["object"]["metadata"]["labels"]["katib.kubeflow.org/experiment"] == state.name
    jobs = (await world.client.get(JOBS, headers=TABLE)).json()
    assert jobs["rows"][0]["cells"][1:3] == ["Complete", "1/1"]


async def _events(lines: AsyncIterator[str], count: int) -> list[tuple[str, Any]]:
    told = []
    async for line in lines:
        event = json.loads(line)
        told.append((event["type"], event["object"]))
        if len(told) == count:
            break
    return told


@pytest.mark.timeout(30)
async def test_a_watch_tells_of_a_pod_from_its_start_to_its_end(world: World) -> None:
    state = await world.apply()
    listed = await world.get(f"{LAB}/pods")
    version = listed["metadata"]["resourceVersion"]
    async with (
        real_client(world) as client,
        client.stream("GET", f"{LAB}/pods?watch=true&resourceVersion={version}") as answer,
    ):
        lines = answer.aiter_lines()
        trial = trial_of(state, 0)
        await world.put(TRIAL.encode(trial), into=TRIALS.name)
        await world.put(RUN.encode(run_of(state, 0)), into=RUNS.name)
        state = await world.change(state, open={"0": open_trial()}, next_index=1)
        await world.tell(state)
        [(type_, pod)] = await _events(lines, 1)
        assert (type_, pod["metadata"]["name"]) == ("ADDED", trial.name)
        assert pod["status"]["phase"] == "Running"
        await world.client.delete("/v1/namespaces/lab/experiments/tune")
        await world.tell(state)
        [(type_, pod)] = await _events(lines, 1)
        assert (type_, pod["metadata"]["name"]) == ("DELETED", trial.name)


async def test_a_watch_from_the_beginning_tells_first_what_is_there(world: World) -> None:
    _, trial = await running_trial(world)
    query = (
        "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
        "&allowWatchBookmarks=true&timeoutSeconds=1"
    )
    answer = await world.client.get(f"{LAB}/pods?{query}")
    events = [json.loads(line) for line in answer.text.splitlines()]
    assert [event["type"] for event in events] == ["ADDED", "BOOKMARK"]
    assert events[0]["object"]["metadata"]["name"] == trial.name
    annotations = events[1]["object"]["metadata"]["annotations"]
    assert annotations == {"k8s.io/initial-events-end": "true"}


async def test_a_watch_from_a_version_that_nobody_knows_is_told_to_begin_anew(
    world: World,
) -> None:
    answer = await world.client.get(f"{LAB}/pods?watch=true&resourceVersion=12345678")
    [event] = [json.loads(line) for line in answer.text.splitlines()]
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)


# Events -------------------------------------------------------------------------------------------


async def test_events_are_the_stories_of_what_is_there(world: World) -> None:
    state, trial = await running_trial(world)
    found = (await world.get(f"{LAB}/events"))["items"]
    told = {(it["involvedObject"]["kind"], it["reason"]) for it in found}
    assert {("Trial", "JobCreated"), ("Trial", "JobRunning")} <= told
    assert ("Experiment", "ExperimentCreated") in told
    assert {it["involvedObject"]["uid"] for it in found} == {state.id, trial.id}
    names = [it["metadata"]["name"] for it in found]
    assert len(set(names)) == len(names)
    one = await world.get(f"{LAB}/events/{names[0]}")
    assert one["metadata"]["name"] == names[0]


@pytest.mark.parametrize(
    ("kind", "uid", "reasons"),
    [
        ("Trial", "{id}", {"TrialCreated", "JobCreated", "JobRunning"}),
        ("Pod", "{id}.1", {"JobCreated", "JobRunning"}),
        ("Job", "{id}.job", {"JobCreated", "JobRunning"}),
    ],
)
async def test_events_of_an_object_are_found_by_kind_or_by_uid(
    world: World, kind: str, uid: str, reasons: set[str]
) -> None:
    _, trial = await running_trial(world)
    name = f"involvedObject.name={trial.name}"
    for which in (f"involvedObject.kind={kind}", f"involvedObject.uid={uid.format(id=trial.id)}"):
        found = (await world.get(f"{LAB}/events?fieldSelector={name},{which}"))["items"]
        assert {it["reason"] for it in found} == reasons
        assert {it["involvedObject"]["kind"] for it in found} == {kind}


async def test_a_watch_of_events_tells_each_once(world: World) -> None:
    _, trial = await running_trial(world)
    query = f"watch=true&timeoutSeconds=2&fieldSelector=involvedObject.name={trial.name}"
    answer = await world.client.get(f"{LAB}/events?{query}")
    told = [json.loads(line)["object"]["reason"] for line in answer.text.splitlines()]
    assert sorted(told) == ["JobCreated", "JobRunning", "TrialCreated"]


# The rest -----------------------------------------------------------------------------------------


async def test_a_claim_is_there_for_what_resumes_from_a_volume(world: World) -> None:
    state = await world.apply("tune-more")
    path = f"{LAB}/persistentvolumeclaims"
    await world.get(f"{path}/tune-more-random", 404)
    spec = replace(state.spec, resume_policy=ResumePolicy.FROM_VOLUME)
    await world.change(state, spec=spec)
    assert (await world.get(f"{path}/tune-more-random"))["status"]["phase"] == "Bound"
    assert _names(await world.get(path)) == ["tune-more-random"]
    await world.get(f"{path}/tune-random", 404)


@pytest.mark.parametrize("body", [b'{"spec": {"a": 1}}', b"k8s\x00\x0a", b"", b"[1]"])
async def test_everything_is_allowed_whatever_is_asked(world: World, body: bytes) -> None:
    base = "/apis/authorization.k8s.io/v1"
    answer = await world.client.post(f"{base}/selfsubjectaccessreviews", content=body)
    assert (answer.status_code, answer.json()["status"]["allowed"]) == (201, True)
    answer = await world.client.post(f"{base}/selfsubjectrulesreviews", content=body)
    assert answer.json()["status"]["resourceRules"][0]["verbs"] == ["*"]


@pytest.mark.parametrize(
    "path",
    [
        "/apis/apps/v1/namespaces/lab/deployments/tune-random",
        f"{LAB}/services/tune-random",
        f"{LAB}/configmaps",
        f"{LAB}/secrets/x",
    ],
)
async def test_what_a_cluster_would_have_beside_is_not_found(world: World, path: str) -> None:
    missing = await world.get(path, 404)
    assert (missing["kind"], missing["reason"]) == ("Status", "NotFound")
