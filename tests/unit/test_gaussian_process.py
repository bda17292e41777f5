"""The own Gaussian process and acquisition beside scikit-learn's and scikit-optimize's."""

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import approx_fprime
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from skopt.acquisition import gaussian_ei, gaussian_lcb, gaussian_pi

from trialbus.kernel.space import Parameter, SearchSpace
from trialbus_suggestion.core.acquisition import (
    ACQUISITIONS,
    LEAST,
    log_expected_improvement,
    log_probability_of_improvement,
    lower_confidence_bound,
)
from trialbus_suggestion.core.acquisition_search import AcquisitionSearch
from trialbus_suggestion.core.gaussian_process import (
    Floats,
    Hyperparameters,
    Layout,
    Posterior,
    fit,
    log_marginal_likelihood,
    loss_of_hyperparameters,
)
from trialbus_suggestion.core.places import Places
from trialbus_suggestion.core.warping import POWERS, likeliest_power, warped, yeo_johnson

SPACE = SearchSpace((
    Parameter(name="rate", type="double", min="1e-5", max="1", distribution="logUniform"),
    Parameter(name="share", type="double", min="0", max="1"),
    Parameter(name="kind", type="categorical", list=("a", "b", "c")),
    Parameter(name="layers", type="int", min="1", max="9", distribution="logUniform"),
    Parameter(name="fixed", type="int", min="3", max="3"),
    Parameter(name="batch", type="discrete", list=("64", "16", "32")),
))  # fmt: skip
PLACES = Places(SPACE)
LAYOUT = PLACES.layout
# Of rate, share, kind, layers, batch.
HYPERPARAMETERS = Hyperparameters(scales=np.array([0.3, 1.5, 0.8, 2.0, 0.6]), noise=1e-3)


def drawn(count: int, seed: int) -> Floats:
    return PLACES.features(PLACES.from_units(np.random.default_rng(seed).random((count, 5))))


def losses_at(features: Floats, seed: int = 1) -> Floats:
    noise = np.random.default_rng(seed).normal(size=len(features))
    raw = np.sin(4 * features[:, 0]) + features[:, 1] ** 2 + features[:, -2] + 0.05 * noise
    result: Floats = (raw - raw.mean()) / raw.std()
    return result


def reference(hyperparameters: Hyperparameters, amplitude: float) -> GaussianProcessRegressor:
    scales = hyperparameters.scales[LAYOUT.owners]
    kernel = ConstantKernel(amplitude) * Matern(scales, nu=2.5)
    noise = amplitude * hyperparameters.noise
    return GaussianProcessRegressor(kernel + WhiteKernel(noise), optimizer=None, alpha=0.0)


def believed(known: Floats, losses: Floats, awaited: Floats | None = None) -> Posterior:
    no_more = np.empty((0, known.shape[1]))
    return Posterior(
        LAYOUT, HYPERPARAMETERS, known, losses, no_more if awaited is None else awaited
    )


# The process ----------------------------------------------------------------------------------


def test_mean_deviation_and_likelihood_are_those_of_scikit_learn() -> None:
    known, asked = drawn(60, 1), drawn(200, 2)
    losses = losses_at(known)
    posterior = believed(known, losses)
    process = reference(HYPERPARAMETERS, posterior.amplitude).fit(known, losses)
    mean, deviation = process.predict(asked, return_std=True)
    # scikit-learn's deviation is that of an observation, noise and all.
    noise = posterior.amplitude * HYPERPARAMETERS.noise
    own_mean, own_deviation = posterior.predict(asked)
    np.testing.assert_allclose(own_mean, mean, rtol=0, atol=1e-6)
    np.testing.assert_allclose(np.sqrt(own_deviation**2 + noise), deviation, rtol=0, atol=1e-6)
    assert log_marginal_likelihood(
        LAYOUT, HYPERPARAMETERS, posterior.amplitude, known, losses
    ) == pytest.approx(process.log_marginal_likelihood_value_, abs=1e-6)


def test_awaited_places_lower_the_deviation_and_leave_the_mean() -> None:
    """As if each had shown what was expected of it (kriging believer)."""
    known, awaited, asked = drawn(40, 1), drawn(7, 3), drawn(100, 2)
    losses = losses_at(known)
    alone, both = believed(known, losses), believed(known, losses, awaited)
    process = reference(HYPERPARAMETERS, alone.amplitude).fit(
        np.concatenate([known, awaited]), np.concatenate([losses, alone.predict(awaited)[0]])
    )
    mean, deviation = process.predict(asked, return_std=True)
    noise = alone.amplitude * HYPERPARAMETERS.noise
    own_mean, own_deviation = both.predict(asked)
    np.testing.assert_allclose(own_mean, mean, rtol=0, atol=1e-6)
    np.testing.assert_allclose(own_mean, alone.predict(asked)[0], rtol=0, atol=1e-9)
    np.testing.assert_allclose(np.sqrt(own_deviation**2 + noise), deviation, rtol=0, atol=1e-6)
    assert (own_deviation < alone.predict(asked)[1]).all()


