"""What every registered algorithm owes, over every parameter type and distribution."""

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import pytest
from scipy import stats

from trialbus.kernel.catalogue import Submission
from trialbus.kernel.objective import ObjectiveType
from trialbus.kernel.proposals import FinishedTrial, PointTexts, ProposalRequest, Study
from trialbus.kernel.space import Parameter, SearchSpace
from trialbus.kernel.spec import AlgorithmSpec
from trialbus.kernel.trial import TrialPhase
from trialbus_suggestion.core.algorithm import Algorithm
from trialbus_suggestion.core.registry import Registry
from trialbus_suggestion.core.seeds import request_seed

REGISTRY = Registry()
NAMES = [description.name for description in REGISTRY.descriptions]
# Those that do not look at results.
FREE = [it.name for it in REGISTRY.descriptions if it.look_ahead == "free"]
# Few initial points, so that the model speaks soon.
SETTINGS = {
    "bayesianoptimization": (("n_initial_points", "3"),),
    "tpe": (("n_startup_trials", "3"),),
    "multivariate-tpe": (("n_startup_trials", "3"),),
}
P_VALUE = 0.001
DISTRIBUTIONS = ("uniform", "logUniform", "normal", "logNormal")

DOUBLES = [
    Parameter(name="x", type="double", min="0.01", max="2", distribution=name)
    for name in DISTRIBUTIONS
]
STEPPED = [
    Parameter(name="x", type="double", min="0.1", max="1.55", step="0.1", distribution=name)
    for name in DISTRIBUTIONS
]
INTEGERS = [
    Parameter(name="x", type="int", min="1", max="20", step=step, distribution=name)
    for name in DISTRIBUTIONS
    for step in ("", "3")
]
LISTS = [
    Parameter(name="x", type="discrete", list=("64", "8", "16.5", "32", "1e3", "2", "4", "6", "7")),
    Parameter(name="x", type="categorical", list=tuple("abcdefghi")),
]
PARAMETERS = [*DOUBLES, *STEPPED, *INTEGERS, *LISTS]
MIXED = (
    Parameter(name="lr", type="double", min="1e-4", max="0.1", distribution="logUniform"),
    Parameter(name="layers", type="int", min="1", max="4"),
    Parameter(name="batch", type="discrete", list=("16", "32", "64")),
    Parameter(name="optimizer", type="categorical", list=("sgd", "adam", "ftrl")),
    Parameter(name="fixed", type="categorical", list=("only",)),
)
Objective = Callable[[int, PointTexts], tuple[TrialPhase, float | None]]


def takes(name: str, *parameters: Parameter) -> bool:
    """Whether the algorithm searches such a space at all."""
    submission = Submission(
        parameters=parameters, settings={}, parallel_trial_count=3, max_trial_count=None
    )
    return not list(REGISTRY.describe(name).check(submission))


def mixed_for(name: str) -> tuple[Parameter, ...]:
    """MIXED, with a step where the algorithm needs one."""
    return MIXED if takes(name, *MIXED) else (replace(MIXED[0], step="1e-4"), *MIXED[1:])


def allows_duplicates(name: str) -> bool:
    return "duplicates" in {setting.name for setting in REGISTRY.describe(name).settings}


def study_of(name: str, *parameters: Parameter, **extra: str) -> Study:
    settings = (*SETTINGS.get(name, ()), *extra.items())
    algorithm = AlgorithmSpec(name=name, settings=settings)
    return Study(parameters=parameters, objective=ObjectiveType.MINIMIZE, algorithm=algorithm)


def identity(parameter: Parameter) -> str:
    return f"{parameter.type}-{parameter.distribution}-{parameter.step or 'plain'}"


def size_of(_index: int, point: PointTexts) -> tuple[TrialPhase, float | None]:
    """An objective for any space: numbers as they are, other texts by length."""
    total = 0.0
    for text in point:
        try:
            total += float(text)
        except ValueError:
            total += len(text)
    return TrialPhase.SUCCEEDED, total


class Run:
    """Asks for points and finishes trials in turn; can be repeated by a fresh instance."""

    def __init__(self, study: Study, objective: Objective = size_of) -> None:
        self.study = study
        self.objective = objective
        self.algorithm = REGISTRY.create(study)
        self.points: list[PointTexts] = []
        self.finished: list[FinishedTrial] = []
        self.requests: list[tuple[ProposalRequest, tuple[PointTexts, ...]]] = []
        self.exhausted = False

    def ask(self, count: int) -> tuple[PointTexts, ...]:
        number = len(self.requests) + 1
        request = ProposalRequest(
            number=number,
            first=len(self.points),
            count=count,
            watermark=len(self.finished),
            seed=request_seed(7, number),
        )
        proposal = self.algorithm.propose(request, Random(request.seed))
        self.exhausted = proposal.exhausted
        assert proposal.exhausted == (len(proposal.points) < count)
        self.points.extend(proposal.points)
        self.requests.append((request, proposal.points))
        return proposal.points

    def finish(self, index: int) -> None:
        phase, value = self.objective(index, self.points[index])
        trial = FinishedTrial(
            number=len(self.finished) + 1,
            index=index,
            point=self.points[index],
            phase=phase,
            value=value,
        )
        self.finished.append(trial)
        self.algorithm.tell([trial])

    def rounds(self, count: int, width: int) -> None:
        """`count` times: ask for `width`, then finish all but the newest of what is open."""
        for _ in range(count):
            self.ask(width)
            done = {trial.index for trial in self.finished}
            for index in range(len(self.points) - 1):
                if index not in done:
                    self.finish(index)

    def restored(self, request: ProposalRequest, portion: int) -> Algorithm:
        """A fresh instance that was told what the request may see, in portions."""
        fresh = REGISTRY.create(self.study)
        for at in range(0, request.first, portion):
            fresh.restore(self.points[at : min(at + portion, request.first)])
        for at in range(0, request.watermark, portion):
            fresh.tell(self.finished[at : min(at + portion, request.watermark)])
        return fresh


