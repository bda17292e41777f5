"""Pages, progress, explanations and metrics of the gateway."""

import math
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

from trialbus.contracts.collections import (
    CHUNKS,
    EVIDENCE,
    EXPERIMENTS,
    RUNS,
    TRIALS,
)
from trialbus.contracts.documents import CHUNK, EXPERIMENT, RUN, TRIAL, Document, DocumentCodec
from trialbus.kernel.chunks import Chunk, MetricSummary, Series
from trialbus.kernel.evidence import StoppingVerdict, StoredVerdict
from trialbus.kernel.experiment import (
    BestTrial,
    Counts,
    Experiment,
    ExperimentPhase,
)
from trialbus.kernel.ids import chunk_id, run_id
from trialbus.kernel.measurements import Summary
from trialbus.kernel.run import RunPhase
from trialbus.kernel.trial import MetricValues, TrialPhase
from trialbus.testkit.gateway_world import (
    PATH,
    World,
    gateway_world,
    run_of,
    running_trial,
    trial_of,
)
from trialbus_gateway.app.answers import moment


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway_world(tmp_path) as made:
        yield made


# Pages --------------------------------------------------------------------------------------------


async def all_pages(world: World, path: str, limit: int) -> list[Any]:
    items, after = [], ""
    while True:
        page = await world.get(f"{path}limit={limit}{after}")
        assert len(page["items"]) <= limit
        items += page["items"]
        if page["next"] is None:
            return items
        after = f"&after={page['next']}"


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
async def test_pages_of_experiments_are_complete_ordered_and_without_doubles(
    world: World, limit: int
) -> None:
    template = await world.apply("e0")
    times = [5.0, 5.0, 5.0, 5.0, 3.0, 9.0, 9.0, 7.25]
    states = [
        replace(
            template, id=f"u{i}", name=f"n{i}", alive_name=f"lab/n{i}", created_at=at, version=1
        )
        for i, at in enumerate(times)
    ]
    elsewhere = replace(states[0], id="x", namespace="b", name="x", alive_name="b/x")
    tombstone = replace(states[1], id="gone", alive_name=None, phase=ExperimentPhase.DELETED)
    await world.put(
        *(EXPERIMENT.encode(it) for it in [*states, elsewhere, tombstone]), into=EXPERIMENTS.name
    )
    found = [it["metadata"]["name"] for it in await all_pages(world, "/v1/experiments?", limit)]
    assert found == ["e0", "n6", "n5", "n7", "x", "n3", "n2", "n1", "n0", "n4"]
    within = await all_pages(world, "/v1/experiments?namespace=lab&", limit)
    assert [it["metadata"]["name"] for it in within] == [name for name in found if name != "x"]
    assert world.store.full_scans == []


@pytest.mark.parametrize("limit", [1, 2, 5, 100])
async def test_pages_of_trials_are_complete_ordered_and_without_doubles(
    world: World, limit: int
) -> None:
    expected: list[str] = []
    for name, count in (("c", 4), ("b", 0), ("a", 3)):
        state = await world.apply(name)
        trials = [trial_of(state, i) for i in range(count)]
        if trials:
            await world.put(*(TRIAL.encode(it) for it in trials), into=TRIALS.name)
        state = await world.change(state, created_at=float(100 - len(expected)))
        expected += [trial.name for trial in trials]
    found = await all_pages(world, "/v1/trials?", limit)
    assert [it["metadata"]["name"] for it in found] == expected
    one = await all_pages(world, "/v1/trials?namespace=lab&experiment=c&", limit)
    assert [it["metadata"]["name"] for it in one] == expected[:4]
    assert world.store.full_scans == []


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=501", "limit=-1", "limit=x", "limit=٣", "after=!", "namespace=A.b"],
)
@pytest.mark.parametrize("path", ["experiments", "suggestions", "trials"])
async def test_a_wrong_page_is_400(world: World, path: str, query: str) -> None:
    assert (await world.get(f"/v1/{path}?{query}", 400))["message"]


async def test_a_page_of_an_earlier_namesake_does_not_go_on_in_the_next(world: World) -> None:
    state = await world.apply()
    await world.put(*(TRIAL.encode(trial_of(state, i)) for i in range(3)), into=TRIALS.name)
    path = "/v1/trials?namespace=lab&experiment=tune&limit=2"
    token = (await world.get(path))["next"]
    await world.client.delete(PATH)
    await world.apply()
    assert "another experiment" in (await world.get(f"{path}&after={token}", 400))["message"]


async def test_trials_of_an_experiment_need_its_namespace(world: World) -> None:
    assert (await world.get("/v1/trials?experiment=tune", 400))["message"]


# Progress -----------------------------------------------------------------------------------------


