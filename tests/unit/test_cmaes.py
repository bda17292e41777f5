"""CMA-ES: one trial at a time it is the package's, and with many at a time as good."""

import math
from random import Random

import numpy as np
import pytest
from cmaes import CMA, CMAwM

from trialbus.kernel.proposals import PointTexts
from trialbus.kernel.space import Parameter
from trialbus.kernel.trial import TrialPhase
from trialbus.testkit.algorithm_runs import Run, Subject
from trialbus.testkit.known_minima import (
    Function,
    best_of,
    cube,
    ellipsoid,
    many_at_a_time,
    one_at_a_time,
    rosenbrock,
    run_of,
    sphere,
)
from trialbus_suggestion.core.cmaes_marks import (
    GENERATION,
    PASSED_OVER,
    passed_over_by,
)
from trialbus_suggestion.core.descriptions.cmaes import CMAES
from trialbus_suggestion.core.seeds import point_seed

SUBJECT = Subject(description=CMAES)


def generations(run: Run) -> list[int]:
    return [int(mark.label(GENERATION) or -1) for mark in run.marks]


class TestOneAtATime:
    def test_points_are_those_of_the_package_itself(self) -> None:
        run = run_of(SUBJECT, rosenbrock, cube(5))
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
        run = run_of(SUBJECT, lambda x: sphere(x[:3]) + abs(x[3] - 7) / 10, space)
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
        assert one_at_a_time(run_of(SUBJECT, function, cube(dimensions)), trials) < target

    def test_the_scale_of_a_parameter_is_its_distribution_s(self) -> None:
        space = tuple(
            Parameter(name=name, type="double", min="1e-6", max="1", distribution="logUniform")
            for name in "ab"
        )
        run = run_of(SUBJECT, lambda x: sum((math.log10(v) + 4.5) ** 2 for v in x), space)
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
        assert one_at_a_time(run_of(SUBJECT, mixed, space, ("sigma", "0.0003")), 1500) < 1e-4


class TestManyAtATime:
    def test_all_results_count(self) -> None:
        """As many updates as results allow, though every other result is of an older one."""
        run = run_of(SUBJECT, sphere, cube(5))
        many_at_a_time(run, 400, 8, Random(1))
        assert generations(run)[-1] >= 0.9 * (400 - 8) / 8

    @pytest.mark.parametrize("workers", [8, 32])
    def test_it_reaches_the_target_with_trials_of_very_different_durations(
        self, workers: int
    ) -> None:
        assert many_at_a_time(run_of(SUBJECT, sphere, cube(5)), 2000, workers, Random(2)) < 1e-8

    def test_late_results_cost_little_quality(self) -> None:
        def log_best(workers: int) -> float:
            runs = (
                many_at_a_time(
                    run_of(SUBJECT, sphere, cube(5), seed=seed), 300, workers, Random(seed)
                )
                for seed in range(5)
            )
            return float(np.mean([math.log10(best) for best in runs]))

        # Leaving them out ends three powers of ten behind.
        assert log_best(8) < log_best(1) + 1

    def test_any_order_of_ends_and_any_restart_give_the_same_continuation(self) -> None:
        run = run_of(
            SUBJECT, rosenbrock, (*cube(2), Parameter(name="n", type="int", min="1", max="9"))
        )
        many_at_a_time(run, 150, 8, Random(3))
        for request, answer in run.requests[::7]:
            again = run.told_anew(request, portion=13, order=Random(request.number))
            assert again.propose(request, Random(request.seed)) == answer

    def test_a_straggler_keeps_nobody_waiting(self) -> None:
        run = run_of(SUBJECT, sphere, cube(5))
        run.ask(8)
        for index in range(1, 100):
            run.finish(index)
            run.ask(1)
        assert generations(run)[-1] >= 10
        late = [mark for mark in run.marks if mark.label(PASSED_OVER)]
        assert passed_over_by(late[0], run.marks.index(late[0])) == {0}

    def test_what_the_updates_passed_over_is_known_after_a_restart(self) -> None:
        run = run_of(SUBJECT, sphere, cube(5))
        run.ask(8)
        for index in [*range(3, 60), 0, 1]:
            run.finish(index)
            run.ask(1)
        request, answer = run.requests[-1]
        again = run.told_anew(request, portion=100, order=Random(1))
        assert again.propose(request, Random(request.seed)) == answer

    def test_more_stragglers_than_a_label_holds_are_waited_for(self) -> None:
        run = run_of(SUBJECT, sphere, cube(5))
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
        run = run_of(SUBJECT, sphere, cube(5))
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