def test_slopes_are_those_of_the_prediction() -> None:
    known = drawn(30, 1)
    posterior = believed(known, losses_at(known), drawn(3, 4))
    for place in drawn(5, 5):
        mean, deviation, by_mean, by_deviation = posterior.slopes(place)
        expected_mean, expected_deviation = posterior.predict(place[None])
        assert (mean, deviation) == pytest.approx((expected_mean[0], expected_deviation[0]))
        for slopes, which in ((by_mean, 0), (by_deviation, 1)):
            numeric = approx_fprime(
                place, lambda x, which=which: posterior.predict(x[None])[which][0], 1e-6
            )
            np.testing.assert_allclose(slopes, numeric, rtol=1e-3, atol=1e-4)


def test_the_posterior_of_hyperparameters_has_the_slope_it_says() -> None:
    known = drawn(25, 1)
    losses = losses_at(known)

    def value(theta: Floats) -> float:
        return loss_of_hyperparameters(theta, LAYOUT, known, losses)[0]

    for seed in range(3):
        theta = np.random.default_rng(seed).normal(-1.0, 1.0, size=6)
        slope = loss_of_hyperparameters(theta, LAYOUT, known, losses)[1]
        np.testing.assert_allclose(slope, approx_fprime(theta, value, 1e-6), rtol=1e-3, atol=1e-3)


def test_a_fit_is_likelier_than_what_it_starts_from_and_sees_what_does_not_matter() -> None:
    known = drawn(80, 1)
    losses = losses_at(known)
    fitted = fit(LAYOUT, known, losses)
    likelihoods = []
    for it in (fitted, HYPERPARAMETERS):
        amplitude = Posterior(LAYOUT, it, known, losses, known[:0]).amplitude
        likelihoods.append(log_marginal_likelihood(LAYOUT, it, amplitude, known, losses))
    assert likelihoods[0] > likelihoods[1] + 10
    # rate bends the losses most, kind and batch do nothing.
    assert np.argmin(fitted.scales) == 0
    assert min(fitted.scales[2], fitted.scales[4]) > 3 * fitted.scales[0]


@pytest.mark.parametrize("count", [1, 2, 50])
def test_equal_losses_and_equal_places_are_survived(count: int) -> None:
    known = np.repeat(drawn(1, 1), count, axis=0)
    with np.errstate(divide="raise", invalid="raise"):
        fitted = fit(LAYOUT, known, np.zeros(count))
        posterior = Posterior(LAYOUT, fitted, known, np.zeros(count), known)
        mean, deviation = posterior.predict(drawn(20, 2))
        assert np.isfinite(posterior.slopes(known[0])[3]).all()
    assert (mean == 0).all()
    assert np.isfinite(deviation).all()


def test_a_feature_without_any_owner_s_neighbours_sums_to_its_owner() -> None:
    layout = Layout(owners=np.array([0, 2, 2, 1]), parameters=3)
    assert layout.total_by_parameter(np.array([1.0, 2.0, 3.0, 4.0])).tolist() == [1.0, 4.0, 5.0]


# Acquisition ----------------------------------------------------------------------------------


class Known:
    """A model that scikit-optimize can ask, with these means and deviations."""

    def __init__(self, mean: Floats, deviation: Floats) -> None:
        self.answer = mean, deviation

    def predict(self, _places: Any, return_std: bool = False) -> Any:
        return self.answer if return_std else self.answer[0]


def test_acquisitions_are_scikit_optimize_s() -> None:
    generator = np.random.default_rng(1)
    mean, deviation = generator.normal(size=300), generator.gamma(1.0, size=300) + 0.05
    model, places = Known(mean, deviation), np.zeros((300, 1))
    own = {name: of(mean, deviation, -0.5)[0] for name, of in ACQUISITIONS.items()}
    np.testing.assert_allclose(
        np.exp(own["EI"]), gaussian_ei(places, model, y_opt=-0.5, xi=0.0), rtol=1e-6, atol=1e-12
    )
    np.testing.assert_allclose(
        np.exp(own["PI"]), gaussian_pi(places, model, y_opt=-0.5, xi=LEAST), rtol=1e-6, atol=1e-12
    )
    # Theirs is to be minimised.
    np.testing.assert_allclose(own["LCB"], -gaussian_lcb(places, model, kappa=1.96), rtol=1e-9)


