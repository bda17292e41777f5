"""Get and list in the Kubernetes-style API, against a gateway over stores in memory."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from trialbus.contracts.collections import RUNS, TRIALS
from trialbus.contracts.documents import RUN, TRIAL
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.trial import TrialPhase
from trialbus.testkit.gateway_world import (
    World,
    gateway_world,
    open_trial,
    run_of,
    running_trial,
    trial_of,
)

ROOT = "/apis/kubeflow.org/v1beta1"
LAB = f"{ROOT}/namespaces/lab"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway_world(tmp_path) as made:
        yield made


async def labelled(world: World, name: str, **labels: str) -> Experiment:
    state = await world.apply(name)
    metadata = {**state.source["metadata"], "labels": labels}
    return await world.change(state, source={**state.source, "metadata": metadata})


async def with_trials(world: World, name: str, count: int) -> Experiment:
    """Of which all ended but the last, which runs."""
    state = await world.apply(name)
    last = count - 1
    trials = [
        trial_of(state, index, phase=TrialPhase.SUCCEEDED, finished=index + 1, completed_at=9.0)
        for index in range(last)
    ]
    trials.append(trial_of(state, last))
    await world.put(*map(TRIAL.encode, trials), into=TRIALS.name)
    await world.put(RUN.encode(run_of(state, last)), into=RUNS.name)
    changes = {"open": {str(last): open_trial()}, "next_index": count, "finished": last}
    return await world.change(state, **changes)


def names(found: dict[str, Any]) -> list[str]:
    return [item["metadata"]["name"] for item in found["items"]]


async def test_an_experiment_is_its_view_with_a_version_that_stays(world: World) -> None:
    await running_trial(world)
    found = await world.get(f"{LAB}/experiments/tune")
    assert found["kind"] == "Experiment"
    assert found["status"]["trialsRunning"] == 1
    assert int(found["metadata"]["resourceVersion"]) > 2**50
    assert await world.get(f"{LAB}/experiments/tune") == found
    assert await world.get(f"{LAB}/experiments/tune/status") == found
    [listed] = (await world.get(f"{LAB}/experiments"))["items"]
    assert listed == found


async def test_a_change_gives_a_higher_version_and_no_edit_if_it_is_of_the_status(
    world: World,
) -> None:
    state, _ = await running_trial(world)
    before = await world.get(f"{LAB}/experiments/tune")
    await world.change(state, open={}, next_index=1)
    after = await world.get(f"{LAB}/experiments/tune")
    old, new = (it["metadata"]["resourceVersion"] for it in (before, after))
    assert int(new) > int(old)
    assert not world.changes.edited_since(after, old)


async def test_trials_and_suggestions_are_found_by_name(world: World) -> None:
    _, trial = await running_trial(world)
    found = await world.get(f"{LAB}/trials/{trial.name}")
    assert found["status"]["conditions"][-1]["type"] == "Running"
    assert (await world.get(f"{LAB}/trials"))["items"] == [found]
    suggestion = await world.get(f"{LAB}/suggestions/tune")
    assert [it["name"] for it in suggestion["status"]["suggestions"]] == [trial.name]
    assert (await world.get(f"{LAB}/suggestions"))["items"] == [suggestion]


@pytest.mark.parametrize(
    ("path", "code", "message"),
    [
        (f"{LAB}/experiments/nope", 404, 'experiments.kubeflow.org "nope" not found'),
        (f"{LAB}/trials/nope", 404, 'trials.kubeflow.org "nope" not found'),
        (f"{LAB}/suggestions/no.pe", 404, 'suggestions.kubeflow.org "no.pe" not found'),
        (f"{LAB}/others/nope", 404, "the server could not find the requested resource"),
        (f"{ROOT}/others", 404, "the server could not find the requested resource"),
        ("/apis/other.org/v1", 404, "the server could not find the requested resource"),
        (f"{LAB}/trials?labelSelector=a%20b", 400, "unable to parse requirement: found 'b'"),
        (f"{LAB}/trials?fieldSelector=spec.x%3D1", 400, "field label not supported: spec.x"),
        (f"{LAB}/trials?limit=x", 400, "limit: not a number: 'x'"),
        (f"{LAB}/trials?continue=x", 400, "continue key is not valid"),
        (f"{LAB}/trials?resourceVersion=x", 400, "invalid resource version"),
        (f"{LAB}/trials?resourceVersionMatch=Exact", 422, "forbidden unless resourceVersion"),
        (f"{LAB}/trials?watch=1&sendInitialEvents=true", 422, "requires NotOlderThan"),
        (f"{LAB}/trials?resourceVersion=7&resourceVersionMatch=Exact", 410, "too old: 7"),
    ],
)
async def test_failures_are_status_objects(
    world: World, path: str, code: int, message: str
) -> None:
    found = await world.get(path, code)
    assert (found["kind"], found["status"], found["code"]) == ("Status", "Failure", code)
    assert message in found["message"]


async def test_a_trial_is_in_its_own_namespace_only(world: World) -> None:
    _, trial = await running_trial(world)
    found = await world.get(f"{ROOT}/namespaces/other/trials/{trial.name}", 404)
    assert found["reason"] == "NotFound"


async def test_a_list_is_in_the_order_of_names_over_all_namespaces(world: World) -> None:
    for namespace, name in (("lab", "b"), ("den", "c"), ("lab", "a"), ("lab2", "d")):
        await world.apply(name, namespace)
    assert names(await world.get(f"{ROOT}/experiments")) == ["c", "a", "b", "d"]
    assert names(await world.get(f"{LAB}/experiments")) == ["a", "b"]
    assert names(await world.get(f"{LAB}/suggestions")) == ["a", "b"]
    by_field = f"{ROOT}/experiments?fieldSelector=metadata.namespace%3Dlab,metadata.name!%3Da"
    assert names(await world.get(by_field)) == ["b"]


async def test_labels_select(world: World) -> None:
    await labelled(world, "a", team="red")
    await labelled(world, "b", team="blue")
    await world.apply("c")
    for selector, expected in (
        ("team%3Dred", ["a"]),
        ("team!%3Dred", ["b", "c"]),
        ("team", ["a", "b"]),
        ("!team", ["c"]),
        ("team+in+(red,blue),team+notin+(red)", ["b"]),
    ):
        found = await world.get(f"{LAB}/experiments?labelSelector={selector}")
        assert names(found) == expected, selector


async def test_trials_of_one_experiment_are_selected_by_its_label(world: World) -> None:
    first, second = await with_trials(world, "a", 2), await with_trials(world, "b", 3)
    label = "katib.kubeflow.org%2Fexperiment"
    found = await world.get(f"{LAB}/trials?labelSelector={label}%3Db")
    assert names(found) == [trial_of(second, index).name for index in range(3)]
    other = trial_of(first, 1).name
    found = await world.get(f"{LAB}/trials?fieldSelector=metadata.name%3D{other}")
    assert names(found) == [other]
    both = f"labelSelector={label}%3Db&fieldSelector=metadata.name%3D{other}"
    assert names(await world.get(f"{LAB}/trials?{both}")) == []


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 6, 7, 50])
async def test_pages_of_trials_are_all_of_them_once(world: World, limit: int) -> None:
    for name, count in (("a", 3), ("b", 1), ("c", 3)):
        await with_trials(world, name, count)
    await world.apply("d")
    whole = names(await world.get(f"{ROOT}/trials"))
    seen, token, version = list[str](), "", ""
    for page in range(20):
        found = await world.get(f"{ROOT}/trials?limit={limit}&continue={token}")
        assert len(found["items"]) <= limit
        assert page == 0 or found["metadata"]["resourceVersion"] == version
        version, token = found["metadata"]["resourceVersion"], found["metadata"].get("continue", "")
        seen += names(found)
        if not token:
            break
    assert (len(seen), seen) == (7, whole)


async def test_pages_go_on_after_what_was_deleted_meanwhile(world: World) -> None:
    states = [await world.apply(name) for name in ("a", "b", "c")]
    first = await world.get(f"{LAB}/experiments?limit=2")
    await world.change(states[1], alive_name=None)
    token = first["metadata"]["continue"]
    assert names(await world.get(f"{LAB}/experiments?limit=2&continue={token}")) == ["c"]


async def test_pages_of_trials_go_on_when_their_experiment_is_deleted_amid_them(
    world: World,
) -> None:
    first, second = await with_trials(world, "a", 3), await with_trials(world, "b", 3)
    page = await world.get(f"{LAB}/trials?limit=2")
    await world.change(first, alive_name=None)
    token = page["metadata"]["continue"]
    rest = await world.get(f"{LAB}/trials?continue={token}")
    assert names(rest) == [trial_of(second, index).name for index in range(3)]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        ["7", "lab/a"],
        ["\u0663", "lab/a", 1],
        ["9" * 30, "lab/a", 1],
        ["7", "lab/\ud800", 1],
        ["7", "lab/a", -1],
        ["7", "lab/a", 2**70],
        ["7", "lab/a", 1.5],
    ],
)
async def test_a_token_that_nobody_gave_out_is_refused(world: World, fields: Any) -> None:
    token = base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()
    found = await world.get(f"{LAB}/trials?continue={token}", 400)
    assert found["message"] == "continue key is not valid"


async def test_a_token_of_another_gateway_has_expired(world: World) -> None:
    await world.apply("a")
    await world.apply("b")
    token = (await world.get(f"{LAB}/experiments?limit=1"))["metadata"]["continue"]
    index = await world.changes.index()
    index.end()
    found = await world.get(f"{LAB}/experiments?limit=1&continue={token}", 410)
    assert found["reason"] == "Expired"


async def test_tables_have_katibs_columns(world: World) -> None:
    _, trial = await running_trial(world)
    for resource, columns, cells in (
        ("experiments", ["Name", "Type", "Status", "Age"], ["tune", "Created", "True", "0s"]),
        (
            "suggestions",
            ["Name", "Type", "Status", "Requested", "Assigned", "Age"],
            ["tune", "Running", "True", "2", "1", "0s"],
        ),
        ("trials", ["Name", "Type", "Status", "Age"], [trial.name, "Running", "True", "0s"]),
    ):
        answer = await world.client.get(f"{LAB}/{resource}", headers={"accept": TABLE})
        table = answer.json()
        assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
        assert [it["name"] for it in table["columnDefinitions"]] == columns
        [row] = table["rows"]
        assert row["cells"][:-1] == cells[:-1]
        assert row["object"]["kind"] == "PartialObjectMetadata"
        assert row["object"]["metadata"]["namespace"] == "lab"


@pytest.mark.parametrize(
    ("accept", "query", "kind", "in_row"),
    [
        (TABLE, "?includeObject=None", "Table", None),
        (TABLE, "?includeObject=Object", "Table", "Experiment"),
        (TABLE.replace("v=v1;", "v=v1beta1;"), "", "Table", "PartialObjectMetadata"),
        ("application/json;as=Table;v=v2;g=meta.k8s.io,application/json", "", "Experiment", None),
        ("application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", "",
         "PartialObjectMetadata", None),
        ("application/vnd.kubernetes.protobuf,application/json", "", "Experiment", None),
        ("*/*", "", "Experiment", None),
    ],
)  # fmt: skip
async def test_the_form_is_the_first_that_is_known(
    world: World, accept: str, query: str, kind: str, in_row: str | None
) -> None:
    await world.apply()
    path = f"{LAB}/experiments/tune{query}"
    found = (await world.client.get(path, headers={"accept": accept})).json()
    assert found["kind"] == kind
    if kind == "Table":
        assert found["rows"][0].get("object", {}).get("kind") == in_row


async def test_a_list_of_metadata_has_no_specs(world: World) -> None:
    await world.apply()
    accept = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
    found = (await world.client.get(f"{LAB}/experiments", headers={"accept": accept})).json()
    assert found["kind"] == "PartialObjectMetadataList"
    assert [set(item) for item in found["items"]] == [{"kind", "apiVersion", "metadata"}]


async def test_forms_that_nobody_has_are_refused(world: World) -> None:
    headers = {"accept": "application/vnd.kubernetes.protobuf"}
    answer = await world.client.get(f"{LAB}/experiments", headers=headers)
    assert (answer.status_code, answer.json()["reason"]) == (406, "NotAcceptable")
    bad = await world.client.get(f"{LAB}/experiments?includeObject=All", headers={"accept": TABLE})
    assert bad.status_code == 400


async def test_a_list_costs_reads_by_groups(world: World) -> None:
    for index in range(20):
        await world.apply(f"e-{index}")
    await world.get(f"{LAB}/experiments")
    before = world.store.calls.total()
    await world.client.get(f"{LAB}/experiments", headers={"accept": TABLE})
    assert world.store.calls.total() - before <= 5


async def test_while_the_store_is_away_it_is_said(world: World) -> None:
    await world.apply()
    world.gateway_store.reachable = False
    found = await world.get(f"{LAB}/experiments", 503)
    assert found["reason"] == "ServiceUnavailable"
