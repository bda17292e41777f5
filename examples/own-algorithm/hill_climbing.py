"""An algorithm of one's own: steps from the best point so far."""

from trialbus.kernel.catalogue import AlgorithmDescription, Setting, read_settings
from trialbus.kernel.proposals import Proposal
from trialbus.kernel.space import SearchSpace
from trialbus_suggestion.core.losses import loss_of
from trialbus_suggestion.core.seen import SeenPoints, draw_unseen


class HillClimbing:
    def __init__(self, study):
        self.study, self.space = study, SearchSpace(study.parameters)
        self.seen, self.points, self.best = SeenPoints(self.space), [], None
        self.width = read_settings(DESCRIPTION, study.algorithm.settings)["width"]

    def restore(self, points, _marks=(), /):
        self.points += [self.space.parse(texts) for texts in points]
        for texts in points:
            self.seen.add(self.space.parse(texts))

    def tell(self, finished):
        losses = [(loss_of(trial, self.study.objective), trial.index) for trial in finished]
        known = [it for it in [self.best, *losses] if it is not None and it[0] is not None]
        self.best = min(known, default=None)

    def propose(self, request, rng):
        first = len(self.points)
        while len(self.points) < first + request.count and not self.seen.is_spent:
            point = self.near_best(rng)
            if point in self.seen:
                point = draw_unseen(self.space, self.seen, rng)
            if point is None:
                break
            self.restore([self.space.key(point)])
        points = tuple(map(self.space.key, self.points[first:]))
        return Proposal(points=points, exhausted=len(points) < request.count)

    def near_best(self, rng):
        cube = [0.5] * len(self.space.axes)
        if self.best is not None:
            cube = self.space.to_unit(self.points[self.best[1]])
        return self.space.from_unit([min(1, max(0, rng.gauss(u, self.width))) for u in cube])


DESCRIPTION = AlgorithmDescription(
    name="hill-climbing",
    implementation="hill_climbing:HillClimbing",
    look_ahead="pending",
    heavy=True,
    parameter_types=frozenset({"double", "int", "discrete", "categorical"}),
    distributions=frozenset({"uniform", "logUniform", "normal", "logNormal"}),
    settings=(
        Setting(
            name="width",
            kind="float",
            default=0.1,
            check=lambda value: 0 < value <= 1,
            message="width must be above 0, and 1 at most",
            meaning="How far a step goes, as a share of the range.",
        ),
    ),
    meaning="Steps of a normal distribution from the best point so far.",
)
