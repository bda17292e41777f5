"""Metrics of one trial and of many, whole, in part and thinned out; the points of an algorithm."""

import math
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from trialbus.contracts.collections import ANSWERS, CHUNKS, TRIALS
from trialbus.contracts.documents import ANSWER, CHUNK, TRIAL
from trialbus.kernel.chunks import Chunk, MetricSummary, Series
from trialbus.kernel.experiment import Experiment, ExperimentPhase
from trialbus.kernel.ids import answer_id, chunk_id, run_id, trial_name
from trialbus.kernel.measurements import Summary
from trialbus.kernel.suggestion import Answer, LookAhead, Mark
from trialbus.kernel.trial import TrialPhase
from trialbus.testkit.gateway_world import PATH, World, gateway_world, trial_of
from trialbus_gateway.app import metrics

SUMMARY = Summary(count=1, min=0.0, max=0.0, latest=0.0, first_at=0.0, latest_at=0.0)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway_world(tmp_path) as made:
        yield made


def chunk(state: Experiment, index: int, number: int, *series: Series) -> dict[str, Any]:
    key = run_id(state.id, index, 1)
    made = Chunk(
        id=chunk_id(key, 10 * number),
        uid=state.id,
        run=key,
        version=1,
        from_byte=10 * number,
        to_byte=10 * number + 10,
        series=series,
        summaries=(MetricSummary(metric="accuracy", summary=SUMMARY),),
        final=False,
        final_run=None,
        stored_at=1.0,
    )
    return CHUNK.encode(made)


def points(metric: str, values: Sequence[float], texts: tuple[str, ...] = ()) -> Series:
    times = tuple(float(place) for place in range(len(values)))
    return Series(metric=metric, first_step=1, values=tuple(values), times=times, texts=texts)