async def test_progress_tells_counts_and_the_best_trial_with_its_command(world: World) -> None:
    state, trial = await running_trial(world)
    best = BestTrial(
        index=0,
        name=trial.name,
        value=math.inf,
        assignments=trial.assignments,
        observation=(MetricValues(name="accuracy", min=0.0, max=math.inf, latest=math.nan),),
    )
    await world.change(
        state, best=best, next_index=3, finished=2, counts=Counts(succeeded=1, failed=1)
    )
    shown = await world.get(f"{PATH}/progress")
    assert shown["uid"] == state.id
    assert (shown["phase"], shown["reason"]) == ("Created", "ExperimentCreated")
    assert (shown["parallel"], shown["max"], shown["goal"]) == (2, 5, 0.9)
    assert shown["objective"] == {"type": "maximize", "name": "accuracy"}
    assert shown["trials"] == {
        "created": 3,
        "pending": 0,
        "paused": 0,
        "running": 1,
        "succeeded": 1,
        "failed": 1,
        "killed": 0,
        "earlyStopped": 0,
        "metricsUnavailable": 0,
    }
    artifacts = shown["best"].pop("artifacts")
    assert artifacts.endswith(f"/artifacts/{state.id}/{best.index}")
    assert shown["best"] == {
        "trial": trial.name,
        "value": "Infinity",
        "parameters": {"--lr": "0.5"},
        "command": ["/py", "-m", "trainer", "--lr=0.5"],
        "workingDir": None,
        "env": {},
        "checkpoint": None,
    }


async def test_progress_takes_two_reads_and_under_5_ms_at_ten_thousand_trials(
    world: World,
) -> None:
    state, trial = await running_trial(world)
    pattern = TRIAL.encode(trial_of(state, 1, phase=TrialPhase.SUCCEEDED))
    trials = [
        {**pattern, "_id": f"{state.id}.{i}", "index": i, "name": f"tune-{i}", "finished": i}
        for i in range(1, 10_000)
    ]
    await world.put(*trials, into=TRIALS.name)
    await world.change(state, next_index=10_000, finished=9_999, counts=Counts(succeeded=9_999))
    world.store.calls.clear()
    await world.get(f"{PATH}/progress")
    assert dict(world.store.calls) == {("experiments", "find"): 1, ("runs", "get_many"): 1}
    best_s = math.inf
    for _ in range(20):
        begun = perf_counter()
        await world.get(f"{PATH}/progress")
        best_s = min(best_s, perf_counter() - begun)
    assert best_s < 0.005
    for path in (PATH, f"{PATH}/explain", f"{PATH}/suggestion", f"/v1/trials/{trial.name}/explain"):
        await world.get(path)
    assert world.store.full_scans == []


# Explanations -------------------------------------------------------------------------------------


async def test_an_explanation_joins_all_documents_of_a_trial(world: World) -> None:
    state, trial = await running_trial(world, attempt=2)
    lost = run_of(state, 0, 1, phase=RunPhase.LOST, finished_at=state.created_at + 1)
    await world.put(RUN.encode(lost), into=RUNS.name)
    verdict = StoppingVerdict(
        rule="medianstop",
        stop=True,
        step=4,
        reason="worse",
        best=math.nan,
        median=0.5,
        completed=2,
        watermark=3,
        to_byte=120,
        decided_at=state.created_at,
    )
    kept = StoredVerdict(id=run_id(state.id, 0, 2), verdict=verdict)
    evidence = {**DocumentCodec(StoredVerdict).encode(kept), "version": 1, "uid": state.id}
    await world.put(evidence, into=EVIDENCE.name)
    shown = await world.get(f"/v1/trials/{trial.name}/explain")
    assert shown["subject"] == f"trial lab/{trial.name}"
    assert (shown["uid"], shown["state"], shown["reason"]) == (state.id, "Running", "Running")
    events = [step["event"] for step in shown["chain"]]
    assert events.count("taken") == 2
    assert "lost" in events
    assert events[-1] == "waiting"
    told = {name: shown["evidence"][name] for name in ("rule", "step", "best", "median")}
    assert told == {"rule": "medianstop", "step": 4, "best": "NaN", "median": 0.5}
    assert shown["exitCode"] is None
    assert all(step["at"].endswith("Z") for step in shown["chain"])


@pytest.mark.parametrize(("index", "number"), [(0, 1), (2, 1), (3, 2), (898, 300), (899, 300)])
async def test_the_answer_that_holds_a_point_is_found_among_many(
    world: World, index: int, number: int
) -> None:
    state = await world.apply()
    state = await world.change(state, next_request=302)
    await world.put(*(answer_document(state, n) for n in range(1, 301)), into="answers")
    trial = trial_of(state, index, phase=TrialPhase.SUCCEEDED)
    await world.put(TRIAL.encode(trial), into=TRIALS.name)
    world.store.calls.clear()
    shown = await world.get(f"/v1/trials/{trial.name}/explain")
    drawn = next(step for step in shown["chain"] if step["event"] == "point drawn")
    assert drawn["reason"] == f"Request{number}"
    assert world.store.calls["answers", "get_many"] <= 6


