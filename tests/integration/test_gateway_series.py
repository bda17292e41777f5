"""Prometheus' read API of the gateway: what Grafana and promtool ask, and what it costs."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from trialbus.contracts.collections import CHUNKS, EXPERIMENTS, TRIALS
from trialbus.contracts.documents import CHUNK, EXPERIMENT, TRIAL
from trialbus.kernel.chunks import Chunk, Series
from trialbus.kernel.experiment import Experiment, ExperimentPhase
from trialbus.kernel.ids import chunk_id, run_id, trial_name
from trialbus.kernel.trial import Assignment, Trial, TrialPhase
from trialbus.testkit.access_world import OURS, THEIRS, access_world
from trialbus.testkit.gateway_documents import UID, experiment, opened
from trialbus.testkit.gateway_world import World, gateway_world, trial_of

API = "/prometheus/api/v1"
TUNE = 'namespace="lab",experiment="tune"'
POINT = (Assignment(name="lr", value="0.25"),)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway_world(tmp_path) as made:
        yield made


def ended(state: Experiment, index: int, value: float | None, **changes: Any) -> Trial:
    """The n-th to be opened is the n-th to end: opened at 100 + 10 n, it takes ten seconds."""
    at = 110.0 + 10 * index
    told = {"phase": TrialPhase.SUCCEEDED, "finished": index + 1, "value": value,
            "created_at": at - 10, "started_at": at - 8, "completed_at": at,
            "assignments": POINT}  # fmt: skip
    return trial_of(state, index, **{**told, **changes})


async def tuned(world: World, values: list[float], **changes: Any) -> Experiment:
    """`lab/tune` with as many ended trials, the maximum counts, and one that is open."""
    count = len(values)
    told = {"finished": count, "next_index": count + 1, "open": {str(count): opened()}}
    state = experiment(**{**told, **changes})
    await world.put(EXPERIMENT.encode(state), into=EXPERIMENTS.name)
    trials = [ended(state, index, value) for index, value in enumerate(values)]
    trials.append(trial_of(state, count, created_at=100.0 + 10 * count, assignments=POINT))
    await world.put(*map(TRIAL.encode, trials), into=TRIALS.name)
    return state


async def asked(world: World, call: str, status: int = 200, **given: Any) -> Any:
    params = {name.replace("match", "match[]"): value for name, value in given.items()}
    answer = await world.client.get(f"{API}/{call}", params=params)
    assert answer.status_code == status, answer.text
    return answer.json()


async def instant(world: World, query: str, time: float = 1000.0) -> dict[str, float]:
    """By the labels that are not the experiment's, in their order."""
    found = await asked(world, "query", query=query, time=time)
    assert found["data"]["resultType"] == "vector"
    return {shown(it["metric"]): float(it["value"][1]) for it in found["data"]["result"]}


def shown(labels: dict[str, str]) -> str:
    hidden = ("__name__", "namespace", "experiment")
    return " ".join(labels[name] for name in sorted(labels) if name not in hidden)


async def over_time(world: World, query: str, **given: Any) -> Any:
    given = {"start": 100, "end": 160, "step": "10s", **given}
    found = await asked(world, "query_range", query=query, **given)
    assert found["data"]["resultType"] == "matrix"
    return {
        shown(it["metric"]): [(at, float(value)) for at, value in it["values"]]
        for it in found["data"]["result"]
    }


# What an experiment came to ----------------------------------------------------------------------


async def test_the_best_so_far_over_time(world: World) -> None:
    await tuned(world, [0.5, 0.3, 0.8])
    found = await over_time(world, f"experiment_best_value{{{TUNE}}}")
    assert found == {
        "accuracy": [(110, 0.5), (120, 0.5), (130, 0.8), (140, 0.8), (150, 0.8), (160, 0.8)]
    }


async def test_trials_over_time(world: World) -> None:
    await tuned(world, [0.5, 0.3, 0.8])
    found = await over_time(world, f'experiment_trials{{{TUNE},state=~"Succ.*"}}', start=105)
    assert found["Succeeded"] == [(105, 0), (115, 1), (125, 2), (135, 3), (145, 3), (155, 3)]
    open_ = await over_time(world, f"experiment_open_trials{{{TUNE}}}", start=105)
    assert open_[""] == [(105, 1), (115, 1), (125, 1), (135, 1), (145, 1), (155, 1)]