async def curve(world: World, count: int = 3000) -> str:
    """Of a trial: accuracy with one spike, in chunks of 100; loss of which some are texts."""
    state = await world.apply()
    trial = trial_of(state, 0)
    await world.put(TRIAL.encode(trial), into=TRIALS.name)
    values = [99.0 if step == 1234 else math.sin(step / 40) for step in range(1, count + 1)]
    documents = [
        chunk(state, 0, number, points("accuracy", values[100 * number : 100 * number + 100]))
        for number in range(count // 100)
    ]
    loss = points("loss", (1.0, math.nan, 3.0), ("", "what", ""))
    documents.append(chunk(state, 0, count, loss))
    await world.put(*documents, into=CHUNKS.name)
    return f"/v1/trials/{trial.name}/metrics"


async def test_a_curve_is_thinned_out_and_keeps_its_spike(world: World) -> None:
    path = await curve(world)
    [accuracy, loss] = (await world.get(f"{path}?points=60"))["metrics"]
    assert (accuracy["name"], accuracy["count"]) == ("accuracy", 3000)
    assert 25 <= len(accuracy["steps"]) <= 60
    assert (accuracy["steps"][0], accuracy["steps"][-1]) == (1, 3000)
    assert accuracy["values"][accuracy["steps"].index(1234)] == 99.0
    assert (loss["steps"], loss["values"]) == ([1, 2, 3], [1.0, "what", 3.0])
    assert world.store.full_scans == []


async def test_some_metrics_and_some_steps(world: World) -> None:
    path = await curve(world)
    [loss] = (await world.get(f"{path}?metric=loss"))["metrics"]
    assert loss["name"] == "loss"
    [part] = (await world.get(f"{path}?metric=accuracy&from=1233&to=1235"))["metrics"]
    assert part["steps"] == [1233, 1234, 1235]
    assert part["values"][1] == 99.0
    [last] = (await world.get(f"{path}?metric=accuracy&from=2901&points=20"))["metrics"]
    assert last["count"] == 100
    assert (last["steps"][0], last["steps"][-1]) == (2901, 3000)
    both = await world.get(f"{path}?metric=accuracy&metric=nothing")
    assert [it["name"] for it in both["metrics"]] == ["accuracy"]


async def test_what_is_behind_the_last_step_is_not_read(world: World) -> None:
    path = await curve(world, 20_000)
    world.store.calls.clear()
    await world.get(f"{path}?metric=accuracy&to=10")
    assert world.store.calls["chunks", "find"] == 1


async def test_too_many_points_are_told_to_be_cut(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = await curve(world)
    monkeypatch.setattr(metrics, "MAX_POINTS", 500)
    monkeypatch.setattr(metrics, "MAX_POINTS_READ", 1000)
    raw = await world.get(path)
    assert (raw["truncated"], raw["metrics"][0]["count"]) == (True, 600)
    thinned = await world.get(f"{path}?points=10")
    assert (thinned["truncated"], thinned["metrics"][0]["count"]) == (True, 1100)


@pytest.mark.parametrize(
    "query", ["points=1", "points=10001", "from=0", "to=x", "from=3&to=2", "metric="]
)
async def test_a_wrong_wish_is_400(world: World, query: str) -> None:
    path = await curve(world, 100)
    assert (await world.get(f"{path}?{query}", 400))["message"]


async def test_curves_of_the_best_or_the_newest_trials(world: World) -> None:
    state = await world.apply()
    trials = [
        trial_of(state, index, phase=TrialPhase.SUCCEEDED, value=value, finished=index + 1)
        for index, value in enumerate([0.1, 0.9, None, 0.5])
    ]
    await world.put(*map(TRIAL.encode, trials), into=TRIALS.name)
    documents = [
        chunk(state, i, 0, points("accuracy", [i / 1] * 300), points("loss", [0.0] * 300))
        for i in range(4)
    ]
    await world.put(*documents, into=CHUNKS.name)
    newest = await world.get(f"{PATH}/metrics?limit=3&points=10")
    assert [it["index"] for it in newest["items"]] == [3, 2, 1]
    rest = await world.get(f"{PATH}/metrics?limit=3&points=10&after={newest['next']}")
    assert ([it["index"] for it in rest["items"]], rest["next"]) == ([0], None)
    best = await world.get(f"{PATH}/metrics?sort=value&limit=2&points=10")
    assert [(it["trial"], it["value"]) for it in best["items"]] == [
        (trials[1].name, 0.9),
        (trials[3].name, 0.5),
    ]
    for item in [*newest["items"], *best["items"]]:
        # The objective, unless others are named.
        [series] = item["metrics"]
        assert (series["name"], series["count"]) == ("accuracy", 300)
        assert len(series["steps"]) <= 10
    losses = await world.get(f"{PATH}/metrics?metric=loss&metric=accuracy&state=Succeeded")
    assert {len(it["metrics"]) for it in losses["items"]} == {2}
    await world.get(f"{PATH}/metrics?limit=101", 400)
    await world.get(f"{PATH}/metrics?points=1001", 400)


# Points -------------------------------------------------------------------------------------------


def answer(state: Experiment, number: int, first: int, *marks: Mark) -> dict[str, Any]:
    made = Answer(
        id=answer_id(state.id, number),
        uid=state.id,
        version=1,
        number=number,
        first=first,
        watermark=2,
        seed=5,
        points=tuple((f"0.{number}",) for _ in range(3)),
        exhausted=False,
        look_ahead=LookAhead.PENDING,
        refused=None,
        answered_at=1.0,
        took_s=0.5,
        marks=marks,
        settings=(("s", "1"),),
    )
    return ANSWER.encode(made)


async def test_points_became_trials_or_are_ahead_or_were_dropped(world: World) -> None:
    state = await world.apply()
    # The second answer's last point was dropped by a restart: the third begins at its index.
    marks = (Mark(labels=(("rung", "1"),), parent=0), Mark(), Mark())
    await world.put(
        answer(state, 1, 0), answer(state, 2, 3), answer(state, 3, 5, *marks), into=ANSWERS.name
    )
    state = await world.change(state, next_request=5, next_index=6, drawn=8)
    shown = await world.get(f"{PATH}/suggestions")
    assert (shown["trials"], shown["ahead"], shown["algorithm"]) == (6, 2, "random")
    assert [it["number"] for it in shown["items"]] == [3, 2, 1]
    states = [[point["state"] for point in it["points"]] for it in shown["items"]]
    assert states == [["trial", "ahead", "ahead"], ["trial", "trial", "dropped"], ["trial"] * 3]
    first = shown["items"][0]["points"][0]
    assert first == {
        "index": 5,
        "state": "trial",
        "trial": trial_name("tune", state.id, 5),
        "parameters": {"--lr": "0.3"},
        "labels": {"rung": "1"},
        "parent": trial_name("tune", state.id, 0),
    }
    found, after = [], ""
    while after is not None:
        page = await world.get(f"{PATH}/suggestions?limit=1{after and '&after=' + after}")
        found += page["items"]
        after = page["next"]
    assert found == shown["items"]
    await world.change(state, phase=ExperimentPhase.SUCCEEDED)
    ended = await world.get(f"{PATH}/suggestions?limit=2")
    assert [it["state"] for it in ended["items"][0]["points"]] == ["trial", "dropped", "dropped"]
    other = await world.apply("other")
    token = ended["next"]
    await world.get(f"/v1/namespaces/lab/experiments/{other.name}/suggestions?after={token}", 400)
    assert world.store.full_scans == []


async def test_an_experiment_that_has_asked_for_nothing_has_no_points(world: World) -> None:
    state = await world.apply()
    await world.change(state, next_request=1, requests=())
    shown = await world.get(f"{PATH}/suggestions")
    assert (shown["items"], shown["next"], shown["ahead"]) == ([], None, 0)
    await world.get("/v1/namespaces/lab/experiments/nobody/suggestions", 404)
