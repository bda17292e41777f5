"""Experiments written as kubectl and Katib's client write them."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from trialbus.kernel.experiment import ExperimentPhase as Phase
from trialbus.testkit.gateway_world import World, gateway_world, katib

ALL = "/apis/kubeflow.org/v1beta1/namespaces/lab/experiments"
TUNE = f"{ALL}/tune"
MERGE = {"content-type": "application/merge-patch+json"}
JSON_PATCH = {"content-type": "application/json-patch+json"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway_world(tmp_path) as world:
        yield world


async def create(world: World, body: Any = None, **query: str) -> httpx.Response:
    return await world.client.post(ALL, params=query, json=katib() if body is None else body)


async def patch(
    world: World, body: Any, headers: dict[str, str] | None = None, **query: str
) -> httpx.Response:
    return await world.client.patch(TUNE, params=query, json=body, headers=headers or MERGE)


def told(answer: httpx.Response, code: int) -> dict[str, Any]:
    """The Status of a failure."""
    status: dict[str, Any] = answer.json()
    assert (answer.status_code, status["kind"], status["code"]) == (code, "Status", code), status
    return status


# Creating --------------------------------------------------------------------------------------


async def test_a_created_experiment_comes_back_whole(world: World) -> None:
    answer = await create(world, fieldManager="kubectl-create")
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert (made["kind"], made["apiVersion"]) == ("Experiment", "kubeflow.org/v1beta1")
    assert made["spec"]["resumePolicy"] == "Never"
    metadata = made["metadata"]
    assert (metadata["name"], metadata["namespace"], metadata["generation"]) == ("tune", "lab", 1)
    assert metadata["uid"] and metadata["resourceVersion"].isdigit()
    assert [it["manager"] for it in metadata["managedFields"]] == ["kubectl-create"]
    assert made["status"]["conditions"][0]["type"] == "Created"


async def test_the_second_of_a_name_is_told_that_it_is_taken(world: World) -> None:
    await create(world)
    status = told(await create(world, katib(maxTrialCount=9)), 409)
    assert status["reason"] == "AlreadyExists"
    assert status["message"] == 'experiments.kubeflow.org "tune" already exists'
    assert (await world.experiments())[0].spec.max_trial_count == 5


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/yaml", "text/plain", None]
)
async def test_bodies_are_read_whatever_they_are_called(
    world: World, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    content = yaml.safe_dump(katib()) if content_type == "application/yaml" else json.dumps(katib())
    answer = await world.client.post(ALL, content=content.encode(), headers=headers)
    assert answer.status_code == 201, answer.text


async def test_names_are_generated(world: World) -> None:
    body = katib()
    body["metadata"] = {"generateName": "tune-"}
    names = {(await create(world, body)).json()["metadata"]["name"] for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith("tune-") and len(name) == 10 for name in names)


@pytest.mark.parametrize(
    ("metadata", "fields", "words"),
    [
        ({"name": "tune", "namespace": "other"}, {}, "namespace of the provided object"),
        ({"name": "tune", "resourceVersion": "7"}, {}, "resourceVersion should not be set"),
        ({"name": "tune"}, {"kind": "Trial"}, "not the expected kind"),
        ({"name": "tune"}, {"apiVersion": "kubeflow.org/v1"}, "does not match the expected API"),
        ("tune", {}, "metadata: an object is needed"),
    ],
)
async def test_objects_that_are_not_for_this_path_are_bad_requests(
    world: World, metadata: Any, fields: dict[str, str], words: str
) -> None:
    status = told(await create(world, {**katib(), "metadata": metadata, **fields}), 400)
    assert status["reason"] == "BadRequest"
    assert words in status["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"a: b: c", b"3", b"\xff", b"[" * 100_000])
async def test_bodies_that_are_no_object_are_bad_requests(world: World, body: bytes) -> None:
    told(await world.client.post(ALL, content=body), 400)


async def test_protobuf_is_refused_as_a_type(world: World) -> None:
    headers = {"content-type": "application/vnd.kubernetes.protobuf"}
    status = told(await world.client.post(ALL, content=b"k8s\x00", headers=headers), 415)
    assert status["reason"] == "UnsupportedMediaType"


async def test_every_broken_rule_is_a_cause(world: World) -> None:
    wrong = katib(maxTrialCount=0, objective=None)
    status = told(await create(world, wrong), 422)
    assert status["reason"] == "Invalid"
    assert status["message"].startswith('Experiment.kubeflow.org "tune" is invalid: [')
    causes = {it["field"]: it["reason"] for it in status["details"]["causes"]}
    assert causes["spec.maxTrialCount"] == "FieldValueInvalid"
    assert causes["spec.objective"] == "FieldValueRequired"
    assert await world.experiments() == []


async def test_a_dry_run_shows_what_would_be_and_writes_nothing(world: World) -> None:
    made = (await create(world, dryRun="All")).json()
    assert (made["spec"]["resumePolicy"], made["metadata"]["generation"]) == ("Never", 1)
    assert await world.experiments() == []
    told(await create(world, katib(maxTrialCount=0), dryRun="All"), 422)
    told(await create(world, dryRun="Some"), 422)


# Unknown fields --------------------------------------------------------------------------------

MISSPELT = katib(maxTrialCuont=3, objective={**katib()["spec"]["objective"], "gaol": 1})


async def test_unknown_fields_are_refused_when_validation_is_strict(world: World) -> None:
    status = told(await create(world, MISSPELT, fieldValidation="Strict"), 400)
    assert status["message"] == (
        'Experiment in version "v1beta1" cannot be handled as a Experiment: strict decoding error: '
        'unknown field "spec.objective.gaol" (did you mean goal?), '
        'unknown field "spec.maxTrialCuont" (did you mean maxTrialCount?)'
    )


@pytest.mark.parametrize(
    ("query", "warned"),
    [({}, True), ({"fieldValidation": "Warn"}, True), ({"fieldValidation": "Ignore"}, False)],
)
async def test_unknown_fields_are_dropped_otherwise(
    world: World, query: dict[str, str], warned: bool
) -> None:
    answer = await create(world, MISSPELT, **query)
    assert answer.status_code == 201, answer.text
    assert "maxTrialCuont" not in answer.json()["spec"]
    warnings = answer.headers.get_list("warning")
    assert warnings == (
        [
            '299 - "unknown field \\"spec.objective.gaol\\" (did you mean goal?)"',
            '299 - "unknown field \\"spec.maxTrialCuont\\" (did you mean maxTrialCount?)"',
        ]
        if warned
        else []
    )


async def test_warnings_are_headers_whatever_the_field_is_called(world: World) -> None:
    body = katib()
    body["spec"]['ä"\n'] = 1
    answer = await create(world, body)
    assert answer.status_code == 201, answer.text
    assert answer.headers["warning"] == '299 - "unknown field \\"spec.\\u00e4\\"\\n\\""'


# Replacing and patching ------------------------------------------------------------------------


async def test_a_merge_patch_of_the_budget(world: World) -> None:
    await create(world)
    answer = await patch(world, {"spec": {"maxTrialCount": 9, "parallelTrialCount": 3}})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["spec"]["maxTrialCount"], found["metadata"]["generation"]) == (9, 2)
    [state] = await world.experiments()
    assert (state.spec.max_trial_count, state.spec.parallel_trial_count) == (9, 3)
    removed = await patch(world, {"spec": {"maxTrialCount": None}})
    assert "maxTrialCount" not in removed.json()["spec"]


async def test_a_json_patch_under_either_type(world: World) -> None:
    await create(world)
    for count, headers in ((8, JSON_PATCH), (9, MERGE)):
        operations = [{"op": "replace", "path": "/spec/maxTrialCount", "value": count}]
        answer = await patch(world, operations, headers)
        assert answer.json()["spec"]["maxTrialCount"] == count
    wrong = [{"op": "remove", "path": "/spec/nothing"}]
    assert told(await patch(world, wrong, JSON_PATCH), 422)["reason"] == "Invalid"


async def test_a_strategic_patch_is_refused_as_for_every_custom_resource(world: World) -> None:
    await create(world)
    headers = {"content-type": "application/strategic-merge-patch+json"}
    status = told(await patch(world, {"spec": {"maxTrialCount": 9}}, headers), 415)
    assert "application/merge-patch+json" in status["message"]


async def test_the_whole_object_with_its_status_may_be_sent_back(world: World) -> None:
    """As Katib's client edits a budget."""
    made = (await create(world)).json()
    made["spec"]["maxTrialCount"] = 9
    made["status"]["trials"] = 100
    found = (await patch(world, made)).json()
    assert found["spec"]["maxTrialCount"] == 9
    assert "trials" not in found["status"]


