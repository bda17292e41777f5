"""The default surrogate of Bayesian optimisation: a Gaussian process and its acquisition."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from trialbus.kernel.catalogue import SettingValue
from trialbus.kernel.errors import InvariantBroken
from trialbus.kernel.space import Point, SearchSpace
from trialbus_suggestion.core.acquisition import ACQUISITIONS, chosen_acquisition
from trialbus_suggestion.core.acquisition_search import CENTERS, AcquisitionSearch
from trialbus_suggestion.core.gaussian_process import Floats, Hyperparameters, Posterior, fit
from trialbus_suggestion.core.losses import Loss
from trialbus_suggestion.core.places import Places
from trialbus_suggestion.core.seen import SeenPoints, draw_unseen
from trialbus_suggestion.core.warping import warped

if TYPE_CHECKING:
    from random import Random

# Of a space of so many points all that are left are compared.
MAX_COMPARED = 1_000
# Algebra on some hundred rows gains nothing from threads, and sums in a fixed order without.
THREADS = ThreadpoolController()


class GaussianSurrogate:
    """What it answers is a function of what it is given and what it was tuned on last."""

    def __init__(self, space: SearchSpace, settings: Mapping[str, SettingValue]) -> None:
        self._space = space
        self._places = Places(space)
        self._acquisition = str(settings["acq_func"])
        self._refines = settings["acq_optimizer"] != "sampling"
        self._rows: list[Floats] = []
        self._hyperparameters: Hyperparameters | None = None
        cardinality = space.cardinality()
        self._all: list[Point] = []
        if cardinality is not None and cardinality <= MAX_COMPARED:
            self._all = [space.point_at(i) for i in range(cardinality)]
        self._all_rows = self._places.encoded(self._all)

    def remember(self, point: Point) -> None:
        self._rows.append(self._places.encoded([point])[0])

    def tune(self, losses: Sequence[Loss]) -> None:
        """Choose the hyperparameters by their likelihood and prior."""
        with THREADS.limit(limits=1):
            features, values = self._observed(losses)
            self._hyperparameters = fit(self._places.layout, features, values)

    def next_point(
        self,
        losses: Sequence[Loss],
        running: Sequence[int],
        rng: "Random",
        seen: SeenPoints | None,
    ) -> Point | None:
        """The most promising point after `losses` (at least one), while those with the indexes
        `running` run; with `seen` one that is not in it, None: there is none."""
        with THREADS.limit(limits=1):
            for point in self._by_preference(losses, running, rng):
                if seen is None or point not in seen:
                    return point
        return None if seen is None else draw_unseen(self._space, seen, rng)

    def _by_preference(
        self, losses: Sequence[Loss], running: Sequence[int], rng: "Random"
    ) -> Iterator[Point]:
        if self._hyperparameters is None:
            raise InvariantBroken("a surrogate is tuned before it is asked")
        features, values = self._observed(losses)
        posterior = Posterior(
            self._places.layout,
            self._hyperparameters,
            features,
            values,
            self._places.features(self._rows_of(running)),
        )
        acquisition = ACQUISITIONS[chosen_acquisition(self._acquisition, rng)]
        means = posterior.mean_at_places
        search = AcquisitionSearch(self._places, posterior, acquisition, float(means.min()))
        if self._all:
            order = np.argsort(-search.scores(self._all_rows), kind="stable")
            yield from (self._all[at] for at in order)
            return
        promising = np.argsort(means, kind="stable")[:CENTERS]
        centers = self._rows_of([index for index, _ in losses] + list(running))[promising]
        generator = np.random.default_rng(rng.getrandbits(64))
        look = search.refined if self._refines else search.sampled
        yield from map(self._places.decoded, look(centers, generator))

    def _observed(self, losses: Sequence[Loss]) -> tuple[Floats, Floats]:
        rows = self._rows_of([index for index, _ in losses])
        return self._places.features(rows), warped(np.array([loss for _, loss in losses]))

    def _rows_of(self, indexes: Sequence[int]) -> Floats:
        rows = [self._rows[index] for index in indexes]
        return np.array(rows).reshape(len(rows), len(self._places))
