"""Every built-in algorithm passes the contract; those that do not look at results owe more."""

import time
from typing import ClassVar

import pytest

from trialbus.kernel.catalogue import AlgorithmDescription
from trialbus.kernel.space import Parameter
from trialbus.kernel.spec import NasConfig, NasOperation
from trialbus.testkit.algorithm_contract import AlgorithmContract
from trialbus.testkit.algorithm_runs import Run, Subject
from trialbus.testkit.algorithm_spaces import MIXED
from trialbus_suggestion.core.catalogue import BUILT_IN
from trialbus_suggestion.core.descriptions.cmaes import CMAES
from trialbus_suggestion.core.descriptions.darts import ASSIGNMENTS, DARTS
from trialbus_suggestion.core.descriptions.enas import ENAS
from trialbus_suggestion.core.descriptions.modelling import (
    BAYESIAN_OPTIMIZATION,
    MULTIVARIATE_TPE,
    TPE,
)
from trialbus_suggestion.core.descriptions.pbt import PBT
from trialbus_suggestion.core.descriptions.rungs import ASHA, ASYNC_HYPERBAND, HYPERBAND
from trialbus_suggestion.core.descriptions.sampling import GRID, RANDOM, SOBOL


class Free(AlgorithmContract):
    """One whose points do not depend on results."""

    @pytest.mark.parametrize("duplicates", ["avoid", "allow"])
    def test_points_do_not_depend_on_how_many_are_asked_for_at_a_time(
        self, duplicates: str
    ) -> None:
        small = (
            Parameter(name="a", type="int", min="1", max="8", distribution="normal"),
            Parameter(name="b", type="categorical", list=("x", "y", "z", "u", "v")),
        )
        extra = (("duplicates", duplicates),) if self.subject.allows_duplicates else ()
        for parameters in (small, self.space(*MIXED)):
            study = self.subject.study(parameters, *extra)
            runs = [Run(self.subject, study) for _ in range(3)]
            for run, counts in zip(runs, ([1] * 40, [40], [3, 7, 19, 11]), strict=True):
                for count in counts:
                    run.ask(count)
            assert runs[0].points == runs[1].points == runs[2].points
            assert len(runs[0].points) == 40

    def test_ten_thousand_points_are_no_burden(self) -> None:
        run = Run(self.subject, self.study())
        run.ask(5000)
        started = time.process_time()
        for _ in range(500):
            run.ask(1)
        assert (time.process_time() - started) / 500 < 0.002
        run.ask(4500)
        assert len(set(run.points)) == 10_000


class TestRandom(Free):
    subject: ClassVar = Subject(description=RANDOM)


class TestGrid(Free):
    subject: ClassVar = Subject(description=GRID)


class TestSobol(Free):
    subject: ClassVar = Subject(description=SOBOL)


class TestTpe(AlgorithmContract):
    subject: ClassVar = Subject(
        description=TPE,
        settings=(("n_startup_trials", "3"),),
        initial_settings=(("n_startup_trials", "1000"),),
    )


class TestMultivariateTpe(AlgorithmContract):
    subject: ClassVar = Subject(
        description=MULTIVARIATE_TPE,
        settings=(("n_startup_trials", "3"),),
        initial_settings=(("n_startup_trials", "1000"),),
    )


class TestBayesianOptimization(AlgorithmContract):
    subject: ClassVar = Subject(
        description=BAYESIAN_OPTIMIZATION,
        settings=(("n_initial_points", "3"),),
        initial_settings=(("n_initial_points", "1000"),),
        trials=300,
    )


class TestCmaEs(AlgorithmContract):
    # The first points lie around the middle.
    subject: ClassVar = Subject(
        description=CMAES,
        settings=(("population_size", "4"), ("restart_strategy", "ipop")),
        follows_distributions=False,
    )


def of_rungs(description: AlgorithmDescription) -> Subject:
    """The resource is beyond its own range."""
    return Subject(
        description=description,
        settings=(("r_l", "27"), ("resource_name", "epochs")),
        initial_settings=(("r_l", "729"),),
        resource=Parameter(name="epochs", type="int", min="1", max="1"),
        covers_space=False,
        grows_itself=True,
    )


class TestHyperband(AlgorithmContract):
    subject: ClassVar = of_rungs(HYPERBAND)


class TestAsha(AlgorithmContract):
    subject: ClassVar = of_rungs(ASHA)


class TestAsyncHyperband(AlgorithmContract):
    subject: ClassVar = of_rungs(ASYNC_HYPERBAND)


class TestDarts(AlgorithmContract):
    # A point is a whole search.
    subject: ClassVar = Subject(
        description=DARTS,
        nas=NasConfig(
            num_layers=2,
            input_sizes=(),
            output_sizes=(),
            operations=(NasOperation(type="skip_connection", parameters=()),),
        ),
        names=ASSIGNMENTS,
        follows_distributions=False,
        covers_space=False,
        repeats=True,
        grows_itself=True,
    )

    def test_other_seeds_give_other_points(self) -> None:
        """Not in its nature: the seeds are those of the trials."""
        assert len({Run(self.subject, self.study()).ask(2) for _ in range(2)}) == 1


class TestEnas(AlgorithmContract):
    # A thousand architectures.
    subject: ClassVar = Subject(
        description=ENAS,
        # So fast that every result shows in the next points.
        settings=(
            ("controller_hidden_size", "8"),
            ("controller_train_steps", "3"),
            ("controller_learning_rate", "0.05"),
        ),
        nas=NasConfig(
            num_layers=3,
            input_sizes=(8, 8, 1),
            output_sizes=(10,),
            operations=(
                NasOperation(
                    type="convolution",
                    parameters=(Parameter(name="num_filter", type="int", min="1", max="5"),),
                ),
            ),
        ),
        names=("architecture", "nn_config"),
        follows_distributions=False,
        trials=300,
        grows_itself=True,
    )


class TestPbt(AlgorithmContract):
    # A member that goes on repeats its parameters.
    subject: ClassVar = Subject(
        description=PBT,
        settings=(("n_population", "5"), ("truncation_threshold", "0.4")),
        initial_settings=(("n_population", "1000"),),
        covers_space=False,
        repeats=True,
        grows_itself=True,
    )


def test_every_algorithm_is_held_to_the_contract() -> None:
    def leaves(kind: type[AlgorithmContract]) -> set[str]:
        below = kind.__subclasses__()
        return set().union(*map(leaves, below)) if below else {kind.subject.description.name}

    assert leaves(AlgorithmContract) >= {it.name for it in BUILT_IN}
