"""Bayesian optimisation: random points first, then the best points by a surrogate model."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trialbus.kernel.catalogue import read_settings
from trialbus.kernel.proposals import (
    FinishedTrial,
    PointTexts,
    Proposal,
    ProposalRequest,
    Study,
)
from trialbus.kernel.space import Point, SearchSpace
from trialbus.kernel.suggestion import Mark
from trialbus_suggestion.core.descriptions.modelling import BAYESIAN_OPTIMIZATION
from trialbus_suggestion.core.losses import Loss, losses_of
from trialbus_suggestion.core.seen import SeenPoints, draw, draw_unseen

if TYPE_CHECKING:
    from random import Random

    from trialbus_suggestion.core.surrogate import Surrogate

# With fewer results a model is a guess; more random points while many run at once.
MIN_RESULTS = 3
# A Gaussian process costs the cube of this: 200 keep a point well below a second.
MAX_MODELLED = 200

Observation = tuple[Point, float]


class BayesianOptimization:
    """Points that are proposed and not finished count as running: the model believes that each
    had an average loss (constant liar, Ginsbourger, Le Riche, Carraro 2010, section 4.2)."""

    def __init__(self, study: Study) -> None:
        settings = read_settings(BAYESIAN_OPTIMIZATION, study.algorithm.settings)
        self._settings = settings
        self._objective = study.objective
        self._space = SearchSpace(study.parameters)
        self._seen = SeenPoints(self._space)
        self._avoids = settings["duplicates"] == "avoid"
        self._initial_count = int(settings["n_initial_points"])
        self._points: list[Point] = []
        self._finished: list[FinishedTrial] = []
        self._surrogate: Surrogate | None = None

    def restore(self, points: Sequence[PointTexts], _marks: Sequence[Mark] = (), /) -> None:
        for texts in points:
            self._remember(self._space.parse(texts))

    def tell(self, finished: Sequence[FinishedTrial]) -> None:
        self._finished.extend(finished)

    def propose(self, request: ProposalRequest, rng: "Random") -> Proposal:
        points: list[PointTexts] = []
        for _ in range(request.count):
            point = self._next(rng)
            if point is None:
                break
            self._remember(point)
            points.append(self._space.key(point))
        return Proposal(points=tuple(points), exhausted=len(points) < request.count)

    def _remember(self, point: Point) -> None:
        self._points.append(point)
        self._seen.add(point)

    def _next(self, rng: "Random") -> Point | None:
        if self._avoids and self._seen.is_spent:
            return None
        if len(self._points) >= self._initial_count:
            observed = self._observed(self._finished)
            if len(observed) >= max(1, min(MIN_RESULTS, self._initial_count)):
                return self._by_model(observed, rng)
        if self._avoids:
            return draw_unseen(self._space, self._seen, rng)
        return draw(self._space, rng)

    def _by_model(self, observed: list[Observation], rng: "Random") -> Point:
        if self._surrogate is None:
            # scikit-optimize takes more than a second to load.
            from trialbus_suggestion.core.surrogate import Surrogate  # noqa: PLC0415

            self._surrogate = Surrogate(self._space, self._settings)
        milestone = milestone_of(len(self._finished))
        self._surrogate.tune(milestone, self._observed(self._finished[:milestone]) or observed)
        ended = {trial.index for trial in self._finished}
        running = [point for i, point in enumerate(self._points) if i not in ended]
        return self._surrogate.next_point(
            observed, running, rng, self._seen if self._avoids else None
        )

    def _observed(self, finished: Sequence[FinishedTrial]) -> list[Observation]:
        losses = losses_of(finished, self._objective)
        return [(self._points[index], loss) for index, loss in most_telling(losses)]


def milestone_of(finished: int) -> int:
    """The number of finished trials that the model's hyperparameters are tuned on: all up to 16,
    then in steps of 6 to 12 %. A function of the number alone: a restored instance tunes once."""
    step = 1 << max(0, finished.bit_length() - 4)
    return finished - finished % step


def most_telling(losses: list[Loss]) -> list[Loss]:
    """At most MAX_MODELLED: the better half of them by loss, the rest the newest; in order."""
    if len(losses) <= MAX_MODELLED:
        return losses
    newest = len(losses) - MAX_MODELLED // 2
    best = sorted(range(newest), key=lambda at: losses[at][1])[: MAX_MODELLED // 2]
    return [losses[at] for at in sorted(best)] + losses[newest:]
