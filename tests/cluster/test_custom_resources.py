"""Objects of a cluster and the store, kept in step both ways."""

import copy
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.definitions.beside import TARGETS, Beside, running_target
from tests.cluster.double.server import Double
from tests.cluster.resource_worlds import Kept, at_rest, kept_world

from trialbus.contracts.collections import TRIALS
from trialbus.contracts.documents import TRIAL
from trialbus.kernel.conditions import set_condition
from trialbus.kernel.errors import Problem, Refused
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.trial import TrialPhase
from trialbus.ports.store import Write
from trialbus.testkit.gateway_world import (
    katib,
    open_trial,
    trial_of,
)
from trialbus.testkit.waits import until
from trialbus_gateway.app.commanding import Commanding

Object = dict[str, Any]


@pytest.fixture(params=TARGETS)
def double(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Double]:
    with running_target(request.param, tmp_path / "cluster") as found:
        yield found


@pytest.fixture
async def kept(tmp_path: Path, double: Double) -> AsyncIterator[Kept]:
    async with kept_world(tmp_path, double) as made:
        yield made


async def test_an_applied_object_becomes_an_experiment_and_shows_its_state(kept: Kept) -> None:
    await kept.start()
    made = kept.double.create(katib())
    state = await kept.until_made()
    assert state.source["spec"]["maxTrialCount"] == 5
    assert kept.status()["startTime"]
    suggestion = kept.resource(kind="suggestions")
    assert suggestion is not None
    [owner] = suggestion["metadata"]["ownerReferences"]
    assert (owner["uid"], owner["controller"]) == (made["metadata"]["uid"], True)
    assert suggestion["spec"]["requests"] == 2
    # What the person wrote stays as it was written.
    resource = kept.resource()
    assert resource is not None
    assert resource["spec"] == made["spec"]


async def test_null_is_taken_for_nothing(kept: Kept) -> None:
    """As clients in Go and Java write what they have no value for."""
    await kept.start()
    made = kept.double.create(katib(nasConfig=None, maxFailedTrialCount=None, trialTemplate=None))
    assert "nasConfig" not in made["spec"]
    state = await kept.until_made()
    assert state.spec.nas is None


async def test_an_edited_object_is_an_edited_experiment(kept: Kept) -> None:
    await kept.start()
    kept.double.create(katib())
    await kept.until_made()
    await kept.patch({"spec": {"maxTrialCount": 9, "objective": {"goal": None}}})

    async def edited() -> bool:
        state = await kept.living()
        return state is not None and state.spec.max_trial_count == 9

    await until(edited, "the budget is larger")
    state = await kept.living()
    assert state is not None
    assert state.spec.objective.goal is None
    assert state.generation == 2


async def test_an_edit_over_http_is_shown_in_the_object_and_does_not_come_back(kept: Kept) -> None:
    await kept.start()
    kept.double.create(katib())
    await kept.until_made()
    await kept.over_http(maxTrialCount=7)

    def budget() -> int:
        resource = kept.resource()
        assert resource is not None
        return int(resource["spec"]["maxTrialCount"])

    await until(lambda: budget() == 7, "the object has the new budget")
    await at_rest(kept)
    state = await kept.living()
    assert state is not None
    assert (state.revision, state.spec.max_trial_count) == (2, 7)
    # Going back to an earlier value is an edit as well.
    await kept.patch({"spec": {"maxTrialCount": 5}})

    async def back() -> bool:
        state = await kept.living()
        return state is not None and state.spec.max_trial_count == 5

    await until(back, "the earlier budget")


async def test_a_deleted_object_is_a_deleted_experiment(kept: Kept) -> None:
    await kept.start()
    kept.double.create(katib())
    await kept.until_made()
    await kept.delete()
    await kept.until_gone()
    await until(lambda: not kept.links(), "nothing is kept of it")


async def test_an_experiment_made_over_http_is_an_object_and_goes_with_it(kept: Kept) -> None:
    await kept.start()
    state = await kept.world.apply()
    await until(lambda: kept.last() == "Created", "its object")
    resource = kept.resource()
    assert resource is not None
    assert resource["metadata"]["annotations"] == {"trialbus.io/uid": state.id}
    assert len(await kept.world.experiments()) == 1
    await kept.delete_over_http()
    await kept.until_gone()
    if not isinstance(kept.double, Beside):  # where nobody collects
        await until(lambda: kept.resource(kind="suggestions") is None, "its Suggestion has gone")


async def test_deleting_the_object_of_an_experiment_made_over_http_deletes_it(kept: Kept) -> None:
    await kept.start()
    await kept.world.apply()
    await until(lambda: kept.last() == "Created", "its object")
    await kept.delete()
    await kept.until_gone()


