"""Trees as surrogates of Bayesian optimisation, by scikit-optimize. Heavy: import it on first use.

Every request builds scikit-optimize's Optimizer anew from the observations, so nothing but them
matters.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.ensemble import GradientBoostingRegressor
from skopt import Optimizer
from skopt.acquisition import gaussian_ei
from skopt.learning import GradientBoostingQuantileRegressor
from skopt.space import Categorical, Dimension, Real
from skopt.utils import cook_estimator
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from trialbus.kernel.axes import Axis
from trialbus.kernel.catalogue import SettingValue
from trialbus.kernel.space import Point, SearchSpace, Value
from trialbus_suggestion.core.acquisition import chosen_acquisition
from trialbus_suggestion.core.losses import Loss
from trialbus_suggestion.core.seen import SeenPoints, draw_unseen

if TYPE_CHECKING:
    from random import Random

# Places where the acquisition is looked at: trees have no gradients.
CANDIDATES = 5_000
# Unseen points to choose from when the best place falls on a seen point of a grid.
FALLBACK_POINTS = 500
GBRT_TREES = 30
# Sums in a fixed order.
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


class TreeSurrogate:
    """A model over the axes that have more than one value; numbers by their unit interval."""

    def __init__(self, space: SearchSpace, settings: Mapping[str, SettingValue]) -> None:
        self._space = space
        self._estimator_name = str(settings["base_estimator"])
        self._acquisition = str(settings["acq_func"])
        self._free = [i for i, axis in enumerate(space.axes) if axis.size != 1]
        self._dimensions = [_dimension(space.axes[i]) for i in self._free]
        self._places: list[list[Value]] = []

    def remember(self, point: Point) -> None:
        self._places.append(self._encoded(point))

    def tune(self, losses: Sequence[Loss]) -> None:
        """Nothing: trees have no hyperparameters to learn."""

    def next_point(
        self,
        losses: Sequence[Loss],
        running: Sequence[int],
        rng: "Random",
        seen: SeenPoints | None,
    ) -> Point | None:
        """The most promising point; with `seen` one that is not in it (None: there is none).

        `running` are believed to have the average loss, which is 0: a constant liar (Ginsbourger,
        Le Riche, Carraro 2010, section 4.2).
        """
        acquisition = chosen_acquisition(self._acquisition, rng)
        optimizer = self._optimizer(acquisition, rng)
        places = [self._places[index] for index, _ in losses]
        places += [self._places[index] for index in running]
        values = [loss for _, loss in losses] + [0.0] * len(running)
        with THREADS.limit(limits=1), _known_warnings():
            optimizer.tell(places, values)
            point = self._decoded(optimizer.ask())
            if seen is None or point not in seen:
                return point
            return self._best_unseen(optimizer, seen, rng)

    def _optimizer(self, acquisition: str, rng: "Random") -> Any:
        return Optimizer(
            self._dimensions,
            base_estimator=self._estimator(rng.getrandbits(31)),
            n_initial_points=0,
            acq_func=acquisition,
            acq_optimizer="sampling",
            acq_optimizer_kwargs={"n_points": CANDIDATES},
            random_state=rng.getrandbits(31),
            avoid_duplicates=False,
        )

    def _estimator(self, seed: int) -> Any:
        if self._estimator_name == "GBRT":
            trees = GradientBoostingRegressor(n_estimators=GBRT_TREES, loss="quantile")
            return QuantileRegressor(base_estimator=trees, random_state=seed)
        return cook_estimator(self._estimator_name, space=self._dimensions, random_state=seed)

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
