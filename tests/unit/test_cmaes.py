"""CMA-ES: one trial at a time it is the package's, and with many at a time as good."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from cmaes import CMA, CMAwM

from trialbus.kernel.catalogue import Submission, check_settings, read_settings
from trialbus.kernel.proposals import PointTexts
from trialbus.kernel.space import Parameter
from trialbus.kernel.suggestion import Mark
from trialbus.kernel.trial import TrialPhase
from trialbus.testkit.algorithm_runs import Run, Subject
from trialbus_suggestion.core.cmaes_marks import (
    AT_RANDOM,
    DRAWN,
    GENERATION,
    PASSED_OVER,
    RESTART,
    distances,
    marked,
    passed_over_by,
)
from trialbus_suggestion.core.cmaes_runs import Restarts
from trialbus_suggestion.core.descriptions.cmaes import CMAES
from trialbus_suggestion.core.seeds import point_seed

SUBJECT = Subject(description=CMAES)
Function = Callable[[list[float]], float]


def cube(dimensions: int) -> tuple[Parameter, ...]:
    return tuple(
        Parameter(name=f"x{i}", type="double", min="0", max="1") for i in range(dimensions)
    )


def sphere(x: list[float]) -> float:
    return sum((v - 0.3) ** 2 for v in x)


def ellipsoid(x: list[float]) -> float:
    powers = np.linspace(0, 6, len(x))
    return float(sum(10**p * (v - 0.3) ** 2 for p, v in zip(powers, x, strict=True)))


def rosenbrock(x: list[float]) -> float:
    z = [1 + 4 * (v - 0.3) for v in x]
    return sum(100 * (b - a * a) ** 2 + (1 - a) ** 2 for a, b in pairwise(z))


def rastrigin(x: list[float]) -> float:
    z = [10 * (v - 0.3) for v in x]
    return 10 * len(z) + sum(v * v - 10 * math.cos(2 * math.pi * v) for v in z)


def run_of(
    function: Function, space: tuple[Parameter, ...], *settings: tuple[str, str], seed: int = 11
) -> Run:
    def objective(_index: int, point: PointTexts) -> tuple[TrialPhase, float | None]:
        return TrialPhase.SUCCEEDED, function([float(text) for text in point])

    return Run(SUBJECT, replace(SUBJECT.study(space, *settings), seed=seed), objective)


def one_at_a_time(run: Run, trials: int) -> float:
    """The best value."""
    for index in range(len(run.points), len(run.points) + trials):
        run.ask(1)
        run.finish(index)
    return best_of(run)


def many_at_a_time(run: Run, trials: int, workers: int, order: Random) -> float:
    run.ask(workers)
    running = list(run.unfinished)
    while len(run.points) < trials:
        # Exponential durations: some trials take very long.
        index = running.pop(order.randrange(len(running)))
        run.finish(index)
        run.ask(1)
        running.append(len(run.points) - 1)
    return best_of(run)


def best_of(run: Run) -> float:
    return min((it.value for it in run.finished if it.value is not None), default=math.inf)


def generations(run: Run) -> list[int]:
    return [int(mark.label(GENERATION) or -1) for mark in run.marks]


class TestOneAtATime:
    def test_points_are_those_of_the_package_itself(self) -> None:
        run = run_of(rosenbrock, cube(5))
        one_at_a_time(run, 200)
        reference = CMA(mean=np.full(5, 0.5), sigma=1 / 6, bounds=np.array([[0.0, 1.0]] * 5))
        solutions: list[tuple[np.ndarray, float]] = []
        for index, point in enumerate(run.points):
            # The only thing that is ours: which seed a point has.
            reference.reseed_rng(Random(point_seed(run.study.seed, index)).getrandbits(32))
            x = reference.ask()
            assert [float(text) for text in point] == x.tolist()
            solutions.append((x, rosenbrock(x.tolist())))
            if len(solutions) == reference.population_size:
                reference.tell(solutions)
                solutions = []
        assert reference.generation == 200 // 8

    def test_with_integers_they_are_those_of_cma_es_with_margin(self) -> None:
        space = (*cube(3), Parameter(name="n", type="int", min="1", max="10"))
        run = run_of(lambda x: sphere(x[:3]) + abs(x[3] - 7) / 10, space)
        one_at_a_time(run, 120)
        reference = CMAwM(
            mean=np.full(4, 0.5),
            sigma=1 / 6,
            bounds=np.array([[0.0, 1.0]] * 3 + [[0.05, 0.95]]),
            steps=np.array([0.0, 0.0, 0.0, 0.1]),
        )
        solutions: list[tuple[np.ndarray, float]] = []
        for index, point in enumerate(run.points):
            reference.reseed_rng(Random(point_seed(run.study.seed, index)).getrandbits(32))
            evaluated, told = reference.ask()
            assert [float(text) for text in point[:3]] == evaluated[:3].tolist()
            assert int(point[3]) == round(evaluated[3] * 10 + 0.5)
            solutions.append((told, run.finished[index].value or 0.0))
            if len(solutions) == reference.population_size:
                reference.tell(solutions)
                solutions = []

    @pytest.mark.parametrize(
        ("function", "dimensions", "trials", "target"),
        [
            (sphere, 5, 700, 1e-8),
            (sphere, 10, 1400, 1e-8),
            (ellipsoid, 5, 1500, 1e-6),
            (ellipsoid, 10, 4500, 1e-6),
            (rosenbrock, 5, 2000, 1e-6),
            (rosenbrock, 10, 6000, 1e-6),
        ],
        ids=lambda value: getattr(value, "__name__", str(value)),
    )
    def test_it_reaches_the_target(
        self, function: Function, dimensions: int, trials: int, target: float
    ) -> None:
        assert one_at_a_time(run_of(function, cube(dimensions)), trials) < target

    def test_the_scale_of_a_parameter_is_its_distribution_s(self) -> None:
        space = tuple(
            Parameter(name=name, type="double", min="1e-6", max="1", distribution="logUniform")
            for name in "ab"
        )
        run = run_of(lambda x: sum((math.log10(v) + 4.5) ** 2 for v in x), space)
        assert one_at_a_time(run, 500) < 1e-8

    def test_an_integer_does_not_get_stuck_beside_the_optimum(self) -> None:
        """The doubles are at their optimum, and steps are much smaller than an integer's."""

        def mixed(x: list[float]) -> float:
            return 1e4 * sum((v - 0.5) ** 2 for v in x[:2]) + sum((v - 55) ** 2 for v in x[2:])

        space = (
            *cube(2),
            Parameter(name="m", type="int", min="1", max="101"),
            Parameter(name="n", type="double", min="1", max="101", step="1"),
        )
        assert one_at_a_time(run_of(mixed, space, ("sigma", "0.0003")), 1500) < 1e-4


