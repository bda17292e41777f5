"""Grid and Sobol' search: their sequences, what they refuse, and the same points at any pace."""

import tracemalloc
from dataclasses import replace
from itertools import product
from pathlib import Path
from random import Random

import numpy as np
import pytest
from scipy.stats import qmc

from trialbus.contracts.katib.spec import parse_experiment
from trialbus.contracts.yaml_input import load_document
from trialbus.kernel.catalogue import Submission
from trialbus.kernel.errors import Problem, Refused
from trialbus.kernel.objective import ObjectiveType
from trialbus.kernel.proposals import PointTexts, ProposalRequest, Study
from trialbus.kernel.space import Parameter
from trialbus.kernel.spec import AlgorithmSpec
from trialbus.runtime.catalogue import load_catalogue
from trialbus_suggestion.core.algorithm import Algorithm
from trialbus_suggestion.core.checks import MAX_SOBOL_PARAMETERS, check_sobol
from trialbus_suggestion.core.permutation import Permutation
from trialbus_suggestion.core.registry import Registry
from trialbus_suggestion.core.seeds import point_seed
from trialbus_suggestion.core.sobol_sequence import MAX_DIMENSIONS, ScrambledSobol, directions

KATIB_GRID = Path(__file__).parents[2] / "examples" / "katib" / "grid.yaml"
MILLION = (
    Parameter(name="a", type="int", min="1", max="1000"),
    Parameter(name="b", type="double", min="0", max="0.999", step="0.001"),
)


def study_of(name: str, *parameters: Parameter, seed: int = 0) -> Study:
    return Study(
        parameters=parameters,
        objective=ObjectiveType.MINIMIZE,
        algorithm=AlgorithmSpec(name=name),
        seed=seed,
    )


def ask(algorithm: Algorithm, first: int, count: int) -> tuple[PointTexts, ...]:
    request = ProposalRequest(number=1, first=first, count=count, watermark=0, seed=9)
    return algorithm.propose(request, Random(9)).points


# Permutations --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 16, 17, 60, 1000, 4097])
def test_a_permutation_has_every_number_once(size: int) -> None:
    order = Permutation(size, 5)
    assert sorted(map(order.at, range(size))) == list(range(size))


def test_every_number_may_stand_at_every_place() -> None:
    at_first = [Permutation(6, seed).at(0) for seed in range(600)]
    # 100 each; five deviations are 46.
    assert all(54 <= at_first.count(number) <= 146 for number in range(6))


def test_a_permutation_may_have_any_size() -> None:
    order = Permutation(10**60, 1)
    places = [order.at(place) for place in range(100)]
    assert len(set(places)) == 100
    assert all(0 <= place < 10**60 for place in places)
    assert max(places) > 10**59


def test_seeds_of_points_are_the_same_for_ever() -> None:
    # Fixed by a first run: a change here changes every repeated experiment.
    assert point_seed(1, 1) == GOLDEN_POINT_SEED
    assert [Permutation(1000, 1).at(place) for place in range(4)] == GOLDEN_PLACES


GOLDEN_POINT_SEED = 2740646309818416517
GOLDEN_PLACES = [256, 294, 422, 617]


# Grid ----------------------------------------------------------------------------------------


def test_a_grid_of_a_million_points_is_not_listed() -> None:
    tracemalloc.start()
    try:
        grid = Registry().create(study_of("grid", *MILLION))
        points = [ask(grid, first, 1)[0] for first in range(1000)]
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(set(points)) == 1000
    assert peak_bytes < 2_000_000
    # Shuffled: a thousand consecutive points would have one value of a.
    assert len({a for a, _ in points}) > 500


def test_the_last_points_of_a_large_grid_are_found_and_then_it_is_spent() -> None:
    space = (Parameter(name="a", type="int", min="1", max="5000"),)
    grid = Registry().create(study_of("grid", *space))
    points = [point for first in range(0, 5000, 250) for point in ask(grid, first, 250)]
    assert sorted(int(a) for (a,) in points) == list(range(1, 5001))
    assert ask(grid, 5000, 3) == ()


def test_points_of_another_seed_are_passed_over() -> None:
    """A Katib that does not tell all of its trials again asks under other seeds."""
    space = (Parameter(name="a", type="int", min="1", max="40"),)
    first = ask(Registry().create(study_of("grid", *space, seed=1)), 0, 25)
    other = Registry().create(study_of("grid", *space, seed=2))
    other.restore(first)
    assert sorted(int(a) for (a,) in first + ask(other, 25, 15)) == list(range(1, 41))


def refused(text: str) -> list[tuple[str, str]]:
    try:
        parse_experiment(load_document(text.encode()), catalogue=load_catalogue())
    except Refused as error:
        return [(problem.field, problem.message) for problem in error.problems]
    return []


