"""The surrogate model of Bayesian optimisation, by scikit-optimize. Heavy: import it on first use.

Every request builds scikit-optimize's Optimizer anew from the observations, so nothing but them
matters; what is expensive, tuning a Gaussian process, is kept per milestone.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone
from sklearn.ensemble import GradientBoostingRegressor
from skopt import Optimizer
from skopt.acquisition import gaussian_ei
from skopt.learning import GaussianProcessRegressor, GradientBoostingQuantileRegressor
from skopt.space import Categorical, Dimension, Real
from skopt.utils import cook_estimator
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from trialbus.kernel.axes import Axis
from trialbus.kernel.catalogue import SettingValue
from trialbus.kernel.space import Point, SearchSpace, Value
from trialbus_suggestion.core.seen import SeenPoints, draw_unseen

if TYPE_CHECKING:
    from random import Random

HEDGED = ("EI", "LCB", "PI")
WITHOUT_TIME = {"EIps": "EI", "PIps": "PI"}
# Places where the acquisition is looked at; with gradients the best five are refined.
CANDIDATES_REFINED = 2_000
CANDIDATES_SAMPLED = 10_000
# Unseen points to choose from when the best place falls on a seen point of a grid.
FALLBACK_POINTS = 500
GBRT_TREES = 30
# Algebra on some hundred rows gains nothing from threads, and sums in a fixed order without.
THREADS = ThreadpoolController()


class QuantileRegressor(GradientBoostingQuantileRegressor):  # type: ignore[misc]
    """scikit-optimize 0.10.2's own, made to work: the order of its bases hides from scikit-learn
    >= 1.6 that it is a regressor, and its `predict` needs `numpy.in1d`, gone in numpy 2.4."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.estimator_type = "regressor"
        return tags

    def predict(self, X: Any, return_std: bool = False) -> Any:  # noqa: N803
        """The median; the deviation is half the way between the quantiles 16 % and 84 %."""
        low, median, high = (regressor.predict(X) for regressor in self.regressors_)
        return (median, np.maximum(high - low, 0.0) / 2) if return_std else median


class Surrogate:
    """A model over the axes that have more than one value; numbers by their unit interval."""

    def __init__(self, space: SearchSpace, settings: Mapping[str, SettingValue]) -> None:
        self._space = space
        self._settings = settings
        self._free = [i for i, axis in enumerate(space.axes) if axis.size != 1]
        self._dimensions = [_dimension(space.axes[i]) for i in self._free]
        self._is_gp = settings["base_estimator"] == "GP"
        self._tuned: tuple[int, Any] | None = None

    def tune(self, milestone: int, observed: Sequence[tuple[Point, float]]) -> None:
        """Choose the Gaussian process's hyperparameters by likelihood, once per milestone."""
        if not self._is_gp or (self._tuned is not None and self._tuned[0] == milestone):
            return
        process = cook_estimator("GP", space=self._dimensions, random_state=milestone)
        optimizer = self._optimizer(process, "EI", milestone)
        with THREADS.limit(limits=1), warnings.catch_warnings():
            # The likelihood's optimum at a bound of a length scale is expected with few points.
            warnings.simplefilter("ignore")
            process.fit(
                optimizer.space.transform([self._encoded(point) for point, _ in observed]),
                [loss for _, loss in observed],
            )
        fixed = GaussianProcessRegressor(
            kernel=process.kernel_.k1, noise=process.noise_, normalize_y=True, optimizer=None
        )
        self._tuned = (milestone, fixed)

    def next_point(
        self,
        observed: Sequence[tuple[Point, float]],
        running: Iterable[Point],
        rng: "Random",
        seen: SeenPoints | None,
    ) -> Point:
        """The most promising point; with `seen` one that is not in it (there must be one left).

        `running` are believed to have the average loss, which is 0.
        """
        acquisition = str(self._settings["acq_func"])
        acquisition = WITHOUT_TIME.get(acquisition, acquisition)
        if acquisition == "gp_hedge":
            acquisition = rng.choice(HEDGED)
        optimizer = self._optimizer(self._estimator(rng), acquisition, rng.getrandbits(31))
        places = [self._encoded(point) for point, _ in observed]
        losses = [loss for _, loss in observed]
        for point in running:
            places.append(self._encoded(point))
            losses.append(0.0)
        with THREADS.limit(limits=1), _known_warnings():
            optimizer.tell(places, losses)
            point = self._decoded(optimizer.ask())
            if seen is not None and point in seen:
                point = self._best_unseen(optimizer, seen, rng) or point
        return point

    def _estimator(self, rng: "Random") -> Any:
        if self._is_gp and self._tuned is not None:
            return clone(self._tuned[1])
        seed = rng.getrandbits(31)
        if self._settings["base_estimator"] == "GBRT":
            trees = GradientBoostingRegressor(n_estimators=GBRT_TREES, loss="quantile")
            return QuantileRegressor(base_estimator=trees, random_state=seed)
        return cook_estimator(
            str(self._settings["base_estimator"]), space=self._dimensions, random_state=seed
        )

    def _optimizer(self, estimator: Any, acquisition: str, seed: int) -> Any:
        method = str(self._settings["acq_optimizer"]) if self._is_gp else "sampling"
        sampled = method == "sampling"
        return Optimizer(
            self._dimensions,
            base_estimator=estimator,
            n_initial_points=0,
            acq_func=acquisition,
            acq_optimizer=method,
            acq_optimizer_kwargs={
                "n_points": CANDIDATES_SAMPLED if sampled else CANDIDATES_REFINED
            },
            random_state=seed,
            avoid_duplicates=False,
        )

    def _best_unseen(self, optimizer: Any, seen: SeenPoints, rng: "Random") -> Point | None:
        points = list(_unseen_points(self._space, seen, rng))
        if not points:
            return None
        places = optimizer.space.transform([self._encoded(point) for point in points])
        gains = gaussian_ei(places, optimizer.models[-1], y_opt=min(optimizer.yi))
        return points[int(np.argmax(gains))]

    def _encoded(self, point: Point) -> list[Value]:
        return [
            self._space.axes[i].to_unit(point[i]) if self._space.axes[i].is_numeric else point[i]
            for i in self._free
        ]

    def _decoded(self, place: Sequence[Any]) -> Point:
        values = [axis.from_unit(0.5) for axis in self._space.axes]
        for i, coordinate in zip(self._free, place, strict=True):
            axis = self._space.axes[i]
            values[i] = axis.from_unit(float(coordinate)) if axis.is_numeric else str(coordinate)
        return tuple(values)


def _dimension(axis: Axis) -> Dimension:
    if axis.is_numeric:
        return Real(0.0, 1.0)
    return Categorical([axis.value_at(i) for i in range(axis.size or 0)])


def _unseen_points(space: SearchSpace, seen: SeenPoints, rng: "Random") -> Iterator[Point]:
    """All unseen points of a small space, else some by the distributions."""
    cardinality = space.cardinality()
    if cardinality is not None and cardinality <= FALLBACK_POINTS:
        yield from (p for p in map(space.point_at, range(cardinality)) if p not in seen)
        return
    for _ in range(FALLBACK_POINTS):
        point = draw_unseen(space, seen, rng)
        if point is not None:
            yield point


@contextmanager
def _known_warnings() -> Iterator[None]:
    """Silences what is expected and handled here, and nothing else."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The objective has been evaluated")
        warnings.filterwarnings("ignore", "Predicted variances smaller than 0")
        yield