class TestManyAtATime:
    def test_all_results_count(self) -> None:
        """As many updates as results allow, though every other result is of an older one."""
        run = run_of(sphere, cube(5))
        many_at_a_time(run, 400, 8, Random(1))
        assert generations(run)[-1] >= 0.9 * (400 - 8) / 8

    @pytest.mark.parametrize("workers", [8, 32])
    def test_it_reaches_the_target_with_trials_of_very_different_durations(
        self, workers: int
    ) -> None:
        assert many_at_a_time(run_of(sphere, cube(5)), 2000, workers, Random(2)) < 1e-8

    def test_late_results_cost_little_quality(self) -> None:
        def log_best(workers: int) -> float:
            runs = (
                many_at_a_time(run_of(sphere, cube(5), seed=seed), 300, workers, Random(seed))
                for seed in range(5)
            )
            return float(np.mean([math.log10(best) for best in runs]))

        # Leaving them out ends three powers of ten behind.
        assert log_best(8) < log_best(1) + 1

    def test_any_order_of_ends_and_any_restart_give_the_same_continuation(self) -> None:
        run = run_of(rosenbrock, (*cube(2), Parameter(name="n", type="int", min="1", max="9")))
        many_at_a_time(run, 150, 8, Random(3))
        for request, answer in run.requests[::7]:
            again = run.told_anew(request, portion=13, order=Random(request.number))
            assert again.propose(request, Random(request.seed)) == answer

    def test_a_straggler_keeps_nobody_waiting(self) -> None:
        run = run_of(sphere, cube(5))
        run.ask(8)
        for index in range(1, 100):
            run.finish(index)
            run.ask(1)
        assert generations(run)[-1] >= 10
        late = [mark for mark in run.marks if mark.label(PASSED_OVER)]
        assert passed_over_by(late[0], run.marks.index(late[0])) == {0}

    def test_what_the_updates_passed_over_is_known_after_a_restart(self) -> None:
        run = run_of(sphere, cube(5))
        run.ask(8)
        for index in [*range(3, 60), 0, 1]:
            run.finish(index)
            run.ask(1)
        request, answer = run.requests[-1]
        again = run.told_anew(request, portion=100, order=Random(1))
        assert again.propose(request, Random(request.seed)) == answer

    def test_more_stragglers_than_a_label_holds_are_waited_for(self) -> None:
        run = run_of(sphere, cube(5))
        run.ask(100)
        for index in range(50, 58):
            run.finish(index)
        run.ask(1)
        assert generations(run)[-1] == 0
        for index in range(45):
            run.finish(index)
        run.ask(1)
        assert generations(run)[-1] == 1

    def test_results_of_long_ago_are_left_out(self) -> None:
        run = run_of(sphere, cube(5))
        run.ask(16)
        for index in range(8, 100):
            run.finish(index)
            run.ask(1)
        # Eight results of the first distribution, which is ten updates away, are no generation.
        before = generations(run)[-1]
        unlearned = len(run.finished) - 8 * before
        for index in range(8 - unlearned):
            run.finish(index)
        run.ask(1)
        assert generations(run)[-1] == before


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
        run = run_of(rastrigin, cube(2), ("restart_strategy", strategy))
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
                run_of(rastrigin, cube(2), ("restart_strategy", strategy), seed=seed)
                for seed in range(2, 5)
            )
            return sum(one_at_a_time(run, 2500) < 1e-4 for run in runs)

        assert solved("none") == 0
        assert solved("ipop") >= 2

    def test_without_restarts_a_converged_run_is_followed_by_random_points(self) -> None:
        run = run_of(sphere, cube(2))
        one_at_a_time(run, 900)
        assert run.marks[-1].label(DRAWN) == AT_RANDOM
        assert len(set(run.points)) == 900
        tail = np.array([[float(text) for text in point] for point in run.points[-100:]])
        assert tail.std(axis=0).min() > 0.2

    def test_a_grid_of_numbers_is_spent_though_the_distribution_converges(self) -> None:
        space = tuple(Parameter(name=n, type="int", min="1", max="15") for n in "ab")
        run = run_of(lambda x: sum((v - 4) ** 2 for v in x), space, ("restart_strategy", "ipop"))
        assert one_at_a_time(run, 225) == 0
        assert len(set(run.points)) == 225
        assert run.ask(1) == ()
        assert run.exhausted


