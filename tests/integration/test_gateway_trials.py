"""Lists of trials: filtered and sorted by the store, in pages, as objects and as rows."""

import math
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from trialbus.contracts.collections import EXPERIMENTS, RUNS, TRIALS
from trialbus.contracts.documents import EXPERIMENT, RUN, TRIAL
from trialbus.kernel.experiment import Experiment, ExperimentPhase, OpenState
from trialbus.kernel.objective import ObjectiveType
from trialbus.kernel.trial import MetricValues, Trial, TrialPhase
from trialbus.testkit.gateway_world import (
    PATH,
    World,
    gateway_world,
    open_trial,
    run_of,
    trial_of,
)

LIST = f"{PATH}/trials"
ENDS = [it for it in TrialPhase if it is not TrialPhase.CREATED]
VALUES = [0.5, 0.5, 2.0, -1.5, math.nan, None, math.inf, 0.0, -math.inf, 0.25]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway_world(tmp_path) as made:
        yield made


async def filled(world: World, count: int = 40) -> tuple[Experiment, list[Trial]]:
    """Ended trials with all kinds of values, and three open ones: running, pending, paused."""
    draw = Random(7)
    state = await world.apply()
    order = draw.sample(range(1, count + 1), count)
    trials = [
        trial_of(
            state,
            index,
            phase=draw.choice(ENDS),
            value=draw.choice(VALUES),
            finished=order[index],
            started_at=state.created_at + index,
            completed_at=state.created_at + 2 * index + 1,
        )
        for index in range(count)
    ]
    trials += [trial_of(state, index) for index in range(count, count + 3)]
    paused = replace(open_trial(), state=OpenState.PAUSED)
    open_ = {str(count): open_trial(), str(count + 1): open_trial(), str(count + 2): paused}
    state = await world.change(state, open=open_, next_index=count + 3)
    await world.put(*map(TRIAL.encode, trials), into=TRIALS.name)
    await world.put(RUN.encode(run_of(state, count)), into=RUNS.name)
    return state, trials


async def all_pages(world: World, path: str, limit: int) -> list[Any]:
    items, after = [], ""
    while True:
        page = await world.get(f"{path}{'&' if '?' in path else '?'}limit={limit}{after}")
        assert len(page["items"]) <= limit
        items += page["items"]
        if page["next"] is None:
            return items
        after = f"&after={page['next']}"


def state_of(trial: Trial, trials: Sequence[Trial]) -> str:
    if trial.phase is not TrialPhase.CREATED:
        return trial.phase.value
    return ["Running", "Pending", "Paused"][trial.index - len(trials) + 3]


def in_order(trials: Sequence[Trial], sort: str, *, maximize: bool = True) -> list[str]:
    """By Python, all at once."""

    def number(trial: Trial) -> float | None:
        value = trial.value if "value" in sort else trial.finished
        return None if value is None or math.isnan(value) else float(value)

    if "index" in sort:
        ordered = sorted(trials, key=lambda it: it.index, reverse=sort.startswith("-"))
        return [it.name for it in ordered]
    falling = sort.startswith("-") != (maximize and "value" in sort)
    numbers = sorted(
        (it for it in trials if number(it) is not None),
        key=lambda it: (number(it), it.index),
        reverse=falling,
    )
    nans = [it for it in trials if "value" in sort and it.value is not None and number(it) is None]
    known = {it.name for it in [*numbers, *nans]}
    return [it.name for it in [*numbers, *nans, *(it for it in trials if it.name not in known)]]


SORTS = ["index", "-index", "value", "-value", "finished", "-finished"]


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("limit", [1, 7, 500])
async def test_pages_of_sorted_trials_are_complete_and_in_order(
    world: World, sort: str, limit: int
) -> None:
    _, trials = await filled(world)
    found = await all_pages(world, f"{LIST}?sort={sort}&view=table", limit)
    assert [row["trial"] for row in found] == in_order(trials, sort)
    assert world.store.full_scans == []


FILTERS: list[tuple[str, Callable[[Trial, str], bool]]] = [
    ("state=Failed&state=Running", lambda _, state: state in ("Failed", "Running")),
    ("state=Paused,Pending", lambda _, state: state in ("Paused", "Pending")),
    ("state=Succeeded,Killed,Pending", lambda _, s: s in ("Succeeded", "Killed", "Pending")),
    ("indexFrom=10&indexTo=41", lambda it, _: 10 <= it.index <= 41),
    ("state=Running,Pending&indexTo=40", lambda it, _: it.index == 40),
    ("valueFrom=0.25", lambda it, _: it.value is not None and it.value >= 0.25),
    ("valueFrom=-1.5&valueTo=0.5", lambda it, _: it.value is not None and -1.5 <= it.value <= 0.5),
    (
        "state=Killed,Running&valueTo=0.5&indexFrom=3",
        lambda it, state: state == "Killed" and (it.value or 0) <= 0.5 and it.index >= 3
        and it.value is not None,
    ),
]  # fmt: skip


