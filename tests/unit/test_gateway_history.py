"""What a deletion keeps stays readable by its uid, and by nothing else."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from trialbus.contracts.collections import TRIALS
from trialbus.contracts.documents import TRIAL
from trialbus.kernel.experiment import ExperimentPhase as Phase
from trialbus.testkit.gateway_world import PATH, World, gateway_world, trial_of


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway_world(tmp_path) as world:
        yield world


async def archived(world: World) -> str:
    state = await world.apply()
    await world.put(TRIAL.encode(trial_of(state, 0)), into=TRIALS.name)
    answer = await world.client.delete(PATH, params={"keepHistory": "true"})
    assert answer.status_code == 202
    state = await world.experiment(state.id)
    assert state.keep_history
    await world.change(state, phase=Phase.ARCHIVED, completed_at=1000.0, active=False)
    return state.id


async def test_deleted_experiments_are_listed_when_they_are_asked_for(world: World) -> None:
    uid = await archived(world)
    await world.apply()
    found = (await world.get("/v1/experiments?deleted=true"))["items"]
    assert [it["metadata"]["uid"] for it in found] == [uid]
    assert found[0]["metadata"]["deletionTimestamp"] == "1970-01-01T00:16:40Z"
    assert (await world.get("/v1/experiments?deleted=true&namespace=other"))["items"] == []
    living = (await world.get("/v1/experiments"))["items"]
    assert [it["metadata"]["uid"] for it in living] != [uid]
    assert len(living) == 1


async def test_their_trials_are_found_by_uid_and_by_their_own_names(world: World) -> None:
    uid = await archived(world)
    [trial] = (await world.get(f"/v1/trials?uid={uid}"))["items"]
    name = trial["metadata"]["name"]
    assert (await world.get(f"/v1/trials/{name}"))["metadata"]["name"] == name
    assert (await world.get(f"/v1/trials/{name}/metrics"))["metrics"] == []
    assert (await world.get(f"/v1/trials/{name}/explain"))["subject"]
    assert (await world.get("/v1/trials"))["items"] == []
    await world.get(PATH, 404)


async def test_kubernetes_does_not_show_them(world: World) -> None:
    await archived(world)
    found = await world.get("/apis/kubeflow.org/v1beta1/trials")
    assert found["items"] == []
    found = await world.get("/apis/kubeflow.org/v1beta1/experiments")
    assert found["items"] == []


async def test_what_was_deleted_without_history_is_not_readable(world: World) -> None:
    state = await world.apply()
    await world.client.delete(PATH)
    answer = await world.client.get(f"/v1/trials?uid={state.id}")
    assert answer.status_code == 404
