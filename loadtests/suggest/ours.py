"""Our algorithms in this process, asked as the suggestion service asks them."""

import math
from collections.abc import Sequence
from random import Random

from trialbus.kernel.objective import ObjectiveType
from trialbus.kernel.proposals import FinishedTrial, PointTexts, ProposalRequest, Study
from trialbus.kernel.space import Parameter, SearchSpace
from trialbus.kernel.spec import AlgorithmSpec
from trialbus.kernel.suggestion import UNMARKED, Mark
from trialbus.kernel.trial import TrialPhase
from trialbus_suggestion.core.registry import Registry
from trialbus_suggestion.core.seeds import request_seed

Values = tuple[float | int | str, ...]


def objective(parameters: Sequence[Parameter], point: Values) -> float:
    """Loss: a bowl in the shares of the ranges, with a waved ground."""
    loss = 0.0
    for parameter, value in zip(parameters, point, strict=True):
        if parameter.list:
            loss += 0.1 * parameter.list.index(str(value))
            continue
        low, high, x = float(parameter.min), float(parameter.max), float(value)
        is_log = parameter.distribution == "logUniform"
        share = math.log(x / low) / math.log(high / low) if is_log else (x - low) / (high - low)
        loss += (share - 0.3) ** 2 + 0.02 * math.cos(20 * share)
    return loss


def random_points(parameters: tuple[Parameter, ...], count: int, seed: int) -> list[Values]:
    space, rng = SearchSpace(parameters), Random(seed)
    return [space.from_unit([rng.random() for _ in space.axes]) for _ in range(count)]


class Ours:
    """One algorithm and its past, one trial after another."""

    def __init__(self, name: str, parameters: tuple[Parameter, ...], seed: int) -> None:
        self._study = Study(
            parameters=parameters,
            objective=ObjectiveType.MINIMIZE,
            algorithm=AlgorithmSpec(name=name),
            seed=seed,
            names=tuple(parameter.name for parameter in parameters),
        )
        self._space = SearchSpace(parameters)
        self._algorithm = Registry().create(self._study)
        self._points: list[PointTexts] = []
        self._marks: list[Mark] = []
        self._finished: list[FinishedTrial] = []

    def prime(self, points: Sequence[Values]) -> None:
        """A past of these points, behind what is known."""
        first = len(self._points)
        told = len(self._finished)
        self.note_down(points)
        self._algorithm.restore(self._points[first:])
        self._algorithm.tell(self._finished[told:])

    def note_down(self, points: Sequence[Values]) -> None:
        """As `prime`, but the algorithm hears nothing."""
        for point in points:
            self._points.append(self._space.key(point))
            self._marks.append(UNMARKED)
            self._finish(point)

    @property
    def finished_trials(self) -> list[tuple[FinishedTrial, Mark]]:
        return [(trial, self._marks[trial.index]) for trial in self._finished]

    def tell(self, point: Values) -> None:
        self._finish(point)
        self._algorithm.tell(self._finished[-1:])

    def ask(self) -> Values:
        number = len(self._points)
        request = self._request(number)
        proposal = self._algorithm.propose(request, Random(request.seed))
        [point] = proposal.points
        self._points.append(point)
        self._marks += proposal.marks or (UNMARKED,)
        return self._space.parse(point)

    def _request(self, first: int) -> ProposalRequest:
        return ProposalRequest(
            number=first + 1,
            first=first,
            count=1,
            watermark=len(self._finished),
            seed=request_seed(self._study.seed, first + 1),
        )

    def _finish(self, point: Values) -> None:
        number = len(self._finished) + 1
        trial = FinishedTrial(
            number=number,
            index=number - 1,
            point=self._points[number - 1],
            phase=TrialPhase.SUCCEEDED,
            value=objective(self._study.parameters, point),
        )
        self._finished.append(trial)
