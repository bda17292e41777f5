"""Population based training (Jaderberg et al. 2017), without waiting for whole generations."""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from trialbus.kernel.catalogue import read_settings
from trialbus.kernel.lineage import (
    BEGIN,
    BEGIN_ANEW,
    CONTINUE,
    EXPLOIT,
    FAILED_RANK,
    GENERATION_LABEL,
    MEMBER_LABEL,
    MOVE_LABEL,
    PARENT_MEMBER_LABEL,
    PARENT_RANK_LABEL,
    RANK_LABEL,
)
from trialbus.kernel.proposals import (
    FinishedTrial,
    PointTexts,
    Proposal,
    ProposalRequest,
    Study,
)
from trialbus.kernel.space import SearchSpace
from trialbus.kernel.suggestion import UNMARKED, Mark
from trialbus_suggestion.core.descriptions.pbt import PBT
from trialbus_suggestion.core.losses import loss_of
from trialbus_suggestion.core.perturbing import explored
from trialbus_suggestion.core.seeds import point_seed
from trialbus_suggestion.core.seen import draw

if TYPE_CHECKING:
    from random import Random

# A share of a count that is a whole number but for its rounding is that number.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    """One trial of a member. generation: how many trials its checkpoint has behind it."""

    index: int
    member: int
    generation: int
    texts: PointTexts


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    """loss: lower is better; infinite when the trial failed or says nothing."""

    turn: _Turn
    loss: float

    @property
    def is_good(self) -> bool:
        return math.isfinite(self.loss)


class PopulationBasedTraining:
    """Each member has at most one trial at a time. Its next one is decided from the newest result
    of every member when there is a place for it, the least trained member first; that is a
    function of which trials have ended, not of their order."""

    def __init__(self, study: Study) -> None:
        settings = read_settings(PBT, study.algorithm.settings)
        self._seed = study.seed
        self._objective = study.objective
        self._space = SearchSpace(study.parameters)
        self._members = int(settings["n_population"])
        self._threshold = float(settings["truncation_threshold"])
        self._resample = float(settings["resample_probability"])
        self._proposed = 0
        self._open: dict[int, _Turn] = {}
        self._last: dict[int, _Turn] = {}
        self._results: dict[int, _Result] = {}

    def restore(self, points: Sequence[PointTexts], marks: Sequence[Mark] = (), /) -> None:
        for at, texts in enumerate(points):
            self._take_in(texts, marks[at] if marks else UNMARKED)

    def tell(self, finished: Sequence[FinishedTrial]) -> None:
        for trial in finished:
            turn = self._open.pop(trial.index)
            newest = self._results.get(turn.member)
            if newest is None or newest.turn.index < turn.index:
                self._results[turn.member] = _Result(turn=turn, loss=self._loss(trial))

    def propose(self, request: ProposalRequest, rng: "Random") -> Proposal:
        ranked = sorted(self._results.values(), key=lambda it: (it.loss, it.turn.index))
        ranks = {result.turn.member: rank for rank, result in enumerate(ranked, start=1)}
        points, marks = [], []
        for index, member in enumerate(self._free(request.count), start=request.first):
            rng.seed(point_seed(self._seed, index))
            texts, mark = self._next(member, ranks, ranked, rng)
            points.append(texts)
            marks.append(mark)
        self.restore(points, marks)
        return Proposal(points=tuple(points), marks=tuple(marks))

    def _loss(self, trial: FinishedTrial) -> float:
        """An infinitely good value is of a training that went wrong, too."""
        loss = loss_of(trial, self._objective)
        return math.inf if loss is None or not math.isfinite(loss) else loss

    def _take_in(self, texts: PointTexts, mark: Mark) -> None:
        """Points of someone else, without marks, belong to the members in turn."""
        index, self._proposed = self._proposed, self._proposed + 1
        turn = _Turn(
            index=index,
            member=int(mark.label(MEMBER_LABEL) or index % self._members),
            generation=int(mark.label(GENERATION_LABEL) or index // self._members),
            texts=texts,
        )
        self._open[index] = self._last[turn.member] = turn

    def _free(self, count: int) -> list[int]:
        """So many members without a trial that runs; first those that have not begun."""
        unbegun = (member for member in range(self._members) if member not in self._last)
        first = list(islice(unbegun, count))
        idle = [turn for turn in self._last.values() if turn.index not in self._open]
        idle.sort(key=lambda turn: (turn.generation, turn.member))
        return [*first, *(turn.member for turn in idle[: count - len(first)])]

    def _next(
        self,
        member: int,
        ranks: Mapping[int, int],
        ranked: Sequence[_Result],
        rng: "Random",
    ) -> tuple[PointTexts, Mark]:
        own = self._results.get(member)
        if own is None:
            return self._drawn(rng), _mark(member, 0, BEGIN)
        rank = ranks[member]
        sources = self._sources(own, rank, ranked)
        if sources:
            at = rng.choice(range(1, len(sources) + 1))
            source = sources[at - 1].turn
            point = explored(self._space, self._space.parse(source.texts), self._resample, rng)
            why = (
                (RANK_LABEL, _of(rank, ranked) if own.is_good else FAILED_RANK),
                (PARENT_MEMBER_LABEL, str(source.member)),
                (PARENT_RANK_LABEL, _of(at, ranked)),
            )
            mark = _mark(member, source.generation + 1, EXPLOIT, *why, parent=source.index)
            return self._space.key(point), mark
        if not own.is_good:
            return self._drawn(rng), _mark(member, 0, BEGIN_ANEW)
        turn, place = own.turn, (RANK_LABEL, _of(rank, ranked))
        return turn.texts, _mark(member, turn.generation + 1, CONTINUE, place, parent=turn.index)

    def _sources(self, own: _Result, rank: int, ranked: Sequence[_Result]) -> Sequence[_Result]:
        """Whose checkpoint the member may copy, the first few of `ranked`; nobody's: it keeps its
        own. Of more than a half each, the best and the worst overlap: nobody copies who is not
        better."""
        cut = math.floor(self._threshold * len(ranked) + _ROUNDING)
        if own.is_good and rank <= len(ranked) - cut:
            return ()
        better = bisect_left(ranked, own.loss, hi=max(1, cut), key=lambda it: it.loss)
        return ranked[:better]

    def _drawn(self, rng: "Random") -> PointTexts:
        return self._space.key(draw(self._space, rng))


def _mark(
    member: int, generation: int, move: str, *more: tuple[str, str], parent: int | None = None
) -> Mark:
    labels = (
        (GENERATION_LABEL, str(generation)),
        (MEMBER_LABEL, str(member)),
        (MOVE_LABEL, move),
        *more,
    )
    return Mark(parent=parent, labels=labels)


def _of(rank: int, ranked: Sequence[_Result]) -> str:
    return f"{rank}-of-{len(ranked)}"
