"""What the rung algorithms share: resources, configurations, and the way from these to trials.

A configuration is a point without its resource parameter. Every trial gives a configuration a
resource (epochs, samples, ...); the first is on a rung at the bottom of a bracket, and each
promotion is a new trial of the same configuration, one rung higher.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from trialbus.kernel.catalogue import AlgorithmDescription, SettingValue, read_settings
from trialbus.kernel.proposals import (
    FinishedTrial,
    PointTexts,
    Proposal,
    ProposalRequest,
    Study,
)
from trialbus.kernel.space import SearchSpace
from trialbus.kernel.suggestion import Mark
from trialbus_suggestion.core.losses import loss_of
from trialbus_suggestion.core.rung_scale import Scale
from trialbus_suggestion.core.seeds import point_seed
from trialbus_suggestion.core.seen import SeenPoints, draw_unseen

if TYPE_CHECKING:
    from random import Random

BRACKET_LABEL = "trialbus.io/bracket"
RUNG_LABEL = "trialbus.io/rung"


class Place(NamedTuple):
    """bracket: by the order in which brackets begin, from 0. rung: from 0, the lowest."""

    bracket: int
    rung: int


class Job(NamedTuple):
    """A trial to propose. parent: index of the trial that is promoted; None: a new one."""

    configuration: PointTexts
    place: Place
    parent: int | None


class Configurations:
    """In the order in which they began, and the trials that they have had. The i-th is a function
    of seed, i and, because none comes twice, of those before it."""

    def __init__(self, study: Study, resource_name: str) -> None:
        names = [parameter.name for parameter in study.parameters]
        self._at = names.index(resource_name)
        self._is_int = study.parameters[self._at].type == "int"
        others = tuple(it for i, it in enumerate(study.parameters) if i != self._at)
        self._space = SearchSpace(others)
        self._seen = SeenPoints(self._space)
        self._seed = study.seed
        self._latest: dict[PointTexts, int] = {}
        self._by_trial: list[PointTexts] = []

    def __len__(self) -> int:
        """How many have begun."""
        return len(self._latest)

    def latest_trial(self, configuration: PointTexts) -> int | None:
        """The index of its last trial; None: it is new."""
        return self._latest.get(configuration)

    def of_trial(self, index: int) -> PointTexts:
        return self._by_trial[index]

    def begin_trial(self, configuration: PointTexts) -> int:
        """The index of its new trial."""
        if configuration not in self._latest:
            self._seen.add(self._space.parse(configuration))
        index = len(self._by_trial)
        self._latest[configuration] = index
        self._by_trial.append(configuration)
        return index

    def draw(self, rng: "Random") -> PointTexts | None:
        """The next new one; None: the space is spent."""
        rng.seed(point_seed(self._seed, len(self)))
        point = draw_unseen(self._space, self._seen, rng)
        return None if point is None else self._space.key(point)

    def without_resource(self, texts: PointTexts) -> PointTexts:
        return texts[: self._at] + texts[self._at + 1 :]

    def with_resource(self, configuration: PointTexts, resource: Fraction) -> PointTexts:
        text = str(math.floor(resource)) if self._is_int else repr(float(resource))
        return (*configuration[: self._at], text, *configuration[self._at :])


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """What a trial at a place is told and called. bracket: the paper's s. is_top: nothing is
    promoted from here."""

    resource: Fraction
    bracket: int
    is_top: bool


class RungSearch(ABC):
    """Turns jobs into points, and points of the past into places.

    All state follows from the points' texts: as no configuration begins twice, one that is known
    has been promoted. So a past whose marks are lost (Katib's protocol has none) is understood.
    """

    def __init__(self, study: Study, description: AlgorithmDescription) -> None:
        settings: Mapping[str, SettingValue] = read_settings(description, study.algorithm.settings)
        self._settings = settings
        self._objective = study.objective
        self._scale = Scale.of(settings)
        self._configurations = Configurations(study, str(settings["resource_name"]))
        self._places: list[Place] = []
        self._running_below_top = 0

    @abstractmethod
    def _first_place(self) -> Place:
        """Of the next new configuration."""

    @abstractmethod
    def _level(self, place: Place) -> Level:
        """Of a place that a trial has."""

    @abstractmethod
    def _enter(self, place: Place, index: int, parent: int | None) -> None:
        """Trial `index` begins there; its `parent`, one rung lower, is promoted by it."""

    @abstractmethod
    def _record(self, place: Place, index: int, loss: float | None) -> None:
        """Trial `index` has ended. inf: as bad as can be; None: it says nothing."""

    @abstractmethod
    def _next(self, rng: "Random") -> Job | None:
        """None: nothing can begin now."""

    def restore(self, points: Sequence[PointTexts], _marks: Sequence[Mark] = (), /) -> None:
        for texts in points:
            configuration = self._configurations.without_resource(texts)
            parent = self._configurations.latest_trial(configuration)
            if parent is None:
                place = self._first_place()
            else:
                before = self._places[parent]
                place = before._replace(rung=before.rung + 1)
            self._begin(Job(configuration, place, parent))

    def tell(self, finished: Sequence[FinishedTrial]) -> None:
        for trial in finished:
            place = self._places[trial.index]
            loss = loss_of(trial, self._objective)
            # Nobody goes on from an infinitely good value either: it is a bug of the trial.
            infinite = loss is not None and math.isinf(loss)
            self._record(place, trial.index, math.inf if infinite else loss)
            self._running_below_top -= not self._level(place).is_top

    def propose(self, request: ProposalRequest, rng: "Random") -> Proposal:
        points: list[PointTexts] = []
        marks: list[Mark] = []
        while len(points) < request.count and (job := self._next(rng)) is not None:
            level = self._level(job.place)
            points.append(self._configurations.with_resource(job.configuration, level.resource))
            labels = ((BRACKET_LABEL, str(level.bracket)), (RUNG_LABEL, str(job.place.rung)))
            marks.append(Mark(parent=job.parent, labels=labels))
            self._begin(job)
        # Who runs below the top may still be promoted, or make another one promotable.
        spent = len(points) < request.count and not self._running_below_top
        return Proposal(points=tuple(points), marks=tuple(marks), exhausted=spent)

    def _begin(self, job: Job) -> None:
        index = self._configurations.begin_trial(job.configuration)
        self._places.append(job.place)
        self._enter(job.place, index, job.parent)
        self._running_below_top += not self._level(job.place).is_top