async def test_parameters_and_objectives_of_trials_have_the_same_names(world: World) -> None:
    await tuned(world, [0.5, 0.3])
    names = [trial_name("tune", UID, index) for index in range(3)]
    objective = await instant(world, f"trial_objective{{{TUNE}}}")
    assert objective == {
        f"accuracy Succeeded {names[0]}": 0.5,
        f"accuracy Succeeded {names[1]}": 0.3,
    }
    # Also of the one that is open.
    parameter = await instant(world, f"trial_parameter{{{TUNE}}}")
    assert parameter == {f"lr {name}": 0.25 for name in names}
    one = await instant(world, f'trial_duration_seconds{{{TUNE},trial="{names[1]}"}}')
    assert one == {f"Succeeded {names[1]}": 8.0}


async def test_a_curve_ends_with_its_trial(world: World) -> None:
    state = await tuned(world, [0.5])
    run = run_id(UID, 0, 1)
    series = Series(metric="accuracy", first_step=1, values=(0.1, 0.5), times=(103.0, 107.0))
    chunk = Chunk(
        id=chunk_id(run, 0),
        uid=UID,
        run=run,
        version=1,
        from_byte=0,
        to_byte=9,
        series=(series,),
        summaries=(),
        final=True,
        final_run=run,
        stored_at=108.0,
    )
    await world.put(CHUNK.encode(chunk), into=CHUNKS.name)
    name = trial_name("tune", state.id, 0)
    found = await over_time(world, f"trial_metric{{{TUNE}}}", end=115, step="3")
    assert found == {f"accuracy {name}": [(103, 0.1), (106, 0.1), (109, 0.5)]}
    steps = await over_time(world, f"trial_metric_step{{{TUNE}}}", end=115, step="3")
    assert steps == {f"accuracy {name}": [(103, 1), (106, 1), (109, 2)]}


async def test_a_finished_experiment_is_told_where_it_is_named_or_lived_then(world: World) -> None:
    await tuned(world, [0.5], phase=ExperimentPhase.SUCCEEDED, completed_at=200.0, open={})
    assert await instant(world, "experiment_best_value") == {}
    assert await instant(world, 'experiment_best_value{experiment=~"tu.*"}') == {}
    assert await instant(world, "experiment_best_value", time=150) == {"accuracy": 0.5}
    assert await instant(world, 'experiment_best_value{experiment="tune"}') == {"accuracy": 0.5}
    assert await instant(world, f"experiment_best_value{{{TUNE}}}") == {"accuracy": 0.5}
    assert await instant(world, 'experiment_best_value{experiment="other"}') == {}


# What clients ask at their start -----------------------------------------------------------------


async def test_names_of_labels_and_their_values(world: World) -> None:
    await tuned(world, [0.5])
    data = (await asked(world, "labels", match="experiment_trials"))["data"]
    assert data == ["__name__", "experiment", "namespace", "state"]
    values = await asked(world, "label/__name__/values", match='{__name__=~"trial_.*"}')
    assert "trial_metric" in values["data"]
    assert (await asked(world, "label/namespace/values"))["data"] == ["lab"]
    trials = await asked(world, "label/trial/values", match=f"trial_metric{{{TUNE}}}")
    assert trials["data"] == sorted(trial_name("tune", UID, index) for index in range(2))
    parameters = await asked(world, "label/parameter/values")
    assert parameters["data"] == ["lr"]
    series = await asked(world, "series", match=f"experiment_goal{{{TUNE}}}")
    assert series["data"] == [
        {"__name__": "experiment_goal", "namespace": "lab", "experiment": "tune",
         "metric": "accuracy"}
    ]  # fmt: skip


async def test_a_form_asks_as_a_query_does(world: World) -> None:
    for form in ({"query": "1+1", "time": "4"}, {"query": "vector(1)"}):
        answer = await world.client.post(f"{API}/query", data=form)
        assert answer.status_code == 200
        assert answer.json()["status"] == "success"
    other = await world.client.post(f"{API}/query", json={"query": "1"})
    assert other.status_code == 400
    assert other.json()["errorType"] == "bad_data"


# Limits ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "given", "status", "kind"),
    [
        ("query", {"query": "sum(x)"}, 400, "bad_data"),
        ("query", {}, 400, "bad_data"),
        ("query", {"query": "x", "time": "noon"}, 400, "bad_data"),
        ("query", {"query": "x", "made": "up"}, 400, "bad_data"),
        ("query_range", {"query": "x", "start": 5, "end": 4, "step": 1}, 400, "bad_data"),
        ("query_range", {"query": "x", "start": 0, "end": 4, "step": 0}, 400, "bad_data"),
        ("query_range", {"query": "x", "start": 0, "end": 11_000, "step": 1}, 400, "bad_data"),
        ("series", {}, 400, "bad_data"),
        ("rules", {}, 404, "not_found"),
    ],
)
async def test_failures_are_told_as_prometheus_tells_them(
    world: World, call: str, given: dict[str, Any], status: int, kind: str
) -> None:
    found = await asked(world, call, status, **given)
    assert found["status"] == "error"
    assert found["errorType"] == kind
    assert found["error"]


