"""CMA-ES: restarts, settings, marks."""

import math
from collections import Counter
from random import Random

import numpy as np
import pytest

from trialbus.kernel.catalogue import Submission, check_settings, read_settings
from trialbus.kernel.proposals import PointTexts
from trialbus.kernel.space import Parameter
from trialbus.kernel.suggestion import Mark
from trialbus.kernel.trial import TrialPhase
from trialbus.testkit.algorithm_runs import Run, Subject
from trialbus.testkit.known_minima import (
    cube,
    one_at_a_time,
    rastrigin,
    run_of,
    sphere,
)
from trialbus_suggestion.core.cmaes_marks import (
    AT_RANDOM,
    DRAWN,
    GENERATION,
    RESTART,
    distances,
    marked,
    passed_over_by,
)
from trialbus_suggestion.core.cmaes_runs import Restarts
from trialbus_suggestion.core.descriptions.cmaes import CMAES

SUBJECT = Subject(description=CMAES)


def generations(run: Run) -> list[int]:
    return [int(mark.label(GENERATION) or -1) for mark in run.marks]


class TestRestarts:
    def test_ipop_doubles_the_population(self) -> None:
        uniform, restarts = iter(Random(1).random, None), Restarts("ipop", 8, 0.2)
        assert [restarts.after(100, uniform) for _ in range(4)] == [
            (16, 0.2), (32, 0.2), (64, 0.2), (128, 0.2),
        ]  # fmt: skip

    def test_a_run_that_found_nothing_new_is_repeated_elsewhere(self) -> None:
        uniform, restarts = iter(Random(1).random, None), Restarts("ipop", 8, 0.2)
        assert [restarts.after(spent, uniform) for spent in (0, 100, 0, 0, 100)] == [
            (8, 0.2), (16, 0.2), (16, 0.2), (16, 0.2), (32, 0.2),
        ]  # fmt: skip

    def test_populations_do_not_grow_for_ever(self) -> None:
        uniform, restarts = iter(Random(1).random, None), Restarts("ipop", 8, 0.2)
        assert [restarts.after(1, uniform) for _ in range(50)][-1] == (8 * 2**9, 0.2)

    def test_bipop_spends_as_much_on_small_populations_as_on_large_ones(self) -> None:
        """Hansen 2009: the next regime is that which has spent less; small populations are
        between the first and half of the last large one, with steps down to a hundredth."""
        uniform, restarts = iter(Random(1).random, None), Restarts("bipop", 10, 0.2)
        population, sigma = 10, 0.2
        spent, kind, larges = {"small": 0, "large": 0}, "small", []
        for _ in range(60):
            trials = population * 50
            spent[kind] += trials
            upcoming = restarts.after(trials, uniform)
            assert upcoming is not None
            population, sigma = upcoming
            kind = "small" if spent["small"] < spent["large"] else "large"
            if kind == "large":
                larges.append(population)
                assert sigma == 0.2
            else:
                assert 10 <= population <= larges[-1] / 2
                assert 0.002 <= sigma <= 0.2
        assert larges == [10 * 2**k for k in range(1, len(larges) + 1)]
        assert len(larges) >= 3

    def test_none_has_one_run(self) -> None:
        assert Restarts("none", 8, 0.2).after(100, iter(Random(1).random, None)) is None

    @pytest.mark.parametrize("strategy", ["ipop", "bipop"])
    def test_a_converged_run_is_followed_by_one_with_another_population(
        self, strategy: str
    ) -> None:
        run = run_of(SUBJECT, rastrigin, cube(2), ("restart_strategy", strategy))
        one_at_a_time(run, 2400)
        restarts = [int(mark.label(RESTART) or 0) for mark in run.marks]
        assert restarts == sorted(restarts)
        assert restarts[-1] >= 2
        sizes: dict[int, Counter[int]] = {}
        for number, generation in zip(restarts, generations(run), strict=True):
            sizes.setdefault(number, Counter())[generation] += 1
        # The first generation of each run is complete.
        first = [counts[min(counts)] for _, counts in sorted(sizes.items())]
        assert first[:2] == [6, 12]
        assert first[2] == {"ipop": 24, "bipop": 6}[strategy]

    def test_restarts_find_what_a_single_run_misses(self) -> None:
        def solved(strategy: str) -> int:
            runs = (
                run_of(SUBJECT, rastrigin, cube(2), ("restart_strategy", strategy), seed=seed)
                for seed in range(2, 5)
            )
            return sum(one_at_a_time(run, 2500) < 1e-4 for run in runs)

        assert solved("none") == 0
        assert solved("ipop") >= 2

    def test_without_restarts_a_converged_run_is_followed_by_random_points(self) -> None:
        run = run_of(SUBJECT, sphere, cube(2))
        one_at_a_time(run, 900)
        assert run.marks[-1].label(DRAWN) == AT_RANDOM
        assert len(set(run.points)) == 900
        tail = np.array([[float(text) for text in point] for point in run.points[-100:]])
        assert tail.std(axis=0).min() > 0.2

    def test_a_grid_of_numbers_is_spent_though_the_distribution_converges(self) -> None:
        space = tuple(Parameter(name=n, type="int", min="1", max="15") for n in "ab")
        run = run_of(
            SUBJECT, lambda x: sum((v - 4) ** 2 for v in x), space, ("restart_strategy", "ipop")
        )
        assert one_at_a_time(run, 225) == 0
        assert len(set(run.points)) == 225
        assert run.ask(1) == ()
        assert run.exhausted


