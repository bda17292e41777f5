"""Efficient neural architecture search: a controller proposes networks and learns from theirs."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from trialbus.kernel.catalogue import SettingValue, read_settings
from trialbus.kernel.proposals import (
    FinishedTrial,
    PointTexts,
    Proposal,
    ProposalRequest,
    Study,
)
from trialbus.kernel.suggestion import UNMARKED, Mark
from trialbus_suggestion.core.descriptions.enas import ENAS
from trialbus_suggestion.core.enas_architectures import (
    ARCHITECTURE,
    Architecture,
    ArchitectureSpace,
    Batch,
)
from trialbus_suggestion.core.enas_checks import VALUES
from trialbus_suggestion.core.enas_controller import Form, unroll
from trialbus_suggestion.core.enas_learning import (
    Learner,
    LearningSettings,
    Lesson,
    chances,
    is_time_to_learn,
    learn,
    new_learner,
)
from trialbus_suggestion.core.losses import loss_of, losses_of

if TYPE_CHECKING:
    from random import Random

# Architectures that are drawn at a time, to find one that has not been proposed.
DRAWN = 32
# The controller as it is; when all it draws is known, ever more evenly over all architectures.
SHARPNESS = (1.0, 1.0, 0.5, 0.25, 0.0)
# Of the controllers to go back to; two are kept, however large.
KEPT_BYTES = 16 * 1024**2
# The label under which people, and a restart, find how likely an architecture was.
LOG_P = "log_probability"

Drawn = tuple[Architecture, float]


class EnasSearch:
    """The controller is a function of which trials have which results, not of the order in which
    they ended: results are learned in the order of their trials' indexes. One that comes late is
    put into its place, and what was learned from those behind it is learned again."""

    def __init__(self, study: Study) -> None:
        if study.nas is None:
            raise ValueError("there is no architecture to search: spec.nasConfig is missing")
        settings = read_settings(ENAS, study.algorithm.settings)
        self._study, self._space = study, ArchitectureSpace.of(study.nas)
        self._names = study.names or VALUES
        self._avoids = settings["duplicates"] == "avoid"
        self._form = form_of(self._space, settings)
        self._settings = learning_settings_of(settings)
        self._known: list[Architecture] = []
        self._log_p: list[float] = []
        self._seen: set[Architecture] = set()
        self._results: list[FinishedTrial] = []
        # After how many results each was made; the first knows nothing.
        self._learners: list[tuple[int, Learner]] = [(0, new_learner(self._form, study.seed))]

    def restore(self, points: Sequence[PointTexts], marks: Sequence[Mark] = (), /) -> None:
        at = self._names.index(ARCHITECTURE)
        for texts, mark in zip(points, marks or (UNMARKED,) * len(points), strict=True):
            log_p = mark.label(LOG_P)
            self._remember(self._space.parse(texts[at]), float("nan" if log_p is None else log_p))

    def tell(self, finished: Sequence[FinishedTrial]) -> None:
        for trial in finished:
            if loss_of(trial, self._study.objective) is not None:
                at = bisect_left(self._results, trial.index, key=lambda it: it.index)
                self._results.insert(at, trial)
                while self._learners[-1][0] > at:
                    self._learners.pop()
        self._catch_up()

    def propose(self, request: ProposalRequest, rng: "Random") -> Proposal:
        points, marks = [], []
        for _ in range(request.count):
            drawn = self._next(rng)
            if drawn is None:
                break
            architecture, log_p = drawn
            self._remember(architecture, log_p)
            texts = self._space.texts(architecture)
            points.append(tuple(texts[name] for name in self._names))
            marks.append(Mark(labels=((LOG_P, repr(log_p)),)))
        is_spent = len(points) < request.count
        return Proposal(points=tuple(points), marks=tuple(marks), exhausted=is_spent)

    def _remember(self, architecture: Architecture, log_p: float) -> None:
        self._known.append(architecture)
        self._log_p.append(log_p)
        self._seen.add(architecture)

    def _catch_up(self) -> None:
        done, newest = self._learners[-1]
        for count in range(done + 1, len(self._results) + 1):
            lesson = self._lesson(count) if is_time_to_learn(count) else None
            if lesson is not None:
                newest = newest.copy()
                learn(self._form, newest, lesson, self._settings)
                self._learners.append((count, newest))
                self._thin_out()

    def _lesson(self, count: int) -> Lesson | None:
        """From the first results; None: none of them has a value yet."""
        losses = losses_of(self._results[:count], self._study.objective)
        if not losses:
            return None
        return Lesson(
            batch=Batch.of([self._known[index] for index, _ in losses]),
            rewards=np.array([-loss for _, loss in losses]),
            log_p=np.array([self._log_p[index] for index, _ in losses]),
        )

    def _thin_out(self) -> None:
        """Few controllers are kept to go back to, the further back the fewer. Which are kept makes
        no difference to what is learned, only to how long it takes."""
        newest = self._learners[-1][0]

        def stays(count: int) -> bool:
            distance = newest - count
            return count % (1 << max(distance.bit_length() - 1, 0)) == 0

        first, *others = [it for it in self._learners if stays(it[0])]
        most = max(KEPT_BYTES // first[1].size_bytes, 2)
        self._learners = [first, *others[1 - most :]]

    def _next(self, rng: "Random") -> Drawn | None:
        """None: every architecture has been proposed."""
        if not self._avoids:
            return self._draw(rng, 1, 1.0)[0]
        cardinality = self._space.cardinality()
        if len(self._seen) >= cardinality:
            return None
        for sharpness in SHARPNESS:
            for drawn in self._draw(rng, DRAWN, sharpness):
                if drawn[0] not in self._seen:
                    return drawn
        start = rng.randrange(cardinality)
        probes = (self._space.at((start + i) % cardinality) for i in range(cardinality))
        return next(it for it in probes if it not in self._seen), -float(np.log(cardinality))

    def _draw(self, rng: "Random", count: int, sharpness: float) -> list[Drawn]:
        layers = self._form.layers
        numbers = [rng.random() for _ in range(count * layers * (layers + 1) // 2)]
        drawn = unroll(
            self._form,
            self._learners[-1][1].flat,
            chances=chances(count, layers, numbers),
            sharpness=sharpness,
        )
        return list(zip(drawn.batch.architectures(), drawn.log_p.tolist(), strict=True))


def form_of(space: ArchitectureSpace, settings: Mapping[str, SettingValue]) -> Form:
    return Form(
        layers=space.layers,
        operations=len(space.operations),
        hidden=int(settings["controller_hidden_size"]),
        temperature=_number(settings["controller_temperature"]),
        tanh_const=_number(settings["controller_tanh_const"]),
    )


def learning_settings_of(settings: Mapping[str, SettingValue]) -> LearningSettings:
    return LearningSettings(
        learning_rate=float(settings["controller_learning_rate"]),
        train_steps=int(settings["controller_train_steps"]),
        baseline_decay=float(settings["controller_baseline_decay"]),
        entropy_weight=_number(settings["controller_entropy_weight"]) or 0.0,
        skip_weight=_number(settings["controller_skip_weight"]) or 0.0,
        skip_target=float(settings["controller_skip_target"]),
    )


def _number(setting: SettingValue) -> float | None:
    return None if setting == "None" else float(setting)
