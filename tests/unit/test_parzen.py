"""Parzen estimators: densities by hand and by scipy, draws by a test of their distribution."""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import product
from random import Random

import numpy as np
import pytest
from scipy import integrate, stats

from trialbus_suggestion.core.parzen import (
    Column,
    Estimator,
    IndependentEstimator,
    JointEstimator,
    Sample,
    cut_normal,
    masses,
    neighbour_distances,
    normal_cdf,
)
from trialbus_suggestion.core.tpe import Table

NUMBER = Column()
THREE = Column(choices=3)
BOTH = pytest.mark.parametrize("make", [IndependentEstimator, JointEstimator])
Make = Callable[[Sequence[Column], Sample, float], Estimator]


def sample_of(*rows: Sequence[float], columns: int = 1) -> Sample:
    points = np.array(rows, dtype=float).reshape(len(rows), columns)
    return Sample(points=points, order=np.argsort(points.T, axis=1, kind="stable"))


def density(estimator: Estimator, *point: float) -> float:
    return float(np.exp(estimator.log_densities(np.array([point])).sum()))


def cut(center: float, width: float) -> stats.rv_continuous:
    """scipy's normal, cut off at 0 and 1."""
    return stats.truncnorm(-center / width, (1 - center) / width, center, width)


# By hand --------------------------------------------------------------------------------------


def test_the_bandwidth_is_the_distance_to_the_farther_neighbour_or_bound() -> None:
    found = neighbour_distances(np.array([0.1, 0.4, 0.5]))
    assert found.tolist() == pytest.approx([0.3, 0.3, 0.5])
    assert neighbour_distances(np.array([0.25])).tolist() == [0.75]
    assert neighbour_distances(np.array([])).tolist() == []


def test_a_mixture_has_equal_kernels_and_the_prior() -> None:
    estimator = IndependentEstimator([NUMBER], sample_of([0.5], [0.1], [0.4]), 2.0)
    kernels = [cut(0.1, 0.3), cut(0.4, 0.3), cut(0.5, 0.5)]
    for x in (0.0, 0.15, 0.45, 0.99):
        expected = (sum(kernel.pdf(x) for kernel in kernels) + 2.0) / 5.0
        assert density(estimator, x) == pytest.approx(expected, rel=1e-5)


def test_no_kernel_is_narrower_than_the_clip_or_half_a_step() -> None:
    points = sample_of([0.5], [0.5], [0.5])
    # Of three equal values the middle one has no distance to its neighbours: clipped to 1 / 4.
    expected = (2 * cut(0.5, 0.5).pdf(0.2) + cut(0.5, 0.25).pdf(0.2) + 1) / 4
    plain = IndependentEstimator([NUMBER], points, 1.0)
    assert density(plain, 0.2) == pytest.approx(expected, rel=1e-5)
    grid = IndependentEstimator([Column(narrowest=0.5)], points, 1.0)
    assert density(grid, 0.2) == pytest.approx((3 * cut(0.5, 0.5).pdf(0.2) + 1) / 4, rel=1e-5)


def test_choices_are_counted_with_the_prior_on_each() -> None:
    estimator = IndependentEstimator([THREE], sample_of([0], [2], [2]), 0.5)
    found = [density(estimator, code) for code in (0, 1, 2)]
    assert found == pytest.approx([1.5 / 4.5, 0.5 / 4.5, 2.5 / 4.5])


def test_a_joint_kernel_is_a_product_of_normals_and_aitchison_aitken_s() -> None:
    estimator = JointEstimator([NUMBER, THREE], sample_of([0.2, 0], [0.9, 1], columns=2), 1.0)
    # Two neighbours are 0.7 apart; shares 4/6, 1/6, 1/6.
    for x, code, first, second in ((0.3, 0, 4 / 6, 1 / 6), (0.8, 2, 1 / 6, 1 / 6)):
        expected = cut(0.2, 0.7).pdf(x) * first + cut(0.9, 0.7).pdf(x) * second + 1 / 3
        assert density(estimator, x, code) == pytest.approx(expected / 3, rel=1e-5)


def test_a_joint_bandwidth_follows_the_neighbours_in_each_column() -> None:
    rows = [[0.1, 0.9], [0.4, 0.6], [0.5, 0.0]]
    estimator = JointEstimator([NUMBER, NUMBER], sample_of(*rows, columns=2), 1.0)
    # The bounds are no neighbours of the outermost; no width is below 1 / 5.
    widths = [(0.3, 0.3), (0.3, 0.6), (0.2, 0.6)]
    expected = sum(
        cut(x, across).pdf(0.3) * cut(y, up).pdf(0.7)
        for (x, y), (across, up) in zip(rows, widths, strict=True)
    )
    assert density(estimator, 0.3, 0.7) == pytest.approx((expected + 1) / 4, rel=1e-5)
    alone = JointEstimator([NUMBER], sample_of([0.25]), 1.0)
    assert density(alone, 0.5) == pytest.approx((cut(0.25, 0.75).pdf(0.5) + 1) / 2, rel=1e-5)