async def test_an_exported_object_that_is_applied_again_is_a_new_experiment(kept: Kept) -> None:
    """Its annotation names an experiment that has been deleted since."""
    await kept.start()
    state = await kept.world.apply()
    await until(lambda: kept.last() == "Created", "its object")
    resource = kept.resource()
    assert resource is not None
    exported = copy.deepcopy(resource)
    await kept.delete()
    await kept.until_gone()
    exported["metadata"] = {
        name: exported["metadata"][name] for name in ("name", "namespace", "annotations")
    }
    kept.double.create({**exported, "status": {}})
    again = await kept.until_made()
    assert again.id != state.id


async def test_trials_are_objects_of_their_experiment(kept: Kept) -> None:
    await kept.start()
    made = kept.double.create(katib())
    state = await kept.until_made()
    trials = [trial_of(state, index) for index in range(3)]
    state = await kept.world.change(
        state, open={str(it.index): open_trial() for it in trials}, next_index=3
    )
    await kept.world.put(*(TRIAL.encode(it) for it in trials), into=TRIALS.name)
    await kept.world.tell(state)
    await until(lambda: len(kept.double.list("trials.kubeflow.org", "lab")) == 3, "three trials")
    shown = kept.resource(trials[0].name, kind="trials.kubeflow.org")
    assert shown is not None
    assert shown["metadata"]["labels"] == {"katib.kubeflow.org/experiment": "tune"}
    assert shown["metadata"]["ownerReferences"][0]["uid"] == made["metadata"]["uid"]
    assert shown["spec"]["parameterAssignments"] == [{"name": "--lr", "value": "0.5"}]
    await until(lambda: kept.status().get("trials") == 3, "they are counted")
    assert kept.status()["pendingTrialList"] == sorted(
        (it.name for it in trials), key=[it.name for it in trials].index
    )
    # It ends: the object says so.
    ended = await end_trial(kept, state, trials[0].index)
    await until(lambda: last_of(kept, ended) == "Succeeded", "its end is shown")


async def test_the_object_of_a_trial_that_cannot_be_read_stays(kept: Kept) -> None:
    stop = await kept.start()
    kept.double.create(katib())
    state = await kept.until_made()
    trials = [trial_of(state, index) for index in range(2)]
    state = await kept.world.change(
        state, open={str(it.index): open_trial() for it in trials}, next_index=2
    )
    readable, broken = [TRIAL.encode(it) for it in trials]
    await kept.world.put(readable, broken, into=TRIALS.name)
    await kept.world.tell(state)
    await until(lambda: len(kept.double.list("trials.kubeflow.org", "lab")) == 2, "two trials")
    spoilt = {**broken, "version": broken["version"] + 1, "phase": "Nonsense"}
    tests = kept.world.store.client("tests")
    await tests.commit(TRIALS.name, [Write(base=broken, document=spoilt)])
    # A gateway that knows nothing yet compares all of them.
    await stop()
    extra = copy.deepcopy(kept.resource(trials[0].name, kind="trials.kubeflow.org"))
    assert extra is not None
    extra["metadata"] = {
        **{key: extra["metadata"][key] for key in ("namespace", "labels", "ownerReferences")},
        "name": "of-nobody",
    }
    kept.double.create(extra)
    await kept.start()
    await until(
        lambda: kept.resource("of-nobody", kind="trials.kubeflow.org") is None, "the other goes"
    )
    assert kept.resource(trials[1].name, kind="trials.kubeflow.org") is not None


async def end_trial(kept: Kept, state: Experiment, index: int) -> str:
    document = TRIAL.encode(trial_of(state, index))
    conditions = set_condition(
        (), "Succeeded", reason="TrialSucceeded", message="done", now=state.created_at
    )
    over = trial_of(
        state,
        index,
        version=2,
        phase=TrialPhase.SUCCEEDED,
        conditions=conditions,
        completed_at=state.created_at + 9,
        finished=1,
    )
    tests = kept.world.store.client("tests")
    await tests.commit(TRIALS.name, [Write(base=document, document=TRIAL.encode(over))])
    still = {str(it): open_trial() for it in range(state.next_index) if it != index}
    changed = await kept.world.change(state, open=still, finished=1)
    await kept.world.tell(changed)
    return over.name