async def test_an_older_version_conflicts_after_an_edit_and_not_after_a_change_of_status(
    world: World,
) -> None:
    made = (await create(world)).json()
    [state] = await world.experiments()
    await world.change(state, next_index=3)
    answer = await world.client.put(TUNE, json={**made, "spec": katib(maxTrialCount=8)["spec"]})
    assert answer.status_code == 200, answer.text
    status = told(await world.client.put(TUNE, json=made), 409)
    assert (status["reason"], status["message"]) == (
        "Conflict",
        'Operation cannot be fulfilled on experiments.kubeflow.org "tune": the object has been '
        "modified; please apply your changes to the latest version and try again",
    )
    told(await patch(world, made), 409)


async def test_a_replacement_is_all_there_is(world: World) -> None:
    first = katib()
    first["metadata"]["labels"] = {"a": "1"}
    await create(world, first)
    second = katib()
    second["metadata"]["labels"] = {"b": "2"}
    found = (await world.client.put(TUNE, json=second)).json()
    assert found["metadata"]["labels"] == {"b": "2"}
    assert found["metadata"]["generation"] == 1


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_what_is_not_there_is_not_found(world: World, method: str) -> None:
    headers = MERGE if method == "PATCH" else {}
    answer = await world.client.request(method, TUNE, json=katib(), headers=headers)
    status = told(answer, 404)
    assert status["message"] == 'experiments.kubeflow.org "tune" not found'