@pytest.mark.parametrize("name", NAMES)
class TestEveryAlgorithm:
    @pytest.mark.parametrize("parameter", PARAMETERS, ids=identity)
    def test_points_lie_within_bounds_and_on_the_grid(
        self, name: str, parameter: Parameter
    ) -> None:
        if not takes(name, parameter):
            pytest.skip("refused at submission")
        run = Run(study_of(name, parameter))
        run.rounds(3, 2)
        assert len(run.points) == 6
        for (text,) in run.points:
            if parameter.list:
                assert text in parameter.list
                continue
            assert Decimal(parameter.min) <= Decimal(text) <= Decimal(parameter.max)
            if parameter.step:
                assert (Decimal(text) - Decimal(parameter.min)) % Decimal(parameter.step) == 0
            if parameter.type == "int":
                assert str(int(text)) == text

    def test_a_restored_instance_answers_every_request_alike(self, name: str) -> None:
        run = Run(study_of(name, *mixed_for(name)))
        run.rounds(5, 2)
        for request, answer in run.requests:
            for portion in (1, 100):
                assert (
                    run.restored(request, portion).propose(request, Random(request.seed)).points
                    == answer
                )

    def test_other_seeds_give_other_points(self, name: str) -> None:
        first, second = (
            REGISTRY.create(replace(study_of(name, *mixed_for(name)), seed=seed))
            .propose(
                ProposalRequest(number=1, first=0, count=3, watermark=0, seed=seed), Random(seed)
            )
            .points
            for seed in (1, 2)
        )
        assert first != second

    def test_a_finite_space_is_drawn_completely_and_each_point_once(self, name: str) -> None:
        parameters = (
            Parameter(name="a", type="int", min="1", max="3", distribution="logNormal"),
            Parameter(name="b", type="categorical", list=("x", "y")),
            Parameter(name="c", type="double", min="0", max="0.5", step="0.5"),
        )
        run = Run(study_of(name, *parameters))
        run.rounds(4, 3)
        assert len(set(run.points)) == 12
        assert not run.exhausted
        assert run.ask(2) == ()
        assert run.exhausted

    def test_the_last_points_of_a_space_come_before_the_end(self, name: str) -> None:
        run = Run(study_of(name, Parameter(name="a", type="int", min="1", max="5")))
        run.rounds(1, 3)
        assert len(run.ask(9)) == 2
        assert sorted(run.points) == [("1",), ("2",), ("3",), ("4",), ("5",)]

    def test_32_workers_share_a_space_of_60_points_without_a_duplicate(self, name: str) -> None:
        parameters = (
            Parameter(name="a", type="int", min="1", max="5"),
            Parameter(name="b", type="categorical", list=("x", "y", "z")),
            Parameter(name="c", type="double", min="0.1", max="0.4", step="0.1"),
        )
        run = Run(study_of(name, *parameters))
        run.ask(32)
        while not run.exhausted:
            finished = len(run.finished)
            for index in range(finished, min(finished + 7, len(run.points))):
                run.finish(index)
            run.ask(32 - (len(run.points) - len(run.finished)))
        assert len(run.points) == len(set(run.points)) == 60

    def test_with_duplicates_allowed_a_small_space_never_ends(self, name: str) -> None:
        if not allows_duplicates(name):
            pytest.skip("it has no such setting")
        study = study_of(
            name, Parameter(name="a", type="int", min="1", max="2"), duplicates="allow"
        )
        run = Run(study)
        run.rounds(3, 2)
        assert len(run.points) == 6
        assert not run.exhausted

    @pytest.mark.parametrize(
        "value", [None, math.nan, math.inf, -math.inf, 1e308, -1e308, 0.0], ids=str
    )
    def test_failed_trials_and_strange_values_are_survived(
        self, name: str, value: float | None
    ) -> None:
        def mostly_strange(index: int, point: PointTexts) -> tuple[TrialPhase, float | None]:
            if index % 4 == 3:
                return TrialPhase.SUCCEEDED, float(index)
            phase = TrialPhase.FAILED if value is None else TrialPhase.SUCCEEDED
            return phase, value

        run = Run(study_of(name, *mixed_for(name)), mostly_strange)
        run.rounds(6, 2)
        assert len(set(run.points)) == 12

    def test_an_experiment_of_failures_goes_on(self, name: str) -> None:
        run = Run(
            study_of(name, *mixed_for(name)), lambda _index, _point: (TrialPhase.FAILED, None)
        )
        run.rounds(4, 2)
        assert len(set(run.points)) == 8

    @pytest.mark.parametrize("parameter", DOUBLES, ids=identity)
    def test_initial_points_follow_a_continuous_distribution(
        self, name: str, parameter: Parameter
    ) -> None:
        if not takes(name, parameter):
            pytest.skip("refused at submission")
        values = initial_values(name, parameter)
        assert stats.kstest(values, frozen(parameter).cdf).pvalue > P_VALUE

    @pytest.mark.parametrize("parameter", [*STEPPED, *INTEGERS, *LISTS], ids=identity)
    def test_initial_points_follow_a_grid_s_distribution(
        self, name: str, parameter: Parameter
    ) -> None:
        if not allows_duplicates(name):
            pytest.skip("each point comes once, whatever the distribution")
        shares = cell_shares(parameter)
        space = SearchSpace((parameter,))
        counts = Counter(space.index_of((v,)) for v in initial_values(name, parameter))
        observed = [counts[i] for i in range(len(shares))]
        expected = [share * sum(observed) for share in shares]
        assert stats.chisquare(observed, expected).pvalue > P_VALUE


