"""Read-only looks at what other services own, for one group of experiments."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from trialbus.contracts.collections import ANSWERS, CHUNKS, RUNS
from trialbus.contracts.documents import ANSWER, CHUNK, RUN
from trialbus.kernel.experiment import Experiment, OpenState
from trialbus.kernel.ids import answer_id, run_id
from trialbus.kernel.run import Run
from trialbus.kernel.suggestion import Answer
from trialbus.ports.store import Query, Store
from trialbus_experiment.core.observed import Observed, SeenObservation

T = TypeVar("T")


class Views:
    """Answers never change, so they are kept while their experiment is in hand."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._answers: dict[str, Answer] = {}

    async def observe(
        self, states: Sequence[Experiment], settled: Mapping[str, frozenset[int]]
    ) -> dict[str, Observed]:
        """What each experiment's decision needs, in four grouped reads."""
        runs = await self._runs(states)
        observations = await self._observations(
            [run for run in runs.values() if run.ended],
            {state.id: frozenset(state.spec.objective.metric_names) for state in states},
        )
        answers = await self._load_answers(states)
        return {
            state.id: Observed(
                runs=_of(state, runs),
                observations=_of(state, observations),
                answers={
                    number: answers[answer_id(state.id, number)]
                    for number in _requests(state)
                    if answer_id(state.id, number) in answers
                },
                settled=settled.get(state.id, frozenset()),
            )
            for state in states
        }

    def forget(self, uid: str) -> None:
        """The experiment is over: its answers are not needed any more."""
        for key in [key for key, answer in self._answers.items() if answer.uid == uid]:
            del self._answers[key]

    async def _runs(self, states: Sequence[Experiment]) -> dict[str, Run]:
        ids = [run for state in states for run in _run_ids(state).values()]
        if not ids:
            return {}
        documents = await self._store.get_many(RUNS.name, ids)
        return {key: RUN.decode(document) for key, document in documents.items()}

    async def _observations(
        self, ended: Sequence[Run], names: Mapping[str, frozenset[str]]
    ) -> dict[str, SeenObservation]:
        """Of the metrics that an experiment names; a trial may have pushed many others."""
        if not ended:
            return {}
        found = await self._store.find(
            CHUNKS.name, Query(among={"final_run": [run.id for run in ended]})
        )
        chunks = [CHUNK.decode(document) for document in found]
        return {
            chunk.run: SeenObservation(
                metrics=tuple(it for it in chunk.metric_values if it.name in names[chunk.uid])
            )
            for chunk in chunks
        }

    async def _load_answers(self, states: Sequence[Experiment]) -> Mapping[str, Answer]:
        wanted = [answer_id(state.id, number) for state in states for number in _requests(state)]
        missing = [key for key in wanted if key not in self._answers]
        if missing:
            documents = await self._store.get_many(ANSWERS.name, missing)
            for key, document in documents.items():
                self._answers[key] = ANSWER.decode(document)
        self._drop_unused(states, frozenset(wanted))
        return self._answers

    def _drop_unused(self, states: Sequence[Experiment], wanted: frozenset[str]) -> None:
        in_hand = {state.id for state in states}
        for key, answer in list(self._answers.items()):
            if answer.uid in in_hand and key not in wanted:
                del self._answers[key]


def _run_ids(state: Experiment) -> dict[int, str]:
    """The runs whose ends matter: of open trials with a living attempt, and of closing ones."""
    attempts = {
        int(index): trial.attempt
        for index, trial in state.open.items()
        if trial.state is OpenState.ACTIVE
    }
    attempts.update({int(index): trial.attempt for index, trial in state.closing.items()})
    return {index: run_id(state.id, index, attempt) for index, attempt in attempts.items()}


def _requests(state: Experiment) -> list[int]:
    """Answers that are waited for, or that hold points of trials in hand."""
    numbers = {request.number for request in state.requests}
    numbers.update(trial.request for trial in state.open.values())
    numbers.update(trial.request for trial in state.closing.values())
    return sorted(numbers)


def _of(state: Experiment, by_run: Mapping[str, T]) -> dict[int, T]:
    return {index: by_run[run] for index, run in _run_ids(state).items() if run in by_run}