async def test_another_uid_is_a_conflict(world: World) -> None:
    await create(world)
    told(await patch(world, {"metadata": {"uid": "other"}}), 409)
    told(await patch(world, {"metadata": {"name": "other"}}), 400)


async def test_what_was_tuned_cannot_be_changed(world: World) -> None:
    await create(world)
    status = told(await patch(world, {"spec": {"algorithm": {"algorithmName": "sobol"}}}), 422)
    fields = [it["field"] for it in status["details"]["causes"]]
    reasons = {it["reason"] for it in status["details"]["causes"]}
    assert fields == ["spec.algorithm", "spec"] or fields == ["spec.algorithm.algorithmName"]
    assert reasons <= {"FieldValueForbidden", "FieldValueInvalid"}


async def test_labels_and_annotations_are_edited_without_a_new_generation(world: World) -> None:
    await create(world)
    found = (await patch(world, {"metadata": {"labels": {"a.b/c": "1"}}})).json()
    assert found["metadata"]["labels"] == {"a.b/c": "1"}
    assert found["metadata"]["generation"] == 1
    gone = (await patch(world, {"metadata": {"labels": {"a.b/c": None}}})).json()
    assert not gone["metadata"].get("labels")


async def test_two_that_edit_at_once_lose_nothing_of_each_other(world: World) -> None:
    await create(world)
    labels = [{"metadata": {"labels": {f"l{number}": "x"}}} for number in range(4)]
    answers = await asyncio.gather(*(patch(world, label) for label in labels))
    assert {answer.status_code for answer in answers} == {200}
    found = (await world.client.get(TUNE)).json()
    assert sorted(found["metadata"]["labels"]) == ["l0", "l1", "l2", "l3"]


async def test_a_dry_run_of_a_patch(world: World) -> None:
    await create(world)
    shown = (await patch(world, {"spec": {"maxTrialCount": 9}}, dryRun="All")).json()
    assert (shown["spec"]["maxTrialCount"], shown["metadata"]["generation"]) == (9, 2)
    [state] = await world.experiments()
    assert state.spec.max_trial_count == 5


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_nobody_writes_a_status(world: World, method: str) -> None:
    await create(world)
    answer = await world.client.request(method, f"{TUNE}/status", json={"status": {}})
    assert "status is written by the system" in told(answer, 403)["message"]


@pytest.mark.parametrize("resource", ["trials", "suggestions"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_trials_and_suggestions_are_written_by_the_system(
    world: World, resource: str, method: str
) -> None:
    path = f"/apis/kubeflow.org/v1beta1/namespaces/lab/{resource}"
    answer = await world.client.request(method, path if method == "POST" else f"{path}/x", json={})
    assert "written by the system" in told(answer, 405)["message"]


# Deleting --------------------------------------------------------------------------------------


async def test_a_deleted_experiment_is_gone_at_once(world: World) -> None:
    made = (await create(world)).json()
    answer = await world.client.request("DELETE", TUNE, json={"propagationPolicy": "Background"})
    status = answer.json()
    assert (status["status"], status["details"]["uid"]) == ("Success", made["metadata"]["uid"])
    told(await world.client.get(TUNE), 404)
    assert (await world.experiments())[0].phase is Phase.DELETING


async def test_orphans_are_the_history(world: World) -> None:
    await create(world)
    await world.client.request("DELETE", TUNE, json={"propagationPolicy": "Orphan"})
    assert (await world.experiments())[0].keep_history


async def test_preconditions_of_a_deletion(world: World) -> None:
    made = (await create(world)).json()["metadata"]
    await patch(world, {"spec": {"maxTrialCount": 9}})
    for wrong in ({"uid": "other"}, {"resourceVersion": made["resourceVersion"]}):
        body = {"preconditions": wrong}
        assert told(await world.client.request("DELETE", TUNE, json=body), 409)
    dry = await world.client.request("DELETE", TUNE, json={"dryRun": ["All"]})
    assert dry.status_code == 200
    assert (await world.experiments())[0].phase is Phase.CREATED
    right = {"preconditions": {"uid": made["uid"]}}
    assert (await world.client.request("DELETE", TUNE, json=right)).status_code == 200


async def test_a_collection_is_deleted_by_its_labels(world: World) -> None:
    for name, team in (("a", "red"), ("b", "blue"), ("c", "red")):
        body = katib(name)
        body["metadata"]["labels"] = {"team": team}
        await create(world, body)
    answer = await world.client.delete(ALL, params={"labelSelector": "team=red"})
    gone = answer.json()
    assert gone["kind"] == "ExperimentList"
    assert sorted(it["metadata"]["name"] for it in gone["items"]) == ["a", "c"]
    left = (await world.client.get(ALL)).json()["items"]
    assert [it["metadata"]["name"] for it in left] == ["b"]
