"""What population based training makes of a point, and what it takes as settings."""

from random import Random

import pytest

from trialbus.kernel.catalogue import Submission, check_settings, read_settings
from trialbus.kernel.space import Parameter, SearchSpace
from trialbus_suggestion.core.descriptions.pbt import PBT
from trialbus_suggestion.core.perturbing import explored

X = Parameter(name="x", type="double", min="0", max="1")


# Exploring ----------------------------------------------------------------------------------------


def near(parameter: Parameter, value: float | str) -> set[float | int | str]:
    """All that may become of a value."""
    space = SearchSpace((parameter,))
    return {explored(space, (value,), 0.0, Random(seed))[0] for seed in range(30)}


@pytest.mark.parametrize(
    ("parameter", "value", "wanted"),
    [
        (Parameter(name="a", type="double", min="0.1", max="1"), 0.5, {0.4, 0.6}),
        (Parameter(name="a", type="double", min="0.45", max="1"), 0.5, {0.45, 0.6}),
        (Parameter(name="a", type="double", min="0.1", max="0.55"), 0.5, {0.4, 0.55}),
        (Parameter(name="a", type="double", min="-1", max="1"), -0.5, {-0.4, -0.6}),
        (Parameter(name="a", type="double", min="0", max="1"), 0.0, {0.0, 0.01}),
        (Parameter(name="a", type="double", min="-1", max="1"), 0.0, {-0.02, 0.02}),
        (
            Parameter(name="a", type="double", min="1e-6", max="1", distribution="logUniform"),
            1e-4,
            {0.8e-4, 1.2e-4},
        ),
        (Parameter(name="a", type="double", min="0", max="1", step="0.25"), 0.5, {0.25, 0.75}),
        (Parameter(name="a", type="int", min="1", max="100"), 50, {40, 60}),
        (Parameter(name="a", type="int", min="1", max="100"), 2, {1, 3}),
        (Parameter(name="a", type="int", min="1", max="100"), 1, {1, 2}),
        (Parameter(name="a", type="int", min="16", max="128", step="16"), 64, {48, 80}),
        (Parameter(name="a", type="int", min="3", max="3"), 3, {3}),
        (Parameter(name="a", type="categorical", list=("p", "q", "r")), "q", {"p", "r"}),
        (Parameter(name="a", type="categorical", list=("p", "q", "r")), "r", {"q", "r"}),
        (Parameter(name="a", type="discrete", list=("16", "4", "64")), "16", {"4", "64"}),
    ],
)
def test_a_value_moves_by_a_fifth_or_to_a_neighbour(
    parameter: Parameter, value: float | str, wanted: set[float | str]
) -> None:
    found = near(parameter, value)
    if isinstance(value, str):
        assert found == wanted
    else:
        assert sorted(map(float, found)) == pytest.approx(sorted(map(float, wanted)))


def test_resampling_draws_by_the_distribution() -> None:
    space = SearchSpace((Parameter(name="a", type="int", min="1", max="100"),))
    always = [explored(space, (1,), 1.0, Random(seed))[0] for seed in range(300)]
    assert len(set(always)) > 80
    half = [explored(space, (1,), 0.5, Random(seed))[0] for seed in range(300)]
    assert 100 < sum(value in (1, 2) for value in half) < 200


# Settings -----------------------------------------------------------------------------------------


def problems(*given: tuple[str, str]) -> list[str]:
    found = [str(it) for it in check_settings(PBT, given)]
    if found:
        return found
    submission = Submission(
        parameters=(X,),
        settings=read_settings(PBT, given),
        parallel_trial_count=3,
        max_trial_count=None,
    )
    return [it.message for it in PBT.check(submission)]


N, T = ("n_population", "5"), ("truncation_threshold", "0.2")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((N,), "Required params missing: truncation_threshold"),
        ((), "Required params missing: n_population, truncation_threshold"),
        ((("n_population", "4"), T), "Param(n_population) should be >= 5"),
        (
            (N, ("truncation_threshold", "1.1")),
            "Param(truncation_threshold) should be between 0 and 1, inclusive",
        ),
        (
            (N, ("truncation_threshold", "nan")),
            "Param(truncation_threshold) should be between 0 and 1, inclusive",
        ),
        (
            (N, T, ("resample_probability", "-0.1")),
            "Param(resample_probability) should be null to perturb at 0.8 or 1.2, or be between "
            "0 and 1, inclusive, to resample",
        ),
        (
            (N, T, ("suggestion_trial_dir", "data")),
            "Param(suggestion_trial_dir) should be the absolute path of a folder",
        ),
        (
            (N, T, ("suggestion_trial_dir", "/")),
            "Param(suggestion_trial_dir) should be the absolute path of a folder",
        ),
    ],
)
def test_wrong_settings_are_told_in_katibs_words(
    given: tuple[tuple[str, str], ...], message: str
) -> None:
    assert problems(*given) == [message]


def test_katibs_settings_are_taken_and_its_folder_may_be_left_out() -> None:
    assert problems(N, T) == []
    assert problems(N, T, ("resample_probability", "0.25"), ("random_state", "1")) == []
    assert problems(("suggestion_trial_dir", "/opt/katib/data/"), N, T) == []