class TestWhatTrialsSay:
    def test_failed_trials_are_the_worst(self) -> None:
        """Half of the space fails: the mean moves out of it."""

        def half(_index: int, point: PointTexts) -> tuple[TrialPhase, float | None]:
            x = [float(text) for text in point]
            return (TrialPhase.FAILED, None) if x[0] > 0.4 else (TrialPhase.SUCCEEDED, sphere(x))

        run = Run(SUBJECT, SUBJECT.study(cube(4)), half)
        one_at_a_time(run, 300)
        late = [trial.phase for trial in run.finished[200:]]
        assert late.count(TrialPhase.FAILED) < 10
        assert best_of(run) < 1e-4

    def test_not_a_number_is_as_bad_as_failed(self) -> None:
        def objective(phase: TrialPhase, value: float | None) -> Run:
            run = Run(
                SUBJECT,
                SUBJECT.study(cube(3)),
                lambda i, p: (phase, value) if i % 3 == 0
                else (TrialPhase.SUCCEEDED, sphere([float(text) for text in p])),
            )  # fmt: skip
            one_at_a_time(run, 60)
            return run

        failed, nan = objective(TrialPhase.FAILED, None), objective(TrialPhase.SUCCEEDED, math.nan)
        assert failed.points == nan.points

    def test_killed_trials_say_nothing(self) -> None:
        """A generation is complete without them."""
        run = Run(
            SUBJECT,
            SUBJECT.study(cube(2)),
            lambda i, p: (TrialPhase.KILLED, None) if i % 2
            else (TrialPhase.SUCCEEDED, sphere([float(text) for text in p])),
        )  # fmt: skip
        one_at_a_time(run, 25)
        # Six results make a generation of two parameters: of the trials 0, 2, ... 10.
        assert generations(run)[:24] == [0] * 11 + [1] * 12 + [2]

    def test_where_all_fail_nothing_is_learned(self) -> None:
        run = Run(SUBJECT, SUBJECT.study(cube(2)), lambda *_: (TrialPhase.FAILED, None))
        one_at_a_time(run, 60)
        xs = np.array([[float(text) for text in point] for point in run.points[30:]])
        assert np.abs(xs.mean(axis=0) - 0.5).max() < 0.15


class TestSettings:
    def test_sigma_is_how_far_the_first_points_lie_from_the_middle(self) -> None:
        def spread(sigma: str) -> float:
            run = run_of(sphere, cube(4), ("sigma", sigma))
            return float(np.std([[float(text) for text in point] for point in run.ask(200)]))

        assert spread("0.02") == pytest.approx(0.02, rel=0.1)
        assert spread("0") == pytest.approx(1 / 6, rel=0.1)

    def test_population_size_is_taken(self) -> None:
        run = run_of(sphere, cube(3), ("population_size", "20"))
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
        run = run_of(sphere, space)
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