def test_katib_s_grid_is_taken_whatever_number_of_trials_it_names() -> None:
    text = KATIB_GRID.read_text()
    assert refused(text) == []
    assert refused(text.replace("maxTrialCount: 12", "maxTrialCount: 4000")) == []


def test_a_double_without_a_step_is_refused_in_katib_s_words() -> None:
    text = KATIB_GRID.read_text().replace('        step: "0.1"\n', "")
    assert refused(text) == [
        (
            "spec.parameters[1].feasibleSpace.step",
            "Param momentum step is nil; "
            "For discrete search space, all parameters must include step",
        )
    ]


def test_a_grid_is_not_asked_about_what_is_wrong_by_itself() -> None:
    text = KATIB_GRID.read_text().replace('        step: "0.1"\n', "")
    fields = [field for field, _ in refused(text.replace('max: "0.9"', 'max: "x"'))]
    assert fields == ["spec.parameters[1].feasibleSpace.max"]


def test_a_check_that_fails_is_a_problem_of_its_algorithm() -> None:
    def failing(_: Submission) -> list[Problem]:
        raise KeyError("r_l")

    installed = load_catalogue()
    broken = replace(installed.algorithms["grid"], check=failing)
    catalogue = replace(installed, algorithms={"grid": broken})
    with pytest.raises(Refused) as refusal:
        parse_experiment(load_document(KATIB_GRID.read_bytes()), catalogue=catalogue)
    assert str(refusal.value) == "spec.algorithm: the algorithm grid failed: KeyError: 'r_l'"


def test_a_double_of_one_value_needs_no_step() -> None:
    text = KATIB_GRID.read_text().replace('        step: "0.1"\n', "")
    assert refused(text.replace('max: "0.9"', 'max: "0.5"')) == []


# Sobol' --------------------------------------------------------------------------------------


def test_direction_numbers_give_scipy_s_sequence_in_every_dimension() -> None:
    assert MAX_DIMENSIONS == MAX_SOBOL_PARAMETERS == 256
    expected = qmc.Sobol(MAX_DIMENSIONS, scramble=False, bits=52).random(256)
    numbers = [directions(dimension) for dimension in range(MAX_DIMENSIONS)]
    for index in range(256):
        gray = index ^ (index >> 1)
        bits = [0] * MAX_DIMENSIONS
        for j in range(gray.bit_length()):
            if gray >> j & 1:
                bits = [b ^ of[j] for b, of in zip(bits, numbers, strict=True)]
        assert [b / 2**52 for b in bits] == expected[index].tolist()


def test_scrambling_keeps_every_net_property_of_the_sequence() -> None:
    """The first two dimensions are a (0, 2)-sequence: each box of a volume of 1/64 has one of the
    first 64 points."""
    for seed in range(5):
        sequence = ScrambledSobol(2, seed)
        points = [sequence.at(index) for index in range(64)]
        for split in range(7):
            wide, high = 2**split, 2 ** (6 - split)
            boxes = {(int(x * wide), int(y * high)) for x, y in points}
            assert boxes == set(product(range(wide), range(high)))


def test_it_covers_the_cube_as_evenly_as_scipy_s_and_better_than_chance() -> None:
    sequence = ScrambledSobol(8, 3)
    ours = qmc.discrepancy(np.array([sequence.at(index) for index in range(512)]))
    theirs = qmc.discrepancy(qmc.Sobol(8, rng=1).random(512))
    chance = qmc.discrepancy(np.random.default_rng(1).random((512, 8)))
    assert ours < 1.2 * theirs
    assert ours < chance / 3


def test_places_beyond_any_experiment_stay_inside_the_open_cube() -> None:
    sequence = ScrambledSobol(256, 1)
    for index in (0, 1, 2**32, 2**52 - 1):
        assert all(0.0 < u < 1.0 for u in sequence.at(index))


def test_more_parameters_than_the_sequence_has_dimensions_are_refused() -> None:
    def problems(count: int) -> list[str]:
        parameters = tuple(
            Parameter(name=f"x{i}", type="double", min="0", max="1") for i in range(count)
        )
        submission = Submission(
            parameters=parameters, settings={}, parallel_trial_count=3, max_trial_count=None
        )
        return [str(problem) for problem in check_sobol(submission)]

    assert problems(256) == []
    assert problems(257) == [
        "spec.parameters: the algorithm sobol searches at most 256 parameters, not 257; "
        "random takes any number"
    ]


@pytest.mark.parametrize("name", ["random", "grid", "sobol"])
def test_the_seed_and_the_index_alone_make_a_point(name: str) -> None:
    study = study_of(name, *MILLION, seed=4)
    points = ask(Registry().create(study), 0, 20)
    for index in (0, 7, 19):
        fresh = Registry().create(study)
        assert ask(fresh, index, 1) == (points[index],)
    assert ask(Registry().create(replace(study, seed=5)), 0, 20) != points