@pytest.mark.parametrize("sort", ["index", "-index", "value", "-finished"])
@pytest.mark.parametrize(("query", "fits"), FILTERS)
async def test_filtered_pages_hold_what_fits_in_order(
    world: World, sort: str, query: str, fits: Callable[[Trial, str], bool]
) -> None:
    _, trials = await filled(world)
    wanted = [it for it in trials if fits(it, state_of(it, trials))]
    assert wanted
    for limit in (2, 100):
        found = await all_pages(world, f"{LIST}?{query}&sort={sort}&view=table", limit)
        assert [row["trial"] for row in found] == in_order(wanted, sort)
    assert world.store.full_scans == []


async def test_a_page_reads_no_more_trials_than_it_shows(world: World) -> None:
    await filled(world, 300)
    seen: list[int] = []
    collection = world.store.collection(TRIALS.name)
    ids_of = collection.ids_of

    def counted(query: Any) -> list[str]:
        found = ids_of(query)
        seen.append(len(found))
        return found

    collection.ids_of = counted  # type: ignore[method-assign]
    for sort in SORTS:
        await world.get(f"{LIST}?sort={sort}&limit=5&state=Succeeded,Failed,Running")
    assert max(seen) <= 6


async def test_the_best_of_a_minimised_objective_is_the_lowest(world: World) -> None:
    state, trials = await filled(world)
    objective = replace(state.spec.objective, type=ObjectiveType.MINIMIZE)
    await world.change(state, spec=replace(state.spec, objective=objective))
    found = await all_pages(world, f"{LIST}?sort=value", 9)
    names = [it["metadata"]["name"] for it in found]
    assert names == in_order(trials, "value", maximize=False)


async def test_a_row_tells_values_that_count_and_times(world: World) -> None:
    state = await world.apply()
    trial = trial_of(
        state,
        0,
        phase=TrialPhase.SUCCEEDED,
        value=0.75,
        finished=1,
        attempt=2,
        labels=(("rung", "1"),),
        started_at=1_700_000_000.0,
        completed_at=1_700_000_002.5,
        observation=(
            MetricValues(name="accuracy", min=0.5, max=0.75, latest=0.5),
            MetricValues(name="genotype", min=math.nan, max=math.nan, latest=math.nan, text="ab"),
            MetricValues(name="loss", min=math.nan, max=math.nan, latest=math.nan),
        ),
    )
    await world.put(TRIAL.encode(trial), into=TRIALS.name)
    [row] = (await world.get(f"{LIST}?view=table"))["items"]
    assert row == {
        "trial": trial.name,
        "namespace": "lab",
        "experiment": "tune",
        "index": 0,
        "attempt": 2,
        "state": "Succeeded",
        "value": 0.75,
        "metrics": {"accuracy": 0.75, "genotype": "ab", "loss": "NaN"},
        "parameters": {"--lr": "0.5"},
        "labels": {"rung": "1"},
        "finished": 1,
        "startTime": "2023-11-14T22:13:20.000Z",
        "completionTime": "2023-11-14T22:13:22.500Z",
        "durationSeconds": 2.5,
    }


async def test_trials_of_all_experiments_are_filtered_too(world: World) -> None:
    names: list[str] = []
    for name in ("a", "b"):
        state = await world.apply(name)
        state = await world.change(
            state, open={"2": open_trial()}, next_index=3, created_at=9.0 - len(names)
        )
        ends = [TrialPhase.FAILED, TrialPhase.SUCCEEDED, TrialPhase.CREATED]
        trials = [trial_of(state, i, phase=phase) for i, phase in enumerate(ends)]
        await world.put(*map(TRIAL.encode, trials), into=TRIALS.name)
        await world.put(RUN.encode(run_of(state, 2)), into=RUNS.name)
        names += [trials[0].name, trials[2].name]
    for limit in (1, 2, 50):
        found = await all_pages(world, "/v1/trials?state=Failed,Running&view=table", limit)
        assert [row["trial"] for row in found] == names
    assert world.store.full_scans == []


