"""Bayesian optimisation: spread points first, then the best points by a surrogate model."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

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
from trialbus_suggestion.core.gaussian_surrogate import GaussianSurrogate
from trialbus_suggestion.core.losses import Loss, losses_of
from trialbus_suggestion.core.seeds import point_seed
from trialbus_suggestion.core.seen import SeenPoints, draw, draw_unseen
from trialbus_suggestion.core.sobol_sequence import MAX_DIMENSIONS, ScrambledSobol

if TYPE_CHECKING:
    from random import Random

# With fewer results a model is a guess; more spread points while many run at once.
MIN_RESULTS = 3
# A Gaussian process costs the cube of this: 300 keep a point below a tenth of a second.
MAX_MODELLED = 300
# Running trials are in the model, too: with more of them a point would take minutes, and gigabytes.
MAX_AWAITED = 1_000


class Surrogate(Protocol):
    """A model of the losses. Points go by the order in which they were remembered."""

    def remember(self, point: Point) -> None: ...

    def tune(self, losses: Sequence[Loss]) -> None: ...

    def next_point(
        self,
        losses: Sequence[Loss],
        running: Sequence[int],
        rng: "Random",
        seen: SeenPoints | None,
    ) -> Point | None: ...


class BayesianOptimization:
    """Points that are proposed and not finished count as running. Finished trials are kept in
    order of their indexes: which have finished matters, not in which order they did.

    While there is no model the i-th point is that of a scrambled Sobol' sequence, a function of
    the study's seed and i, however requests are cut.
    """

    def __init__(self, study: Study) -> None:
        settings = read_settings(BAYESIAN_OPTIMIZATION, study.algorithm.settings)
        self._seed = study.seed
        self._objective = study.objective
        self._space = SearchSpace(study.parameters)
        self._seen = SeenPoints(self._space)
        self._avoids = settings["duplicates"] == "avoid"
        self._initial_count = int(settings["n_initial_points"])
        self._known = 0
        self._finished: list[FinishedTrial] = []
        self._sequence: ScrambledSobol | None = None
        self._surrogate: Surrogate
        if settings["base_estimator"] == "GP":
            self._surrogate = GaussianSurrogate(self._space, settings)
        else:
            # scikit-optimize takes more than a second to load.
            from trialbus_suggestion.core.tree_surrogate import TreeSurrogate  # noqa: PLC0415

            self._surrogate = TreeSurrogate(self._space, settings)
        self._tuned_on: tuple[int, ...] = ()

    def restore(self, points: Sequence[PointTexts], _marks: Sequence[Mark] = (), /) -> None:
        for texts in points:
            self._remember(self._space.parse(texts))

    def tell(self, finished: Sequence[FinishedTrial]) -> None:
        self._finished.extend(finished)
        self._finished.sort(key=lambda trial: trial.index)

    def propose(self, request: ProposalRequest, rng: "Random") -> Proposal:
        points: list[PointTexts] = []
        losses = self._losses(self._finished)
        is_enough = len(losses) >= max(1, min(MIN_RESULTS, self._initial_count))
        # With a single point there is nothing to model.
        is_enough = is_enough and self._space.cardinality() != 1
        for _ in range(request.count):
            if self._avoids and self._seen.is_spent:
                break
            by_model = is_enough and self._known >= self._initial_count
            point = self._by_model(losses, rng) if by_model else self._spread(rng)
            if point is None:
                break
            self._remember(point)
            points.append(self._space.key(point))
        return Proposal(points=tuple(points), exhausted=len(points) < request.count)

    def _remember(self, point: Point) -> None:
        self._known += 1
        self._seen.add(point)
        self._surrogate.remember(point)

    def _spread(self, rng: "Random") -> Point | None:
        """Where a step or a list makes it a point that was proposed before, an unseen one."""
        rng.seed(point_seed(self._seed, self._known))
        dimensions = len(self._space.axes)
        if dimensions > MAX_DIMENSIONS:
            point = draw(self._space, rng)
        else:
            if self._sequence is None:
                self._sequence = ScrambledSobol(dimensions, self._seed)
            point = self._space.from_unit(self._sequence.at(self._known))
        if self._avoids and point in self._seen:
            return draw_unseen(self._space, self._seen, rng)
        return point

    def _by_model(self, losses: Sequence[Loss], rng: "Random") -> Point | None:
        self._tune(losses)
        ended = {trial.index for trial in self._finished}
        running = [i for i in range(self._known) if i not in ended]
        return self._surrogate.next_point(
            losses, running[-MAX_AWAITED:], rng, self._seen if self._avoids else None
        )

    def _tune(self, losses: Sequence[Loss]) -> None:
        first = self._finished[: milestone_of(len(self._finished))]
        indexes = tuple(trial.index for trial in first)
        if indexes != self._tuned_on:
            known = self._losses(first)
            self._surrogate.tune(known or losses)
            # When the first say nothing it was tuned on more, which may change.
            self._tuned_on = indexes if known else ()

    def _losses(self, finished: Sequence[FinishedTrial]) -> list[Loss]:
        return most_telling(losses_of(finished, self._objective))


def milestone_of(finished: int) -> int:
    """The number of finished trials, the first by index, that the model's hyperparameters are
    tuned on: all up to 16, then in steps of 6 to 12 %. A function of the number alone: a restored
    instance tunes once."""
    step = 1 << max(0, finished.bit_length() - 4)
    return finished - finished % step


def most_telling(losses: list[Loss]) -> list[Loss]:
    """At most MAX_MODELLED: the better half of them by loss, the rest the newest; in order."""
    if len(losses) <= MAX_MODELLED:
        return losses
    newest = len(losses) - MAX_MODELLED // 2
    best = sorted(range(newest), key=lambda at: losses[at][1])[: MAX_MODELLED // 2]
    return [losses[at] for at in sorted(best)] + losses[newest:]
