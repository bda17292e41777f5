"""Algorithm instances as caches at a watermark."""

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from trialbus.kernel.errors import Refused, Transient
from trialbus.kernel.objective import ObjectiveType
from trialbus.kernel.proposals import (
    FinishedTrial,
    History,
    PointTexts,
    Proposal,
    ProposalRequest,
    Study,
)
from trialbus.kernel.space import Parameter, SearchSpace
from trialbus.kernel.spec import AlgorithmSpec
from trialbus.kernel.trial import TrialPhase
from trialbus_suggestion.adapters.compute import InlineCompute
from trialbus_suggestion.core.memory import HistoryNeeded, Memory
from trialbus_suggestion.core.registry import Registry

BAYESIAN = "bayesianoptimization"
PLANE = (
    Parameter(name="x", type="double", min="-5", max="10"),
    Parameter(name="y", type="double", min="0", max="15"),
)


def study_of(name: str, *parameters: Parameter) -> Study:
    algorithm = AlgorithmSpec(name=name)
    return Study(parameters=parameters, objective=ObjectiveType.MINIMIZE, algorithm=algorithm)


def ask(first: int, count: int, watermark: int, seed: int) -> ProposalRequest:
    return ProposalRequest(number=1, first=first, count=count, watermark=watermark, seed=seed)


def told(points: tuple[PointTexts, ...], upto: int) -> tuple[FinishedTrial, ...]:
    return tuple(
        FinishedTrial(
            number=i + 1, index=i, point=point, phase=TrialPhase.SUCCEEDED, value=float(i)
        )
        for i, point in enumerate(points[:upto])
    )


def answered(memory: Memory, study: Study, request: ProposalRequest, past: History) -> Proposal:
    reply = memory.answer("uid", study, request, past)
    assert isinstance(reply, Proposal)
    return reply


def test_a_memory_asks_for_what_it_lacks_and_no_more() -> None:
    memory, study = Memory(Registry(), Random), study_of(BAYESIAN, *PLANE)
    points = answered(memory, study, ask(0, 3, 0, 1), History()).points
    assert memory.answer("uid", study, ask(3, 1, 2, 2), None) == HistoryNeeded(first=3, after=0)
    past = History(first=3, finished=told(points, 2))
    answered(memory, study, ask(3, 1, 2, 2), past)
    assert memory.answer("uid", study, ask(4, 1, 3, 3), None) == HistoryNeeded(first=4, after=2)


def test_a_memory_that_knows_too_much_starts_over() -> None:
    memory, study = Memory(Registry(), Random), study_of(BAYESIAN, *PLANE)
    points = answered(memory, study, ask(0, 3, 0, 1), History()).points
    past = History(points=points, finished=told(points, 3))
    late = answered(memory, study, ask(3, 1, 2, 2), past)
    answered(
        memory, study, ask(4, 1, 3, 3), History(points=points + late.points, finished=past.finished)
    )
    assert memory.answer("uid", study, ask(3, 1, 2, 2), None) == HistoryNeeded(first=0, after=0)
    assert answered(memory, study, ask(3, 1, 2, 2), past) == late


def test_a_repeated_request_and_an_older_watermark_start_over() -> None:
    memory, study = Memory(Registry(), Random), study_of(BAYESIAN, *PLANE)
    points = answered(memory, study, ask(0, 3, 0, 1), History()).points
    everything = HistoryNeeded(first=0, after=0)
    past = History(points=points, finished=told(points, 3))
    again = answered(memory, study, ask(3, 1, 3, 2), past)
    assert memory.answer("uid", study, ask(3, 1, 3, 2), None) == everything
    assert answered(memory, study, ask(3, 1, 3, 2), past) == again
    assert memory.answer("uid", study, ask(4, 1, 2, 3), None) == everything


def test_algorithms_that_do_not_look_at_results_are_not_told_them() -> None:
    memory, study = Memory(Registry(), Random), study_of("random", *PLANE)
    assert isinstance(memory.answer("uid", study, ask(0, 3, 0, 1), None), Proposal)
    assert isinstance(memory.answer("uid", study, ask(3, 3, 2, 2), None), Proposal)
    memory.forget("uid")
    assert memory.answer("uid", study, ask(6, 1, 5, 3), None) == HistoryNeeded(first=0, after=None)


def test_a_gap_in_the_finish_numbers_is_waited_out() -> None:
    memory, study = Memory(Registry(), Random), study_of(BAYESIAN, *PLANE)
    points = answered(memory, study, ask(0, 3, 0, 1), History()).points
    one, _, three = told(points, 3)
    with pytest.raises(Transient):
        memory.answer("uid", study, ask(3, 1, 3, 2), History(points=points, finished=(one, three)))
    # A portion without a gap is taken in; the rest is still lacking.
    portion = History(points=points, finished=(one,))
    assert memory.answer("uid", study, ask(3, 1, 3, 2), portion) == HistoryNeeded(first=3, after=1)