def test_joint_densities_of_thousands_of_points_are_those_by_hand() -> None:
    rng = np.random.default_rng(3)
    rows = rng.random((3000, 2)) ** 2
    estimator = JointEstimator([NUMBER, NUMBER], sample_of(*rows, columns=2), 1.0)
    width = 0.01
    expected = np.prod(stats.norm(rows, width).pdf([0.2, 0.3]), axis=1)
    # All widths are clipped to a hundredth, for neighbours are nearer.
    inside = [cut(x, width).pdf(0.2) * cut(y, width).pdf(0.3) for x, y in rows[:5]]
    assert inside == pytest.approx(expected[:5].tolist(), rel=1e-3, abs=1e-12)
    assert density(estimator, 0.2, 0.3) == pytest.approx((expected.sum() + 1) / 3001, rel=2e-3)


# By their laws --------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("count", [0, 1, 7, 200])
def test_densities_integrate_to_one(make: Make, count: int) -> None:
    rng = Random(count)
    rows = [[rng.random() ** 3, float(rng.randrange(3))] for _ in range(count)]
    estimator = make([NUMBER, THREE], sample_of(*rows, columns=2), 1.0)
    grid = np.linspace(0, 1, 4001)
    total = 0.0
    for code in range(3):
        places = np.stack([grid, np.full(len(grid), float(code))], axis=1)
        total += integrate.simpson(np.exp(estimator.log_densities(places).sum(axis=1)), x=grid)
    assert total == pytest.approx(1, abs=1e-4)


@BOTH
def test_draws_follow_the_density(make: Make) -> None:
    rows = [[0.0, 0.0], [0.05, 1.0], [0.3, 1.0], [0.32, 1.0], [0.9, 2.0]]
    estimator = make([NUMBER, THREE], sample_of(*rows, columns=2), 1.0)
    drawn = estimator.draw(4000, Random(5))
    assert all(0 <= x <= 1 for x, _ in drawn)
    cells = list(product(range(8), range(3)))
    counts = Counter((min(int(x * 8), 7), int(code)) for x, code in drawn)
    shares = [
        integrate.quad(lambda x, c=code: density(estimator, x, c), k / 8, (k + 1) / 8)[0]
        for k, code in cells
    ]
    expected = [share * 4000 / sum(shares) for share in shares]
    assert stats.chisquare([counts[cell] for cell in cells], expected).pvalue > 0.001


@BOTH
def test_thousands_of_points_at_one_place_leave_finite_numbers(make: Make) -> None:
    rows = [[1.0, 2.0]] * 3000
    estimator = make([NUMBER, THREE], sample_of(*rows, columns=2), 1e-9)
    logs = estimator.log_densities(np.array([[0.0, 0.0], [1.0, 2.0]]))
    assert np.isfinite(logs).all()
    assert logs[1].sum() > logs[0].sum()


def test_tabulated_normals_agree_with_scipy_s() -> None:
    z = np.linspace(0, 40, 20_001)
    assert np.abs(normal_cdf(z) - stats.norm.cdf(z)).max() < 1e-7
    for center, width in ((0.0, 0.01), (0.5, 1.0), (1.0, 0.3), (0.37, 0.05)):
        inside = stats.norm(center, width)
        expected = inside.cdf(1) - inside.cdf(0)
        assert masses(np.array([center]), np.array([width]))[0] == pytest.approx(expected, abs=1e-7)


def test_a_cut_normal_stays_inside_and_has_scipy_s_quantiles() -> None:
    for center, width in ((0.0, 0.01), (1.0, 0.25), (0.3, 1.0)):
        for u in (0.0, 1e-9, 0.2, 0.5, 0.999):
            found = cut_normal(center, width, u)
            assert 0 <= found <= 1
            assert found == pytest.approx(cut(center, width).ppf(u), abs=1e-6)
        assert 0 <= cut_normal(center, width, 1.0 - 2**-53) <= 1


def test_the_table_keeps_its_rows_sorted_however_they_come() -> None:
    rng = np.random.default_rng(1)
    rows = np.round(rng.random((300, 2)), 1)
    table, members = Table(2), rng.random(300) < 0.5
    for at, row in enumerate(rows):
        table.append(row.tolist())
        if at % 7 == 0:
            table.sample(np.ones(at + 1, dtype=bool))
    sample = table.sample(members)
    assert sample.points.tolist() == rows[members].tolist()
    assert (sample.order == np.argsort(rows[members].T, axis=1, kind="stable")).all()