async def test_too_many_experiments_are_refused_with_what_to_add(world: World) -> None:
    many = [experiment(id=f"u{number}", name=f"e{number}", alive_name=f"lab/e{number}", version=1)
            for number in range(201)]  # fmt: skip
    await world.put(*map(EXPERIMENT.encode, many), into=EXPERIMENTS.name)
    found = await asked(world, "query", 422, query='experiment_info{namespace="lab"}')
    assert found["errorType"] == "execution"
    assert 'add the matcher experiment="..."' in found["error"]
    one = await asked(world, "query", query='experiment_info{experiment="e7"}')
    assert len(one["data"]["result"]) == 1
    # Names are listed all the same, as far as there is room.
    names = await asked(world, "label/experiment/values")
    assert len(names["data"]) == 200
    assert names["warnings"] == ["only 200 experiments are listed"]


async def test_of_many_trials_a_part_is_told_with_the_best_and_a_warning(world: World) -> None:
    values = [0.1] * 2_500
    values[6] = 0.9
    await tuned(world, values)
    found = await asked(world, "query", query=f"trial_objective{{{TUNE}}}", time=1e6)
    told = {it["metric"]["trial"]: float(it["value"][1]) for it in found["data"]["result"]}
    assert len(told) == 1_251
    assert told[trial_name("tune", UID, 6)] == 0.9
    assert "1251 of 2500 trials are told" in found["warnings"][0]
    named = trial_name("tune", UID, 2)
    one = await asked(world, "query", query=f'trial_objective{{{TUNE},trial="{named}"}}', time=1e6)
    assert len(one["data"]["result"]) == 1
    assert "warnings" not in one


async def test_too_many_points_are_refused(world: World) -> None:
    await tuned(world, [0.1] * 300)
    given = {"start": 5000, "end": 15_000, "step": 1}
    found = await asked(world, "query_range", 422, query=f"trial_objective{{{TUNE}}}", **given)
    assert "more than 250000 points" in found["error"]


async def test_ended_trials_are_read_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    state = await tuned(world, [0.1, 0.2, 0.3])
    read: list[int] = []
    find = world.gateway_store.find

    async def counting(collection: str, query: Any) -> Any:
        found = await find(collection, query)
        if collection == TRIALS.name:
            read.append(len(found))
        return found

    monkeypatch.setattr(world.gateway_store, "find", counting)
    query = f"experiment_best_value{{{TUNE}}}"
    assert await instant(world, query) == {"accuracy": 0.3}
    assert await instant(world, query) == {"accuracy": 0.3}
    assert sum(read) == 3
    state = await world.change(state, finished=5, next_index=6)
    more = [ended(state, index, 0.5 + index, finished=index) for index in (4, 5)]
    await world.put(*map(TRIAL.encode, more), into=TRIALS.name)
    assert await instant(world, query) == {"accuracy": 5.5}
    assert sum(read) == 5


# Tenants -----------------------------------------------------------------------------------------


async def test_a_caller_gets_the_series_of_its_namespaces_only(tmp_path: Path) -> None:
    async with access_world(tmp_path) as access:
        reader, everybody = access.tokens["reader"], access.tokens["admin"]
        for query in ("experiment_info", "trial_parameter", 'experiment_info{experiment="tune"}'):
            path = f"{API}/query?time=9e9&query={query}"
            status, text = await access.call(reader, "GET", path)
            assert (status, OURS in text, THEIRS in text) == (200, True, False)
            status, text = await access.call(everybody, "GET", path)
            assert (status, OURS in text, THEIRS in text) == (200, True, True)
        # What an administrator has just read is not told to others.
        path = f'{API}/query?query=experiment_trials{{namespace="{THEIRS}"}}'
        assert '"result":[{' in (await access.call(everybody, "GET", path))[1]
        assert '"result":[]' in (await access.call(reader, "GET", path))[1]
        status, text = await access.call(None, "GET", path)
        assert status == 401
        assert '"errorType":"unauthorized"' in text