@pytest.mark.parametrize(
    "query",
    [
        "state=Done",
        "sort=name",
        "view=tree",
        "valueFrom=x",
        "valueTo=nan",
        "valueFrom=1e999",
        "valueFrom=2&valueTo=1",
        "indexFrom=-1",
        "indexTo=99999999999",
        "indexFrom=5&indexTo=4",
    ],
)
async def test_a_wrong_selection_is_400(world: World, query: str) -> None:
    await world.apply()
    assert (await world.get(f"{LIST}?{query}", 400))["message"]


async def test_a_token_of_another_order_is_400(world: World) -> None:
    await filled(world)
    tokens = {it: (await world.get(f"{LIST}?sort={it}&limit=1"))["next"] for it in SORTS}
    for sort in SORTS:
        for other in SORTS:
            status = 200 if sort == other else 400
            await world.get(f"{LIST}?sort={sort}&limit=1&after={tokens[other]}", status)
    await world.get(f"/v1/trials?limit=1&after={tokens['value']}", 400)
    assert "one experiment" in (await world.get("/v1/trials?sort=value", 400))["message"]


async def kubernetes_pages(world: World, path: str, limit: int) -> list[Any]:
    items, token = [], ""
    while True:
        page = await world.get(f"{path}?limit={limit}&continue={token}")
        items += page["items"]
        token = page["metadata"].get("continue", "")
        if not token:
            return items


async def test_one_unreadable_document_hides_no_other(world: World) -> None:
    state, trials = await filled(world, 3)
    broken = {**TRIAL.encode(trial_of(state, 50)), "phase": "Unheard"}
    worse = {**EXPERIMENT.encode(state), "_id": "x", "alive_name": "lab/x", "phase": 3}
    await world.put({**broken, "version": 1}, into=TRIALS.name)
    await world.put({**worse, "version": 1}, into=EXPERIMENTS.name)
    shown = await all_pages(world, f"{LIST}?view=table", 2)
    assert [row["trial"] for row in shown] == [it.name for it in trials]
    for limit in (1, 10):
        found = await all_pages(world, "/v1/experiments", limit)
        assert [it["metadata"]["name"] for it in found] == ["tune"]
        assert len(await all_pages(world, "/v1/trials", limit)) == len(trials)
    katib = "/apis/kubeflow.org/v1beta1/namespaces/lab"
    for limit in (1, 2, 10):
        for kind, count in (("trials", len(trials)), ("experiments", 1), ("suggestions", 1)):
            assert len(await kubernetes_pages(world, f"{katib}/{kind}", limit)) == count


# Experiments --------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_experiments_are_filtered_and_sorted(world: World, limit: int) -> None:
    template = await world.apply("e0")
    phases = [ExperimentPhase.RUNNING, ExperimentPhase.FAILED, ExperimentPhase.SUCCEEDED]
    labels = [{"team": "a"}, {"team": "b"}, {}]
    states = [
        replace(
            template,
            id=f"u{i}",
            version=1,
            name=f"{'net' if i % 2 else 'tree'}-{i}",
            alive_name=f"lab/n{i}",
            created_at=float(i // 2),
            phase=phases[i % 3],
            source={"metadata": {"labels": labels[i % 3]}, "spec": {}},
        )
        for i in range(9)
    ]
    await world.put(*map(EXPERIMENT.encode, states), into=EXPERIMENTS.name)

    async def names(query: str) -> list[str]:
        found = await all_pages(world, f"/v1/experiments?{query}", limit)
        return [it["metadata"]["name"] for it in found]

    rising = [it.name for it in states]
    assert await names("sort=created") == [*rising, "e0"]
    assert await names("") == ["e0", *reversed(rising)]
    assert await names("namePrefix=net-&sort=created") == ["net-1", "net-3", "net-5", "net-7"]
    assert await names("state=Failed,Succeeded&sort=created") == [
        it.name for i, it in enumerate(states) if i % 3
    ]
    assert await names("labelSelector=team=a&sort=created") == ["tree-0", "net-3", "tree-6"]
    assert await names("labelSelector=!team,team%21%3Db") == ["e0", "tree-8", "net-5", "tree-2"]
    assert await names("labelSelector=team&namePrefix=net&namespace=lab") == [
        "net-7",
        "net-3",
        "net-1",
    ]
    assert world.store.full_scans == []
    for query in ("state=Deleted", "labelSelector=a=b=c", "namePrefix=A", "sort=name"):
        await world.get(f"/v1/experiments?{query}", 400)
