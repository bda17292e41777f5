"""Warm starts: what is taken from where, how algorithms are told, and that it helps."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from trialbus.contracts.collections import TRIALS, WARM_TRIALS
from trialbus.contracts.documents import TRIAL, WARM
from trialbus.contracts.katib.spec import parse_experiment
from trialbus.kernel.catalogue import AlgorithmDescription
from trialbus.kernel.errors import Refused
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.limits import MAX_WARM_TRIALS
from trialbus.kernel.objective import Objective, ObjectiveType
from trialbus.kernel.proposals import FinishedTrial, History, ProposalRequest, Study
from trialbus.kernel.space import Parameter
from trialbus.kernel.spec import AlgorithmSpec
from trialbus.kernel.suggestion import PointsRequest
from trialbus.kernel.trial import Assignment, Trial, TrialPhase
from trialbus.kernel.warm_start import WarmTrial, WarmTrials
from trialbus.runtime.catalogue import installed_catalogue
from trialbus.testkit.experiment_states import experiment, spec
from trialbus.testkit.scenario import FAIR, experiment_object
from trialbus.testkit.still_world import StillWorld
from trialbus_experiment.app.warming import Warming
from trialbus_experiment.core.warming import chosen, fitting
from trialbus_suggestion.app.past import PastOf, behind_warm
from trialbus_suggestion.core.catalogue import BUILT_IN
from trialbus_suggestion.core.memory import HistoryNeeded, Memory
from trialbus_suggestion.core.registry import Registry

LEARNING = [it for it in BUILT_IN if it.warm_start == "learns"]
SETTINGS = {
    "hyperband": [{"name": "r_l", "value": "9"}, {"name": "resource_name", "value": "epochs"}],
    "pbt": [
        {"name": "n_population", "value": "5"},
        {"name": "truncation_threshold", "value": "0.4"},
    ],
}
_EPOCHS = {"name": "epochs", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "1"}}
PARAMETERS = {
    "hyperband": [_EPOCHS],
    "cmaes": [{**_EPOCHS, "feasibleSpace": {"min": "1", "max": "9"}}],
}
NEW = spec(algorithm=AlgorithmSpec(name="tpe"), warm_start_from=("old",))


def trial(index: int, value: float | None, x: str = "0.5", **changes: Any) -> Trial:
    fields: dict[str, Any] = {"phase": TrialPhase.SUCCEEDED, **changes}
    return Trial(
        id=f"old-uid.{index}",
        uid="old-uid",
        version=2,
        namespace="ns",
        experiment="old",
        index=index,
        name=f"old-{index}",
        assignments=(Assignment(name="x", value=x),),
        conditions=(),
        created_at=0.0,
        finished=index + 1,
        value=value,
        **fields,
    )


def old(**changes: Any) -> Experiment:
    fields = {"id": "old-uid", "name": "old", "alive_name": "ns/old", "version": 1, **changes}
    return replace(experiment(), **fields)


def new(**changes: Any) -> Experiment:
    return replace(experiment(replace(NEW, **changes)), id="new-uid", alive_name="ns/new")


async def world_with(trials: Sequence[Trial], **changes: Any) -> StillWorld:
    world = StillWorld()
    await world.prepare(old(finished=len(trials), **changes))
    for each in trials:
        await world.insert(TRIALS.name, TRIAL.encode(each))
    return world


def warming(world: StillWorld) -> Warming:
    return Warming(world.store.client("test"), installed_catalogue())


def copied(world: StillWorld) -> list[WarmTrial]:
    [document] = world.store.documents(WARM_TRIALS.name)
    return list(WARM.decode(document).trials)


# What is taken ---------------------------------------------------------------------------------


async def test_what_tells_something_and_lies_within_the_space_is_copied() -> None:
    trials = [
        trial(0, 0.5, "0.25"),
        trial(1, None, phase=TrialPhase.FAILED),
        trial(2, 0.1, "7"),  # outside
        trial(3, float("nan")),
        trial(4, 0.3, "0.75", phase=TrialPhase.EARLY_STOPPED),
        trial(5, 0.2, phase=TrialPhase.KILLED),
    ]
    world = await world_with(trials)
    warmed = await warming(world).warmed(new())
    assert copied(world) == [
        WarmTrial(point=("0.25",), value=0.5),
        WarmTrial(point=("0.75",), value=0.3),
    ]
    [source] = warmed.warm_sources
    assert (source.name, source.watermark, source.taken, source.left_out) == ("old", 6, 2, 1)
    assert warmed.warm_trials == 2


async def test_a_repeat_of_the_creation_finds_what_the_first_one_copied() -> None:
    """The source has gone on between the two."""
    world = await world_with([trial(0, 0.5)])
    await warming(world).warmed(new())
    await world.insert(TRIALS.name, TRIAL.encode(trial(1, 0.1)))
    await world.put(replace(old(finished=2), version=2))
    again = await warming(world).warmed(new())
    assert again.warm_trials == 1
    assert len(copied(world)) == 1


async def test_a_dry_run_copies_nothing() -> None:
    world = await world_with([trial(0, 0.5)])
    assert (await warming(world).warmed(new(), dry_run=True)).warm_trials == 1
    assert world.store.documents(WARM_TRIALS.name) == []


@pytest.mark.parametrize(
    ("trials", "source", "changes", "words"),
    [
        ([], {"alive_name": "other/old"}, {}, "there is no experiment ns/old"),
        ([trial(0, 0.5, "9")], {}, {}, r"no trial with a result lies within .* old \(1 outside\)"),
        (
            [trial(0, 0.5)],
            {},
            {"objective": Objective(type=ObjectiveType.MAXIMIZE, metric="loss")},
            "old was tuned to minimize",
        ),
        (
            [trial(0, 0.5)],
            {},
            {"parameters": (Parameter(name="y", type="double", min="0", max="1"),)},
            "old has other parameters: x, y",
        ),
    ],
)
async def test_what_does_not_fit_is_refused(
    trials: list[Trial], source: dict[str, Any], changes: dict[str, Any], words: str
) -> None:
    world = await world_with(trials, **source)
    with pytest.raises(Refused, match=words):
        await warming(world).warmed(new(**changes))


async def test_an_algorithm_that_does_not_learn_takes_nothing() -> None:
    world = await world_with([trial(0, 0.5)])
    state = new(algorithm=AlgorithmSpec(name="sobol"))
    assert await warming(world).warmed(state) is state


@pytest.mark.parametrize("name", ["cmaes", "hyperband", "pbt"])
def test_an_algorithm_whose_trials_build_on_each_other_is_refused(name: str) -> None:
    made = experiment_object("new", 1, FAIR)
    made["spec"]["algorithm"] = {"algorithmName": name, "algorithmSettings": SETTINGS.get(name)}
    made["spec"]["parameters"] += PARAMETERS.get(name, [])
    parse_experiment(made, catalogue=installed_catalogue())
    made["metadata"]["annotations"] = {"trialbus.io/warm-start-from": "old"}
    with pytest.raises(
        Refused, match=f"{name} cannot learn from trials of others; these can: .*tpe"
    ):
        parse_experiment(made, catalogue=installed_catalogue())


def test_of_many_the_best_half_and_the_newest_are_taken_in_order() -> None:
    trials = [trial(i, float(i)) for i in range(3 * MAX_WARM_TRIALS)]
    best, newest = trials[:MAX_WARM_TRIALS], trials[::-1][:MAX_WARM_TRIALS]
    indices = [it.index for it in chosen(NEW, best, newest)]
    half = MAX_WARM_TRIALS // 2
    assert indices == [*range(half), *range(3 * MAX_WARM_TRIALS - half, 3 * MAX_WARM_TRIALS)]


def test_values_are_written_as_the_new_experiment_writes_them() -> None:
    wide = replace(NEW, parameters=(Parameter(name="x", type="int", min="0", max="9"),))
    assert fitting(wide, [trial(0, 0.5, "3"), trial(1, 0.5, "3.5")]) == [
        WarmTrial(point=("3",), value=0.5)
    ]


# How it is told --------------------------------------------------------------------------------


async def test_the_past_begins_with_them_and_own_trials_come_behind() -> None:
    world = StillWorld()
    request = PointsRequest(number=1, first=0, count=2, watermark=0, asked_at=0.0)
    state = replace(new(), warm_trials=2)
    warm = WarmTrials(
        id=state.id,
        version=1,
        trials=(WarmTrial(point=("0.1",), value=1.0), WarmTrial(point=("0.2",), value=2.0)),
    )
    await world.prepare()
    await world.insert(WARM_TRIALS.name, WARM.encode(warm))
    past = PastOf(world.store.client("test"), state, request)
    history = await past(first=0, after=0)
    assert history.points == (("0.1",), ("0.2",))
    assert [(it.number, it.index, it.value) for it in history.finished] == [
        (1, 0, 1.0),
        (2, 1, 2.0),
    ]
    later = await past(first=1, after=1)
    assert (later.first, later.points) == (1, (("0.2",),))
    assert [it.number for it in later.finished] == [2]
    asked = ProposalRequest(number=1, first=0, count=2, watermark=0, seed=3)
    shifted = behind_warm(state, asked)
    assert (shifted.first, shifted.watermark, shifted.seed) == (2, 2, 3)


# That it helps ---------------------------------------------------------------------------------

SPACE = tuple(Parameter(name=n, type="double", min="-5", max="5") for n in ("x", "y"))


def loss(point: Sequence[str]) -> float:
    return (float(point[0]) - 3.0) ** 2 + (float(point[1]) + 2.0) ** 2


def known(seed: int, count: int = 40) -> History:
    rng = Random(seed)
    points = tuple((repr(rng.uniform(-5, 5)), repr(rng.uniform(-5, 5))) for _ in range(count))
    finished = tuple(
        FinishedTrial(number=i + 1, index=i, point=it, phase=TrialPhase.SUCCEEDED, value=loss(it))
        for i, it in enumerate(points)
    )
    return History(points=points, finished=finished)


def proposed(
    memory: Memory, name: str, seed: int, history: History, count: int = 4
) -> tuple[tuple[str, ...], ...]:
    study = Study(
        parameters=SPACE,
        objective=ObjectiveType.MINIMIZE,
        algorithm=AlgorithmSpec(name=name),
        seed=seed,
        names=("x", "y"),
    )
    warm = len(history.points)
    request = ProposalRequest(number=1, first=warm, count=count, watermark=warm, seed=seed)
    answer = memory.answer("u", study, request, None)
    if isinstance(answer, HistoryNeeded):
        answer = memory.answer("u", study, request, history)
    assert not isinstance(answer, HistoryNeeded)
    return answer.points


@pytest.mark.parametrize("description", LEARNING, ids=lambda it: it.name)
def test_the_first_points_are_better_than_without(description: AlgorithmDescription) -> None:
    """The first four, over six seeds: those without know nothing, those with it the valley."""
    warm: list[float] = []
    cold: list[float] = []
    for seed in range(6):
        for losses, history in ((warm, known(seed)), (cold, History())):
            points = proposed(Memory(Registry(), Random), description.name, seed, history)
            losses += [loss(point) for point in points]
    assert sum(warm) / len(warm) < 0.6 * sum(cold) / len(cold)


@pytest.mark.parametrize("description", LEARNING, ids=lambda it: it.name)
def test_a_memory_that_was_lost_gives_the_same_answer(description: AlgorithmDescription) -> None:
    one = proposed(Memory(Registry(), Random), description.name, 1, known(1))
    assert proposed(Memory(Registry(), Random), description.name, 1, known(1)) == one