def test_the_least_used_experiment_is_dropped() -> None:
    memory, study = Memory(Registry(), Random, capacity=2), study_of("random", *PLANE)
    for uid in ("a", "b", "a", "c"):
        memory.answer(uid, study, ask(0, 1, 0, 1), None)
    assert isinstance(memory.answer("a", study, ask(1, 1, 0, 1), None), Proposal)
    needed = memory.answer("b", study, ask(1, 1, 0, 1), None)
    assert needed == HistoryNeeded(first=0, after=None)


def test_what_is_remembered_is_bounded_in_trials() -> None:
    memory, study = Memory(Registry(), Random, trials=10), study_of("random", *PLANE)
    for uid, count in (("a", 4), ("b", 4), ("a", 2), ("c", 1)):
        first = 4 if (uid, count) == ("a", 2) else 0
        memory.answer(uid, study, ask(first, count, 0, 1), None)
    assert list(memory.experiments) == ["a", "c"]
    # However large, the one that was used last is kept.
    memory.answer("d", study, ask(0, 50, 0, 1), None)
    assert list(memory.experiments) == ["d"]
    memory.forget("d")
    memory.answer("e", study, ask(0, 4, 0, 1), None)
    memory.answer("f", study, ask(0, 4, 0, 1), None)
    assert list(memory.experiments) == ["e", "f"]


async def test_a_long_past_is_told_in_portions_and_comes_to_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study, space = study_of("tpe", *PLANE), SearchSpace(PLANE)
    rng = Random(1)
    points = tuple(space.key(space.from_unit([rng.random(), rng.random()])) for _ in range(60))
    past = History(points=points, finished=told(points, 50))
    told_at_once: list[int] = []
    take = Memory.answer

    def noting(memory: Memory, *question: Any) -> Proposal | HistoryNeeded:
        history = question[3]
        if history is not None:
            told_at_once.append(len(history.points) + len(history.finished))
        return take(memory, *question)

    async def history(*, first: int, after: int | None) -> History:
        assert (first, after) == (0, 0)
        return past

    monkeypatch.setattr(Memory, "answer", noting)
    answers = []
    for portion in (1000, 7):
        monkeypatch.setattr("trialbus_suggestion.adapters.compute.HISTORY_PORTION", portion)
        compute = InlineCompute(Registry())
        answers.append(await compute.propose("uid", study, ask(60, 2, 50, 5), history))
    assert answers[0] == answers[1]
    assert told_at_once == [110, *[7] * 8, 4, *[7] * 7, 1]


@pytest.mark.parametrize("forgotten_before", [8, 9, 10, 12, 15])
async def test_who_is_forgotten_between_two_portions_is_told_all_again(
    forgotten_before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = Parameter(name="epochs", type="int", min="1", max="27")
    settings = (("resource_name", "epochs"), ("r_l", "27"), ("eta", "3"))
    algorithm = AlgorithmSpec(name="asha", settings=settings)
    study = replace(study_of("asha", PLANE[0], resource), algorithm=algorithm)
    drawn = answered(Memory(Registry(), Random), study, ask(0, 50, 0, 1), History())
    finished = told(drawn.points, 40)
    asked, take = 0, Memory.answer

    def forgetting(memory: Memory, *question: Any) -> Proposal | HistoryNeeded:
        nonlocal asked
        asked += 1
        if asked == forgotten_before:
            memory.forget("uid")
        return take(memory, *question)

    async def history(*, first: int, after: int | None) -> History:
        points, marks = drawn.points[first:], drawn.marks[first:]
        return History(first=first, points=points, marks=marks, finished=finished[after:])

    request = ask(50, 2, 40, 5)
    expected = await InlineCompute(Registry()).propose("uid", study, request, history)
    monkeypatch.setattr("trialbus_suggestion.adapters.compute.HISTORY_PORTION", 7)
    monkeypatch.setattr(Memory, "answer", forgetting)
    assert await InlineCompute(Registry()).propose("uid", study, request, history) == expected
    assert asked > 15


def test_unknown_algorithms_and_failing_code_are_refused() -> None:
    memory = Memory(Registry(), Random)
    with pytest.raises(Refused, match="KeyError"):
        memory.answer("uid", study_of("simulated_annealing", *PLANE), ask(0, 1, 0, 1), None)
    with pytest.raises(Refused, match="ValueError"):
        memory.answer("uid", study_of("random", PLANE[0], PLANE[0]), ask(0, 1, 0, 1), None)
