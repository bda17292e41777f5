"""Server-side apply, and the way from client-side apply to it."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from trialbus.testkit.gateway_world import World, gateway_world, katib

ALL = "/apis/kubeflow.org/v1beta1/namespaces/lab/experiments"
TUNE = f"{ALL}/tune"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway_world(tmp_path) as world:
        yield world


async def apply(world: World, body: Any, manager: str = "kubectl", **query: str) -> httpx.Response:
    return await world.client.patch(
        TUNE,
        params={"fieldManager": manager, **query},
        content=json.dumps(body).encode(),
        headers={"content-type": "application/apply-patch+yaml"},
    )


def partial(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": "tune"},
        "spec": spec,
    }


def managers(obj: dict[str, Any]) -> dict[str, str]:
    return {it["manager"]: it["operation"] for it in obj["metadata"]["managedFields"]}


async def test_an_apply_creates_and_the_same_again_changes_nothing(world: World) -> None:
    first = await apply(world, katib())
    assert first.status_code == 201, first.text
    assert managers(first.json()) == {"kubectl": "Apply"}
    second = await apply(world, katib())
    assert second.status_code == 200
    assert second.json()["metadata"] == first.json()["metadata"]


async def test_a_field_of_another_manager_is_a_conflict_until_it_is_forced(world: World) -> None:
    await apply(world, katib())
    answer = await apply(world, partial(maxTrialCount=9), "ci")
    status = answer.json()
    assert (answer.status_code, status["reason"]) == (409, "Conflict")
    assert status["details"]["causes"] == [
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "kubectl" using kubeflow.org/v1beta1',
            "field": ".spec.maxTrialCount",
        }
    ]
    forced = await apply(world, partial(maxTrialCount=9), "ci", force="true")
    assert forced.json()["spec"]["maxTrialCount"] == 9
    assert (await apply(world, katib())).status_code == 409


async def test_what_is_applied_no_more_is_removed(world: World) -> None:
    labelled = katib()
    labelled["metadata"]["labels"] = {"a": "1", "b": "2"}
    await apply(world, labelled)
    labelled["metadata"]["labels"] = {"b": "2"}
    del labelled["spec"]["maxTrialCount"]
    found = (await apply(world, labelled)).json()
    assert found["metadata"]["labels"] == {"b": "2"}
    assert "maxTrialCount" not in found["spec"]


async def test_who_applies_must_say_who_it_is(world: World) -> None:
    answer = await apply(world, katib(), "")
    assert answer.status_code == 422
    assert answer.json()["details"]["causes"][0]["field"] == "fieldManager"


async def test_broken_rules_and_unknown_fields_are_told_before_anything_is_written(
    world: World,
) -> None:
    assert (await apply(world, katib(maxTrialCount=0))).status_code == 422
    unknown = await apply(world, katib(maxTrialCuont=1), fieldValidation="Strict")
    assert unknown.status_code == 400
    assert (await apply(world, katib(), dryRun="All")).status_code == 201
    assert await world.experiments() == []


async def test_after_a_client_side_apply_the_server_side_one_takes_over(world: World) -> None:
    """As kubectl does it: ownership is migrated by a JSON patch, then the object is applied, then
    the annotation under a manager of its own."""
    body = katib()
    body["metadata"]["annotations"] = {LAST_APPLIED: json.dumps(katib())}
    made = (
        await world.client.post(
            ALL, params={"fieldManager": "kubectl-client-side-apply"}, json=body
        )
    ).json()
    fields = [{**made["metadata"]["managedFields"][0], "manager": "kubectl", "operation": "Apply"}]
    migrated = await world.client.patch(
        TUNE,
        json=[
            {"op": "replace", "path": "/metadata/managedFields", "value": fields},
            {
                "op": "replace",
                "path": "/metadata/resourceVersion",
                "value": made["metadata"]["resourceVersion"],
            },
        ],
        headers={"content-type": "application/json-patch+json"},
    )
    assert managers(migrated.json()) == {"kubectl": "Apply"}
    after = await apply(world, katib(maxTrialCount=7))
    assert after.json()["spec"]["maxTrialCount"] == 7
    assert "annotations" not in after.json()["metadata"]
    annotated = partial()
    annotated["metadata"]["annotations"] = {LAST_APPLIED: "{}"}
    del annotated["spec"]
    last = await apply(world, annotated, "kubectl-last-applied")
    assert last.status_code == 200, last.text
    assert last.json()["metadata"]["annotations"] == {LAST_APPLIED: "{}"}
    assert last.json()["spec"]["maxTrialCount"] == 7


async def test_what_trialbus_apply_created_belongs_to_nobody_that_is_known(world: World) -> None:
    await world.apply()
    assert (await apply(world, katib())).status_code == 200
    assert (await apply(world, katib(maxTrialCount=9))).status_code == 409
