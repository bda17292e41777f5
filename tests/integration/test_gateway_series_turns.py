"""Large experiments: whoever asks for their series keeps nobody else waiting."""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest

from trialbus.contracts.collections import EXPERIMENTS, TRIALS
from trialbus.contracts.documents import EXPERIMENT, TRIAL
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.ids import trial_name
from trialbus.kernel.trial import Assignment, TrialPhase
from trialbus.testkit.gateway_documents import UID, experiment, trial
from trialbus.testkit.gateway_documents import opened as open_trial
from trialbus.testkit.gateway_world import World, gateway_world
from trialbus_gateway.app import series_of_experiment
from trialbus_gateway.app.failures import TooMuch
from trialbus_gateway.app.metrics import Metrics
from trialbus_gateway.app.series_of_experiment import Asked, ExperimentSeries, Sources
from trialbus_gateway.app.series_reading import SeriesReading
from trialbus_gateway.app.series_selection import MAX_TRIAL_NAMES, Span, Warnings
from trialbus_gateway.app.trial_histories import ReadBudget, TrialHistories
from trialbus_gateway.core.experiment_series import parameter_timelines
from trialbus_gateway.core.selectors import parse_selector
from trialbus_gateway.core.series_kinds import KINDS
from trialbus_gateway.core.timelines import Timeline
from trialbus_gateway.core.trial_histories import EndedTrial, TrialHistory

EVER = Span(start=0.0, end=1e9)
# A question that holds the loop until it is answered leaves others a few: one at each read.
MANY_TURNS = 50


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway_world(tmp_path) as made:
        yield made


@cache
def remembered() -> TrialHistory:
    made = TrialHistory(objective=experiment().spec.objective)
    made.extend(
        EndedTrial(index=number, finished=number + 1, phase=TrialPhase.SUCCEEDED, value=1.0,
                   opened_at=float(number), started_at=number + 1.0, ended_at=number + 9.0)
        for number in range(60_000)
    )  # fmt: skip
    return made


class Remembered:
    """Histories that are known already."""

    async def of(self, _state: Experiment, _budget: ReadBudget) -> TrialHistory:
        return remembered()


async def others_turns(work: Coroutine[Any, Any, Any]) -> int:
    """How often somebody else has a turn of the loop until it is done."""
    task, turns = asyncio.create_task(work), 0
    while not task.done():
        await asyncio.sleep(0)
        turns += 1
    await task
    return turns


async def opened(world: World, trials: int, uid: str = UID, name: str = "tune") -> Experiment:
    state = experiment(id=uid, name=name, alive_name=f"lab/{name}", next_index=trials)
    await world.put(EXPERIMENT.encode(state), into=EXPERIMENTS.name)
    return state


async def test_names_that_do_not_fit_are_looked_through_beside_the_loop(world: World) -> None:
    await opened(world, trials=50_000)
    reading = SeriesReading(world.parts)
    selector = parse_selector('trial_objective{trial=~"x.*y"}')
    assert await others_turns(reading.names("trial", selector, EVER)) > MANY_TURNS


async def test_more_names_than_one_question_may_look_through_are_refused(world: World) -> None:
    half = MAX_TRIAL_NAMES // 2
    await opened(world, trials=half)
    await opened(world, trials=half + 1, uid="other", name="other")
    reading = SeriesReading(world.parts)
    selector = parse_selector('trial_objective{trial=~"x.*y"}')
    with pytest.raises(TooMuch, match=r"add the name .* experiment="):
        await reading.names("trial", selector, EVER)
    fewer = parse_selector('trial_objective{experiment="other",trial=~"x.*y"}')
    assert (await reading.names("trial", fewer, EVER))[0] == set()


async def test_trials_that_are_named_are_found_among_any_number(world: World) -> None:
    state = await opened(world, trials=100 * MAX_TRIAL_NAMES)
    name = trial_name(state.name, state.id, 7)
    selector = parse_selector(f'trial_objective{{trial=~"{name}|tune-never"}}')
    values, warnings = await SeriesReading(world.parts).names("trial", selector, EVER)
    assert (values, warnings.texts) == ({name}, [])


async def test_parameters_of_many_trials_are_told_beside_the_loop_some_at_a_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 600
    state = experiment(
        finished=0, next_index=count, open={str(it): open_trial() for it in range(count)}
    )
    assigned = (Assignment(name="lr", value="0.5"),)
    await world.put(
        *(TRIAL.encode(trial(it, assignments=assigned)) for it in range(count)), into=TRIALS.name
    )
    threads: list[int] = []

    def noted(*given: Any) -> Iterator[Timeline]:
        threads.append(threading.get_ident())
        return parameter_timelines(*given)

    monkeypatch.setattr(series_of_experiment, "parameter_timelines", noted)
    sources = Sources(
        store=world.gateway_store,
        histories=TrialHistories(world.gateway_store),
        metrics=Metrics(world.parts),
    )
    asked = Asked(selector=parse_selector("trial_parameter"), span=EVER, warnings=Warnings())
    series = ExperimentSeries(sources, state, asked)
    wanted = next(it for it in KINDS if it.name == "trial_parameter")
    await series.learn([wanted])
    told = await series.timelines(wanted)
    names = [trial_name(state.name, state.id, index) for index in range(count)]
    assert [it.labels["trial"] for it in told] == names
    assert len(threads) == count
    assert threading.get_ident() not in threads


@pytest.mark.parametrize(
    ("kind", "matchers"),
    [
        ("experiment_open_trials", ""),
        ("experiment_last_value", ""),
        ("trial_objective", '{trial=~"x.*y"}'),
        ("trial_parameter", '{trial=~"x.*y"}'),
        ("trial_metric", '{trial=~"x.*y"}'),
    ],
)
async def test_series_of_many_trials_are_made_beside_the_loop(
    world: World, kind: str, matchers: str
) -> None:
    state = experiment(finished=60_000, next_index=60_000)
    sources = Sources(
        store=world.gateway_store,
        histories=cast(TrialHistories, Remembered()),
        metrics=Metrics(world.parts),
    )
    asked = Asked(selector=parse_selector(f"{kind}{matchers}"), span=EVER, warnings=Warnings())
    series = ExperimentSeries(sources, state, asked)
    wanted = next(it for it in KINDS if it.name == kind)
    await series.learn([wanted])
    assert await others_turns(series.timelines(wanted)) > MANY_TURNS
