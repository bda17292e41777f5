"""An algorithm under test, and an experiment around it without a stack."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

from trialbus.kernel.catalogue import (
    AlgorithmDescription,
    Submission,
    check_settings,
    read_settings,
)
from trialbus.kernel.objective import ObjectiveType
from trialbus.kernel.proposals import (
    FinishedTrial,
    PointTexts,
    Proposal,
    ProposalRequest,
    Study,
)
from trialbus.kernel.space import Parameter
from trialbus.kernel.spec import AlgorithmSpec, NasConfig
from trialbus.kernel.suggestion import UNMARKED, Mark
from trialbus.kernel.trial import TrialPhase
from trialbus.testkit.algorithm_spaces import COMPANION
from trialbus_suggestion.core.algorithm import Algorithm
from trialbus_suggestion.core.registry import Registry
from trialbus_suggestion.core.seeds import request_seed

NameValues = tuple[tuple[str, str], ...]
Objective = Callable[[int, PointTexts], tuple[TrialPhase, float | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """An algorithm and what is special about it.

    settings: to test it with; let the model speak soon. initial_settings: more of them, with which
    1000 points are drawn before results matter. resource: the parameter that the algorithm sets
    itself, of those with a `resource_setting`. nas, names: what an architecture search searches,
    and what its points hold. follows_distributions: whether its first points are draws by the
    parameters' distributions. covers_space: whether it draws all of a finite space, each point
    once. repeats: whether the same point may come again by its nature. trials: how many it must
    cope with. grows_itself: whether a past of its own making is needed to test that.
    """

    description: AlgorithmDescription
    settings: NameValues = ()
    initial_settings: NameValues = ()
    resource: Parameter | None = None
    nas: NasConfig | None = None
    names: tuple[str, ...] = ()
    follows_distributions: bool = True
    covers_space: bool = True
    repeats: bool = False
    trials: int = 10_000
    grows_itself: bool = False

    @property
    def allows_duplicates(self) -> bool:
        return "duplicates" in {setting.name for setting in self.description.settings}

    def takes(self, parameters: Sequence[Parameter], *settings: tuple[str, str]) -> bool:
        """Whether an experiment over such a space would be taken."""
        given = (*self.settings, *settings)
        assert check_settings(self.description, given) == []
        if not {it.type for it in parameters} <= self.description.parameter_types:
            return False
        if not {it.distribution for it in parameters} <= self.description.distributions:
            return False
        submission = Submission(
            parameters=tuple(parameters),
            settings=read_settings(self.description, given),
            parallel_trial_count=3,
            max_trial_count=None,
            nas=self.nas,
            names=tuple(it.name for it in parameters),
        )
        return not list(self.description.check(submission))

    def space_of(self, *choices: Sequence[Parameter]) -> tuple[Parameter, ...] | None:
        """The first of these spaces that it takes, with its resource; else None."""
        extra = () if self.resource is None else (self.resource,)
        return next(((*it, *extra) for it in choices if self.takes((*it, *extra))), None)

    def around(self, parameter: Parameter) -> tuple[Parameter, ...] | None:
        """A space that begins with the parameter; None: it cannot be searched."""
        return self.space_of((parameter,), (parameter, COMPANION))

    def study(self, parameters: Sequence[Parameter] = (), *settings: tuple[str, str]) -> Study:
        algorithm = AlgorithmSpec(name=self.description.name, settings=(*self.settings, *settings))
        return Study(
            parameters=tuple(parameters),
            objective=ObjectiveType.MINIMIZE,
            algorithm=algorithm,
            seed=11,
            nas=self.nas,
            names=self.names or tuple(it.name for it in parameters),
        )


def size_of(_index: int, point: PointTexts) -> tuple[TrialPhase, float | None]:
    """An objective for any space: numbers as they are, other texts by length."""
    total = 0.0
    for text in point:
        try:
            total += float(text)
        except ValueError:
            total += len(text)
    return TrialPhase.SUCCEEDED, total


class Run:
    """Asks for points and finishes trials in turn; can be repeated by a fresh instance."""

    def __init__(self, subject: Subject, study: Study, objective: Objective = size_of) -> None:
        self.study = study
        self.objective = objective
        self.registry = Registry([subject.description])
        self.algorithm = self.registry.create(study)
        self.points: list[PointTexts] = []
        self.marks: list[Mark] = []
        self.finished: list[FinishedTrial] = []
        self.requests: list[tuple[ProposalRequest, Proposal]] = []
        self.exhausted = False

    @property
    def unfinished(self) -> list[int]:
        done = {trial.index for trial in self.finished}
        return [index for index in range(len(self.points)) if index not in done]

    def ask(self, count: int) -> tuple[PointTexts, ...]:
        number = len(self.requests) + 1
        request = ProposalRequest(
            number=number,
            first=len(self.points),
            count=count,
            watermark=len(self.finished),
            seed=request_seed(7, number),
        )
        proposal = self.algorithm.propose(request, Random(request.seed))
        self._check(request, proposal)
        self.exhausted = proposal.exhausted
        self.points.extend(proposal.points)
        self.marks.extend(proposal.marks or (UNMARKED,) * len(proposal.points))
        self.requests.append((request, proposal))
        return proposal.points

    def _check(self, request: ProposalRequest, proposal: Proposal) -> None:
        given = len(proposal.points)
        assert given <= request.count, "more points than were asked for"
        assert len(proposal.marks) in (0, given), "as many marks as points, or none"
        if given == request.count:
            return
        # Who waits while nothing runs would wait for ever.
        runs = len(self.points) + given > len(self.finished)
        assert proposal.exhausted or runs, "too few points, though the space is not spent"

    def finish(self, index: int) -> None:
        phase, value = self.objective(index, self.points[index])
        trial = FinishedTrial(
            number=len(self.finished) + 1,
            index=index,
            point=self.points[index],
            phase=phase,
            value=value,
        )
        self.finished.append(trial)
        self.algorithm.tell([trial])

    def rounds(self, count: int, width: int) -> None:
        """`count` times: ask for `width`, then finish all but the newest of what is open."""
        for _ in range(count):
            self.ask(width)
            self._finish_but_one()

    def grow(self, count: int, width: int = 100) -> None:
        """Until there are so many points, or the space is spent."""
        while len(self.points) < count and not self.exhausted:
            if not self.ask(min(width, count - len(self.points))) and len(self.unfinished) == 1:
                self.finish(self.unfinished[0])
            self._finish_but_one()

    def _finish_but_one(self) -> None:
        for index in self.unfinished[:-1]:
            self.finish(index)

    def told_anew(
        self, request: ProposalRequest, portion: int, order: Random | None = None
    ) -> Algorithm:
        """A fresh instance that was told what the request may see, in portions. order: in which
        the trials have ended this time; None: as they did."""
        fresh = self.registry.create(self.study)
        for at in range(0, request.first, portion):
            end = min(at + portion, request.first)
            fresh.restore(self.points[at:end], self.marks[at:end])
        seen = list(self.finished[: request.watermark])
        if order is not None:
            order.shuffle(seen)
            seen = [replace(trial, number=n) for n, trial in enumerate(seen, start=1)]
        for at in range(0, len(seen), portion):
            fresh.tell(seen[at : at + portion])
        return fresh