@pytest.mark.parametrize(
    "of", [log_expected_improvement, log_probability_of_improvement, lower_confidence_bound]
)
def test_acquisitions_have_the_slopes_they_say(of: Callable[..., Any]) -> None:
    for mean, deviation in ((0.0, 1.0), (2.0, 0.3), (-3.0, 0.5), (4.0, 0.2), (-0.5, 0.05)):
        _, by_mean, by_deviation = of(np.array(mean), np.array(deviation), -0.5)
        numeric = approx_fprime(
            np.array([mean, deviation]), lambda x: float(of(x[0], x[1], -0.5)[0]), 1e-7
        )
        np.testing.assert_allclose([by_mean, by_deviation], numeric, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", list(ACQUISITIONS))
def test_acquisitions_rank_places_however_hopeless_or_certain(name: str) -> None:
    mean = np.array([-1e6, -50.0, 0.0, 5.0, 1e2, 1e4, 1e7])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        parts = ACQUISITIONS[name](mean, np.full(7, 0.1), -0.5)
    assert all(np.isfinite(part).all() for part in parts)
    assert (np.diff(parts[0])[1:] < 0).all()
    assert (parts[1][2:] < 0).all()


@pytest.mark.parametrize("name", list(ACQUISITIONS))
def test_a_refined_place_is_better_than_the_best_of_a_hundred_times_as_many(name: str) -> None:
    known = drawn(40, 1)
    posterior = believed(known, losses_at(known))
    best = float(posterior.mean_at_places.min())
    look = AcquisitionSearch(PLACES, posterior, ACQUISITIONS[name], best)
    generator = np.random.default_rng(3)
    centers = PLACES.from_units(generator.random((3, 5)))
    many = look.scores(PLACES.from_units(generator.random((80_000, 5)))).max()
    refined, sampled = look.refined(centers, generator), look.sampled(centers, generator)
    scores = look.scores(refined)
    assert scores[0] == scores.max() > many
    assert look.scores(sampled)[0] == pytest.approx(look.scores(sampled).max())
    # Whole numbers and choices are values, not something in between.
    np.testing.assert_array_equal(PLACES.from_units(sampled)[:, 3:], sampled[:, 3:])


# Warping --------------------------------------------------------------------------------------


def test_bending_is_scipy_s() -> None:
    losses = np.random.default_rng(1).gamma(1.0, size=200) - 1.0
    for power in (-1.5, 0.0, 0.7, 1.0, 2.0, 2.5):
        np.testing.assert_allclose(
            yeo_johnson(losses, power), stats.yeojohnson(losses, power), rtol=1e-9
        )
    step = float(POWERS[1] - POWERS[0])
    assert likeliest_power(losses) == pytest.approx(stats.yeojohnson_normmax(losses), abs=step)


def test_bending_keeps_the_order_and_leaves_few_or_equal_losses_alone() -> None:
    losses = np.array([-1.0, -0.9, -0.8, 0.0, 4.0, 30.0, 1e3, 1e4])
    bent = warped(losses)
    assert (np.diff(bent) > 0).all()
    assert (bent.mean(), bent.std()) == pytest.approx((0.0, 1.0), abs=1e-9)
    assert bent[2] - bent[0] > 0.04 * (bent[-1] - bent[0])
    assert warped(np.zeros(9)).tolist() == [0.0] * 9
    assert warped(losses[:4]).tolist() == losses[:4].tolist()


# Places ---------------------------------------------------------------------------------------


def test_points_come_back_from_their_places() -> None:
    rng = Random(1)
    points = [SPACE.from_unit([rng.random() for _ in SPACE.axes]) for _ in range(100)]
    rows = PLACES.encoded(points)
    assert rows.shape == (100, 5)
    for row, point in zip(rows, points, strict=True):
        decoded = PLACES.decoded(row)
        assert decoded[1] == pytest.approx(point[1])
        assert decoded[2:] == point[2:]


def test_whole_numbers_and_choices_are_rounded_before_the_model_sees_them() -> None:
    units = np.random.default_rng(1).random((500, 5))
    rows = PLACES.from_units(units)
    assert (rows[:, :2] == units[:, :2]).all()
    assert set(rows[:, 2]) == {0.0, 1.0, 2.0}
    assert sorted(set(rows[:, 3])) == pytest.approx(
        [SPACE.axes[3].to_unit(value) for value in range(1, 10)]
    )
    assert sorted(set(rows[:, 4])) == pytest.approx([1 / 6, 3 / 6, 5 / 6])
    again = PLACES.encoded([PLACES.decoded(row) for row in rows])
    np.testing.assert_allclose(again, rows, atol=1e-9)


def test_two_choices_are_one_apart_whichever_they_are() -> None:
    rows = np.array([[0.5, 0.5, float(kind), 0.5, 0.5] for kind in range(3)])
    features = PLACES.features(rows)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert np.linalg.norm(features[one] - features[other]) == pytest.approx(1.0)