class TestSettings:
    def test_sigma_is_how_far_the_first_points_lie_from_the_middle(self) -> None:
        def spread(sigma: str) -> float:
            run = run_of(SUBJECT, sphere, cube(4), ("sigma", sigma))
            return float(np.std([[float(text) for text in point] for point in run.ask(200)]))

        assert spread("0.02") == pytest.approx(0.02, rel=0.1)
        assert spread("0") == pytest.approx(1 / 6, rel=0.1)

    def test_population_size_is_taken(self) -> None:
        run = run_of(SUBJECT, sphere, cube(3), ("population_size", "20"))
        one_at_a_time(run, 41)
        assert generations(run) == [0] * 20 + [1] * 20 + [2]

    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("random_state", "-1", "random_state should be great or equal than zero"),
            ("sigma", "-0.1", "sigma should be great or equal than zero"),
            ("sigma", "inf", "sigma should be great or equal than zero"),
            ("sigma", "nan", "sigma should be great or equal than zero"),
            ("restart_strategy", "lipop", "restart_strategy lipop is not supported in CMA-ES: "
             "none, ipop or bipop"),
            ("population_size", "3", "population_size should be 0 or at least 4"),
            ("popsize", "3", "unknown setting popsize for algorithm cmaes"),
        ],
    )  # fmt: skip
    def test_wrong_ones_are_refused(self, name: str, value: str, message: str) -> None:
        [problem] = check_settings(CMAES, [(name, value)])
        assert str(problem) == message

    @pytest.mark.parametrize(
        ("kinds", "is_taken"),
        [
            (["double", "int"], True),
            (["double", "double", "categorical"], True),
            (["double", "categorical", "discrete"], False),
            (["int"], False),
        ],
    )
    def test_two_numbers_are_needed(self, kinds: list[str], is_taken: bool) -> None:
        parameters = tuple(
            Parameter(name=f"p{i}", type="double", min="0", max="1")
            if kind == "double"
            else Parameter(name=f"p{i}", type="int", min="0", max="9")
            if kind == "int"
            else Parameter(name=f"p{i}", type=kind, list=("1", "2"))
            for i, kind in enumerate(kinds)
        )
        submission = Submission(
            parameters=parameters,
            settings=read_settings(CMAES, ()),
            parallel_trial_count=3,
            max_trial_count=None,
        )
        problems = list(CMAES.check(submission))
        assert bool(problems) != is_taken
        if problems:
            [problem] = problems
            assert problem.field == "spec.parameters"
            assert problem.message.startswith(
                "CMA-ES only supports two or more dimensional continuous search space."
            )

    def test_lists_of_numbers_are_searched_and_others_drawn_at_random(self) -> None:
        space = (
            *cube(2),
            Parameter(name="batch", type="discrete", list=("8", "128", "16", "32", "64")),
            Parameter(name="optimizer", type="categorical", list=("a", "b", "c")),
            Parameter(name="fixed", type="double", min="2", max="2"),
        )

        def objective(_index: int, point: PointTexts) -> tuple[TrialPhase, float | None]:
            x = [float(text) for text in point[:3]]
            return TrialPhase.SUCCEEDED, sphere(x[:2]) + abs(math.log2(x[2]) - 6)

        run = Run(SUBJECT, SUBJECT.study(space), objective)
        one_at_a_time(run, 400)
        tail = run.points[300:]
        assert Counter(point[2] for point in tail)["64"] > 80
        assert min(Counter(point[3] for point in tail).values()) > 15
        assert {point[4] for point in tail} == {"2.0"}

    def test_a_space_of_single_values_is_no_reason_to_fail(self) -> None:
        space = tuple(Parameter(name=n, type="int", min="3", max="3") for n in "ab")
        run = run_of(SUBJECT, sphere, space)
        assert run.ask(2) == (("3", "3"),)
        assert run.exhausted


class TestMarks:
    def test_distances_come_back(self) -> None:
        text = distances([1, 40, 977], 1000)
        assert text == "rr.qo.n"
        mark = marked(generation=3, passed_over=text)
        assert passed_over_by(mark, 1000) == {1, 40, 977}
        assert passed_over_by(Mark(), 1000) == frozenset()

    def test_labels_are_no_longer_than_kubernetes_takes(self) -> None:
        assert len(distances(range(500, 521), 1000) or "") <= 63
        assert distances(range(500, 600), 1000) is None
