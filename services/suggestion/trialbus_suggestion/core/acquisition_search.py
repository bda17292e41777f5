"""Where an acquisition function is highest: many places are looked at, the best few are refined."""

import numpy as np
from scipy.optimize import fmin_l_bfgs_b

from trialbus_suggestion.core.acquisition import Acquisition
from trialbus_suggestion.core.gaussian_process import Floats, Posterior
from trialbus_suggestion.core.places import Indexes, Places

# Looked at: anywhere by the distributions, and around some of the best places so far.
ANYWHERE, AROUND = 500, 300
# The same without refinement.
ANYWHERE_ONLY, AROUND_ONLY = 3_000, 1_000
CENTERS = 3
# Deviations of the steps from a center, as shares of a range.
SHORT, LONG = 0.002, 0.2
# A step is in this share of the codes, and in one of them at least.
STEPPED_SHARE = 0.3
# Of each of the two kinds.
REFINED = 2
MAX_ITERATIONS = 25
# Changes of one whole number or choice at a time, each followed by gradients for the rest.
MAX_CHANGES = 5
# Less of a gain is rounding.
MIN_GAIN = 1e-9


class AcquisitionSearch:
    """`best`: the loss to improve on; `centers`: the most promising places so far."""

    def __init__(
        self, places: Places, posterior: Posterior, acquisition: Acquisition, best: float
    ) -> None:
        self._places = places
        self._posterior = posterior
        self._acquisition = acquisition
        self._best = best
        # The numbers are the first features.
        self._at = np.searchsorted(places.numbers, places.continuous)

    def scores(self, rows: Floats) -> Floats:
        """(n, n_codes) -> (n,)"""
        mean, deviation = self._posterior.predict(self._places.features(rows))
        return self._acquisition(mean, deviation, self._best)[0]

    def refined(self, centers: Floats, generator: np.random.Generator) -> Floats:
        """Places to take, by falling preference: the refined ones first. centers: (n, n_codes)"""
        pools = (self._anywhere(ANYWHERE, generator), self._around(centers, AROUND, generator))
        scored = [(pool, self.scores(pool)) for pool in pools]
        starts = [pool[at] for pool, scores in scored for at in _by_fall(scores)[:REFINED]]
        found = np.array([self._climbed_and_changed(start) for start in starts])
        rows, scores = (np.concatenate(parts) for parts in zip(*scored, strict=True))
        return np.concatenate([found[_by_fall(self.scores(found))], rows[_by_fall(scores)]])

    def sampled(self, centers: Floats, generator: np.random.Generator) -> Floats:
        """As `refined`, but as many places are only looked at."""
        rows = np.concatenate([
            self._anywhere(ANYWHERE_ONLY, generator),
            self._around(centers, AROUND_ONLY, generator),
        ])  # fmt: skip
        return rows[_by_fall(self.scores(rows))]

    def _anywhere(self, count: int, generator: np.random.Generator) -> Floats:
        return self._places.from_units(generator.random((count, len(self._places))))

    def _around(self, centers: Floats, count: int, generator: np.random.Generator) -> Floats:
        """Short and long steps from the centers; another choice is as likely as any."""
        rows = centers[np.arange(count) % len(centers)]
        shape = rows.shape
        lengths = SHORT * (LONG / SHORT) ** generator.random((count, 1))
        # Mirrored at the ends, so that those are not preferred.
        units = np.abs(rows + lengths * generator.standard_normal(shape))
        units = np.clip(1.0 - np.abs(1.0 - units), 0.0, 1.0)
        units[:, self._places.choices] = generator.random((count, len(self._places.choices)))
        is_stepped = generator.random(shape) < STEPPED_SHARE
        is_stepped[np.arange(count), generator.integers(shape[1], size=count)] = True
        return np.where(is_stepped, self._places.from_units(units), rows)

    def _climbed_and_changed(self, start: Floats) -> Floats:
        place = self._climbed(start)
        for _ in range(MAX_CHANGES if self._places.levels else 0):
            changed = self._changed(place)
            if changed is None:
                break
            place = self._climbed(changed)
        return place

    def _climbed(self, start: Floats) -> Floats:
        """By gradient in the codes that are continua."""
        continuous = self._places.continuous
        if not len(continuous):
            return start
        features = self._places.features(start[None])[0]

        def negated(moved: Floats) -> tuple[float, Floats]:
            features[self._at] = moved
            mean, deviation, by_mean, by_deviation = self._posterior.slopes(features)
            value, mean_slope, deviation_slope = self._acquisition(
                np.asarray(mean), np.asarray(deviation), self._best
            )
            gradient = mean_slope * by_mean + deviation_slope * by_deviation
            return -float(value), -gradient[self._at]

        place = start.copy()
        place[continuous] = fmin_l_bfgs_b(
            negated,
            start[continuous],
            bounds=[(0.0, 1.0)] * len(continuous),
            maxiter=MAX_ITERATIONS,
            pgtol=1e-4,
        )[0]
        return place

    def _changed(self, place: Floats) -> Floats | None:
        """The best place with one other whole number or choice; None: none is better."""
        rows = [place]
        for i, levels in self._places.levels.items():
            for code in _neighbours(levels, place[i], listed=i in self._places.choices):
                row = place.copy()
                row[i] = code
                rows.append(row)
        together = np.array(rows)
        scores = self.scores(together)
        at = int(np.argmax(scores))
        return together[at] if scores[at] > scores[0] + MIN_GAIN else None


def _neighbours(levels: Floats, code: float, *, listed: bool) -> Floats:
    """All other choices; of numbers those 1, 2, 4, 8, ... away."""
    at = int(np.searchsorted(levels, code))
    if listed:
        return np.delete(levels, at)
    steps = 1 << np.arange(len(levels).bit_length())
    candidates = np.concatenate([at - steps, at + steps])
    found: Floats = levels[candidates[(candidates >= 0) & (candidates < len(levels))]]
    return found


def _by_fall(scores: Floats) -> Indexes:
    order: Indexes = np.argsort(-scores, kind="stable")
    return order
