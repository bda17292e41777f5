"""The past of an experiment, as an algorithm is told it.

Trials of others that the experiment began with come before its own: they have the first indices
and finish numbers, and all have ended. So an algorithm needs to know nothing of them, and the
past is a function of documents that never change.
"""

from dataclasses import replace

from trialbus.contracts.collections import ANSWERS, TRIALS, WARM_TRIALS
from trialbus.contracts.documents import ANSWER, TRIAL, WARM
from trialbus.kernel.errors import Transient
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.ids import answer_id
from trialbus.kernel.proposals import FinishedTrial, History, PointTexts, ProposalRequest
from trialbus.kernel.suggestion import UNMARKED, Mark, PointsRequest
from trialbus.kernel.trial import TrialPhase
from trialbus.kernel.warm_start import WarmTrial
from trialbus.ports.store import Query, Store


def behind_warm(state: Experiment, asked: ProposalRequest) -> ProposalRequest:
    """The request as the algorithm counts."""
    warm = state.warm_trials
    return replace(asked, first=asked.first + warm, watermark=asked.watermark + warm)


def _as_finished(index: int, trial: WarmTrial) -> FinishedTrial:
    return FinishedTrial(
        number=index + 1,
        index=index,
        point=trial.point,
        phase=TrialPhase.SUCCEEDED,
        value=trial.value,
    )


class PastOf:
    """Reads what a request may see: trials that the experiment began with, earlier points, and
    results up to its watermark."""

    def __init__(self, store: Store, state: Experiment, request: PointsRequest) -> None:
        self._store = store
        self._warm = state.warm_trials
        self._state = state
        self._request = request

    async def __call__(self, *, first: int, after: int | None) -> History:
        """first, after: as the algorithm counts, those that the experiment began with before its
        own."""
        warm: tuple[WarmTrial, ...] = ()
        if first < self._warm or (after is not None and after < self._warm):
            warm = await self._began_with()
        points = [(it.point, UNMARKED) for it in warm[first:]]
        points += await self._points(max(0, first - self._warm))
        finished: list[FinishedTrial] = []
        if after is not None:
            finished += [_as_finished(i, warm[i]) for i in range(after, len(warm))]
            finished += await self._finished(max(0, after - self._warm))
        marks = tuple(mark for _, mark in points)
        return History(
            first=first,
            points=tuple(texts for texts, _ in points),
            marks=marks if any(mark != UNMARKED for mark in marks) else (),
            finished=tuple(finished),
        )

    async def _began_with(self) -> tuple[WarmTrial, ...]:
        found = await self._store.get_many(WARM_TRIALS.name, [self._state.id])
        if self._state.id not in found:
            raise Transient("what the experiment began with is not readable yet")
        return WARM.decode(found[self._state.id]).trials

    async def _points(self, first: int) -> list[tuple[PointTexts, Mark]]:
        """Points `first` up to the request's own first, out of the earlier answers."""
        if first >= self._request.first:
            return []
        found: dict[int, tuple[PointTexts, Mark]] = {}
        for number in range(self._request.number - 1, 0, -1):
            key = answer_id(self._state.id, number)
            documents = await self._store.get_many(ANSWERS.name, [key])
            if key not in documents:
                continue  # a request that a finished experiment dropped unanswered
            answer = ANSWER.decode(documents[key])
            # Points ahead that a restart dropped were drawn anew: the later answer counts.
            for index, point in enumerate(answer.points, start=answer.first):
                found.setdefault(index, (point, answer.mark(index)))
            if answer.first <= first:
                break
        missing = [index for index in range(first, self._request.first) if index not in found]
        if missing:
            raise Transient(f"the answer with point {missing[0]} is not readable yet")
        return [found[index] for index in range(first, self._request.first)]

    async def _finished(self, after: int) -> tuple[FinishedTrial, ...]:
        """Finish numbers (after, watermark], without a gap."""
        watermark = self._request.watermark
        if after >= watermark:
            return ()
        documents = await self._store.find(
            TRIALS.name,
            Query(
                equals={"uid": self._state.id},
                above={"finished": after},
                at_most={"finished": watermark},
                order="finished",
            ),
        )
        if len(documents) != watermark - after:
            raise Transient("finished trials are not all written yet")
        trials = [TRIAL.decode(document) for document in documents]
        return tuple(
            FinishedTrial(
                number=self._warm + after + position,
                index=self._warm + trial.index,
                point=tuple(item.value for item in trial.assignments),
                phase=trial.phase,
                value=trial.value,
            )
            for position, trial in enumerate(trials, start=1)
        )