async def test_the_end_is_shown_after_all_trials(kept: Kept) -> None:
    """Who waits for it reads the trials next."""
    await kept.start()
    kept.double.create(katib())
    state = await kept.until_made()
    over = [
        trial_of(state, index, phase=TrialPhase.SUCCEEDED, finished=index + 1, completed_at=9.0)
        for index in range(3)
    ]
    await kept.world.put(*(TRIAL.encode(it) for it in over), into=TRIALS.name)
    ended = set_condition(state.conditions, "Succeeded", reason="x", message="y", now=9.0)
    # No event tells of the trials.
    await kept.world.change(state, next_index=3, finished=3, conditions=ended)
    await kept.patch({"metadata": {"labels": {"a": "b"}}})
    await until(lambda: kept.last() == "Succeeded", "its end")
    trials = kept.double.list("trials.kubeflow.org", "lab")
    assert ["completionTime" in (it.get("status") or {}) for it in trials] == [True] * 3


def last_of(kept: Kept, trial: str) -> str:
    shown = kept.resource(trial, kind="trials.kubeflow.org") or {}
    conditions = (shown.get("status") or {}).get("conditions") or [{"type": ""}]
    return str(conditions[-1]["type"])


async def test_what_the_gateway_refuses_says_why_until_it_is_corrected(kept: Kept) -> None:
    await kept.start()
    wrong = katib(algorithm={"algorithmName": "randm"}, earlyStopping={"algorithmName": "none"})
    kept.double.create(wrong)
    await until(lambda: kept.last() == "Failed", "it is refused")
    [condition] = kept.status()["conditions"]
    assert condition["reason"] == "ExperimentFailed"
    # Every problem, each with its field.
    assert "spec.algorithm.algorithmName: there is no algorithm randm" in condition["message"]
    assert "spec.earlyStopping.algorithmName" in condition["message"]
    [event] = [it for it in kept.double.list("events") if it["type"] == "Warning"]
    assert event["involvedObject"]["name"] == "tune"
    assert await kept.world.experiments() == []
    await at_rest(kept)
    await kept.delete()
    kept.double.create(katib())
    await kept.until_made()
    assert kept.last() == "Created"


async def test_what_lacked_something_is_taken_once_that_is_there(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = [Refused([Problem(field="spec.trialTemplate", message="no such ConfigMap")])]
    asked: list[str] = []
    apply = Commanding.apply

    async def lacking(commanding: Commanding, *args: Any, **options: Any) -> Any:
        asked.append("")
        if refusing:
            raise refusing[0]
        return await apply(commanding, *args, **options)

    monkeypatch.setattr(Commanding, "apply", lacking)
    await kept.start()
    kept.double.create(katib())
    await until(lambda: kept.last() == "Failed", "it is refused")
    told = kept.status()
    await until(lambda: len(asked) >= 3, "it is judged again")
    # The same judgement is no news.
    assert kept.status() == told
    assert len([it for it in kept.double.list("events") if it["type"] == "Warning"]) == 1
    refusing.clear()
    await kept.until_made()


async def test_a_refused_edit_is_told_and_the_experiment_goes_on(kept: Kept) -> None:
    await kept.start()
    kept.double.create(katib())
    await kept.until_made()
    asked = {"metadata": {"annotations": {"trialbus.io/trials-by": "worker"}}}
    await kept.patch(asked)
    await until(lambda: "EditRefused" in types(kept), "the edit is refused")
    assert types(kept)[-1] == "Created"
    await kept.patch({"metadata": {"annotations": {"trialbus.io/trials-by": None}}})
    await until(lambda: types(kept) == ["Created"], "the edit was taken back")


def types(kept: Kept) -> list[str]:
    return [str(it["type"]) for it in kept.status().get("conditions") or ()]


async def test_what_katib_has_finished_is_not_run_again(kept: Kept) -> None:
    kept.double.create(katib())
    over = [{"type": "Succeeded", "status": "True", "reason": "ExperimentGoalReached"}]
    kept.double.set_status("experiments.kubeflow.org", "lab", "tune", {"conditions": over})
    kept.double.create(katib("fresh"))
    await kept.start()
    await kept.until_made("fresh")
    await at_rest(kept)
    assert await kept.living("tune") is None
    assert kept.status("tune")["conditions"] == over


async def test_katibs_finalizer_holds_nothing_up(kept: Kept) -> None:
    obj = katib()
    obj["metadata"]["finalizers"] = ["update-prometheus-metrics"]
    kept.double.create(obj)
    await kept.start()
    await kept.until_made()
    await kept.delete()
    await kept.until_gone()
    assert await kept.living() is None


async def test_an_experiment_and_an_object_of_the_same_name_become_one(kept: Kept) -> None:
    state = await kept.world.apply()
    kept.double.create(katib(maxTrialCount=6))
    await kept.start()
    await until(lambda: kept.last() == "Created", "it is shown")
    living = await kept.living()
    assert living is not None
    assert (living.id, living.spec.max_trial_count) == (state.id, 6)
