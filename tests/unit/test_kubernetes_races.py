"""Writes of the Kubernetes-style API while somebody else was faster, and of names that are none."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from trialbus.kernel.errors import Transient
from trialbus.testkit.gateway_world import World, gateway_world, katib
from trialbus_gateway.app.changes import Changes
from trialbus_gateway.app.commanding import Commanding

ALL = "/apis/kubeflow.org/v1beta1/namespaces/lab/experiments"
MERGE = {"content-type": "application/merge-patch+json"}
APPLY = {"content-type": "application/apply-patch+yaml"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway_world(tmp_path) as world:
        yield world


async def test_what_is_deleted_amid_a_write_is_not_found(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = Commanding._send

    async def late(commanding: Commanding, *args: Any) -> Any:
        for state in await world.experiments():
            if state.alive_name is not None:
                await world.change(state, alive_name=None)
        return await send(commanding, *args)

    labelled = {**katib(), "metadata": {"name": "tune", "labels": {"a": "b"}}}
    for method, body, headers in (
        ("PATCH", {"metadata": {"labels": {"a": "b"}}}, MERGE),
        ("PUT", labelled, {}),
        ("DELETE", None, {}),
    ):
        await world.apply()
        with monkeypatch.context() as patched:
            patched.setattr(Commanding, "_send", late)
            answer = await world.client.request(method, f"{ALL}/tune", json=body, headers=headers)
        assert (answer.status_code, answer.json()["reason"]) == (404, "NotFound"), answer.text


async def test_what_is_made_is_no_failure_although_it_cannot_be_read_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(changes: Changes, namespace: str, name: str) -> Any:
        raise Transient("the store is away")

    monkeypatch.setattr(Changes, "experiment", away)
    answer = await world.client.post(ALL, json=katib())
    assert answer.status_code == 201, answer.text
    [state] = await world.experiments()
    assert answer.json()["metadata"]["uid"] == state.id


async def test_nobody_is_made_to_look_deleted(world: World) -> None:
    metadata = {
        "name": "tune",
        "deletionTimestamp": "2026-01-01T00:00:00Z",
        "deletionGracePeriodSeconds": 0,
    }
    body = {**katib(), "metadata": metadata}
    made = (await world.client.post(ALL, json=body)).json()
    assert not made["metadata"].keys() & metadata.keys() - {"name"}
    patch = {"metadata": {**metadata, "labels": {"a": "b"}}}
    patched = (await world.client.patch(f"{ALL}/tune", json=patch, headers=MERGE)).json()
    assert patched["metadata"]["labels"] == {"a": "b"}
    assert not patched["metadata"].keys() & metadata.keys() - {"name"}


@pytest.mark.parametrize("name", ["a.b", "Foo_Bar", "x" * 64])
async def test_what_nothing_can_be_called_is_not_found(world: World, name: str) -> None:
    """Clients that delete or patch what may not be there look for a 404."""
    for method, headers in (("GET", {}), ("DELETE", {}), ("PATCH", MERGE), ("PUT", {})):
        body = {"PATCH": {}, "PUT": {**katib(), "metadata": {"name": name}}}.get(method)
        answer = await world.client.request(method, f"{ALL}/{name}", json=body, headers=headers)
        assert answer.status_code == 404, answer.text
    applied = {**katib(), "metadata": {"name": name}}
    answer = await world.client.patch(
        f"{ALL}/{name}", params={"fieldManager": "me"}, json=applied, headers=APPLY
    )
    # It would be made.
    assert answer.status_code == 422, answer.text