@pytest.mark.parametrize("name", FREE)
class TestAlgorithmsThatDoNotLookAtResults:
    @pytest.mark.parametrize("duplicates", ["avoid", "allow"])
    def test_points_do_not_depend_on_how_many_are_asked_for_at_a_time(
        self, name: str, duplicates: str
    ) -> None:
        small = (
            Parameter(name="a", type="int", min="1", max="8", distribution="normal"),
            Parameter(name="b", type="categorical", list=("x", "y", "z", "u", "v")),
        )
        extra = {"duplicates": duplicates} if allows_duplicates(name) else {}
        for parameters in (small, mixed_for(name)):
            runs = [Run(study_of(name, *parameters, **extra)) for _ in range(3)]
            for run, counts in zip(runs, ([1] * 40, [40], [3, 7, 19, 11]), strict=True):
                for count in counts:
                    run.ask(count)
            assert runs[0].points == runs[1].points == runs[2].points
            assert len(runs[0].points) == 40

    def test_ten_thousand_points_are_no_burden(self, name: str) -> None:
        run = Run(study_of(name, *mixed_for(name)))
        run.ask(5000)
        started = time.process_time()
        for _ in range(500):
            run.ask(1)
        assert (time.process_time() - started) / 500 < 0.002
        run.ask(4500)
        assert len(set(run.points)) == 10_000


def initial_values(name: str, parameter: Parameter) -> list[float]:
    extra = {"n_initial_points": "1000"} if name == "bayesianoptimization" else {}
    run = Run(study_of(name, parameter, duplicates="allow", **extra))
    space = SearchSpace((parameter,))
    return [space.parse(point)[0] for point in run.ask(1000)]  # type: ignore[misc]


def frozen(parameter: Parameter, support: tuple[float, float] | None = None) -> stats.rv_continuous:
    """scipy's own distribution for a range, cut off at `support`."""
    low, high = float(parameter.min), float(parameter.max)
    start, end = support or (low, high)
    match parameter.distribution:
        case "uniform":
            return stats.uniform(start, end - start)
        case "logUniform":
            return stats.loguniform(start, end)
        case "normal":
            mu, sigma = (low + high) / 2, (high - low) / 6
            return stats.truncnorm((start - mu) / sigma, (end - mu) / sigma, mu, sigma)
        case _:
            mu, sigma = math.log(low * high) / 2, math.log(high / low) / 6
            bounds = (math.log(start) - mu) / sigma, (math.log(end) - mu) / sigma
            return LogOf(stats.truncnorm(*bounds, mu, sigma))


class LogOf:
    """The distribution of exp(x)."""

    def __init__(self, distribution: stats.rv_continuous) -> None:
        self.distribution = distribution

    def cdf(self, x: Any) -> Any:
        return self.distribution.cdf(np.log(x))


def cell_shares(parameter: Parameter) -> list[float]:
    """The probability of each value: of half a step to both sides."""
    if parameter.list:
        return [1 / len(parameter.list)] * len(parameter.list)
    space = SearchSpace((parameter,))
    size, half = space.cardinality() or 0, float(parameter.step or 1) / 2
    values = [float(space.point_at(i)[0]) for i in range(size)]
    is_log = parameter.distribution.startswith("log")
    start = max(values[0] - half, values[0] / 2) if is_log else values[0] - half
    distribution = frozen(parameter, (start, values[-1] + half))
    edges = [start, *(value + half for value in values)]
    below = [float(distribution.cdf(edge)) for edge in edges]
    return [after - before for before, after in pairwise(below)]