def answer_document(state: Experiment, number: int) -> Document:
    """Three points each; request 301 is not answered."""
    return {
        "_id": f"{state.id}:{number}",
        "version": 1,
        "uid": state.id,
        "number": number,
        "first": 3 * (number - 1),
        "watermark": 0,
        "seed": 1,
        "points": [["0.1"], ["0.2"], ["0.3"]],
        "exhausted": False,
        "look_ahead": "free",
        "refused": None,
        "answered_at": 1.0,
        "took_s": 0.0,
    }


async def test_an_experiment_is_explained_with_its_failures(world: World) -> None:
    state, _ = await running_trial(world)
    failed = trial_of(
        state,
        1,
        phase=TrialPhase.FAILED,
        finished=1,
        reason="TrialFailed",
        message="exit code 3",
        completed_at=state.created_at + 5,
    )
    await world.put(TRIAL.encode(failed), into=TRIALS.name)
    await world.change(state, next_index=2, finished=1, counts=Counts(failed=1))
    shown = await world.get(f"{PATH}/explain")
    assert shown["subject"] == "experiment lab/tune"
    told = [step["message"] for step in shown["chain"]]
    assert f"{failed.name}: exit code 3" in told
    assert any(step["event"] == "waiting" for step in shown["chain"])


async def test_the_last_three_failures_are_told_however_long_ago_they_were(world: World) -> None:
    state, trial = await running_trial(world)
    # The finish numbers are not in the order of the indices.
    ends = dict.fromkeys(range(6, 60), TrialPhase.SUCCEEDED)
    ends |= dict.fromkeys((1, 2, 4), TrialPhase.FAILED) | {5: TrialPhase.METRICS_UNAVAILABLE}
    finished = {1: 4, 2: 1, 4: 2, 5: 3}
    for index, phase in ends.items():
        ended = trial_of(
            state,
            index,
            phase=phase,
            finished=finished.get(index, index),
            reason="TrialFailed",
            message=f"end of {index}",
            completed_at=state.created_at + finished.get(index, index),
        )
        await world.put(TRIAL.encode(ended), into=TRIALS.name)
    counts = Counts(failed=3, metrics_unavailable=1, succeeded=54)
    await world.change(state, next_index=60, finished=59, counts=counts)
    world.store.full_scans.clear()
    shown = await world.get(f"{PATH}/explain")
    told = [
        it["message"].partition(": ")[2] for it in shown["chain"] if it["event"] == "trial failed"
    ]
    assert told == ["end of 4", "end of 5", "end of 1"]
    began = next(step for step in shown["chain"] if step["event"] == "running")
    assert began["at"] == moment(trial.created_at)
    assert world.store.full_scans == []


# Metrics ------------------------------------------------------------------------------------------


async def test_metric_points_are_joined_over_all_chunks(world: World) -> None:
    state, trial = await running_trial(world, attempt=2)
    key = run_id(state.id, 0, 2)
    summary = Summary(count=1, min=0.0, max=0.0, latest=0.0, first_at=0.0, latest_at=0.0)
    chunks = [
        Chunk(
            id=chunk_id(key, 10 * n),
            uid=state.id,
            run=key,
            version=1,
            from_byte=10 * n,
            to_byte=10 * n + 10,
            series=(
                Series(
                    metric="accuracy",
                    first_step=2 * n + 1,
                    values=(float(n), math.nan if n else -math.inf),
                    times=(1.0, 2.0),
                ),
            ),
            summaries=(MetricSummary(metric="accuracy", summary=summary),),
            final=False,
            final_run=None,
            stored_at=1.0,
        )
        for n in range(450)
    ]
    other = replace(chunks[0], id=chunk_id(run_id(state.id, 0, 21), 0))
    await world.put(*(CHUNK.encode(it) for it in [*chunks, other]), into=CHUNKS.name)
    shown = await world.get(f"/v1/trials/{trial.name}/metrics")
    assert (shown["trial"], shown["attempt"], shown["truncated"]) == (trial.name, 2, False)
    [series] = shown["metrics"]
    assert series["steps"] == list(range(1, 901))
    assert series["values"][:4] == [0.0, "-Infinity", 1.0, "NaN"]
    assert len(series["times"]) == 900
    assert world.store.full_scans == []


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/v1/experiments?namspace=lab", "known are"),
        ("/v1/trials?status=failed&limit=1", "known are"),
        (f"{PATH}/metrics?metric=loss&unknown", "known are"),
        ("/v1/status?verbose=1", "there are none here"),
    ],
)
async def test_a_query_parameter_that_nobody_knows_is_refused_with_the_known_ones(
    tmp_path: Path, path: str, told: str
) -> None:
    async with gateway_world(tmp_path) as world:
        answer = await world.client.get(path)
    assert answer.status_code == 400
    assert "no query parameter" in answer.text
    assert told in answer.text


async def test_a_misspelt_condition_does_not_let_a_command_through(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        answer = await world.client.post(f"{PATH}/stop?uuid=of-another")
        assert answer.status_code == 400
        assert "known are id, uid" in answer.text
