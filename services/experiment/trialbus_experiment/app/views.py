"""Read-only looks at what other services own, for one group of experiments."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from trialbus.contracts.collections import ANSWERS, CHUNKS, RUNS
from trialbus.contracts.documents import ANSWER, CHUNK, RUN
from trialbus.kernel.experiment import Experiment, OpenState
from trialbus.kernel.ids import answer_id, run_id
from trialbus.kernel.limits import LAUNCH_DEADLINE_S
from trialbus.kernel.run import ENDED_PHASES, Run
from trialbus.kernel.spec import TrialsBy
from trialbus.kernel.suggestion import Answer
from trialbus.kernel.trial import MetricValues
from trialbus.ports.store import Query, Store
from trialbus_experiment.core.observed import Observed, SeenObservation

T = TypeVar("T")
# Earlier than a stall is told: who decides does so a little later than the look began.
_YOUNG_S = LAUNCH_DEADLINE_S - 10.0


class Views:
    """Answers never change, so they are kept while their experiment is in hand."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._answers: dict[str, Answer] = {}

    async def observe(
        self, states: Sequence[Experiment], settled: Mapping[str, frozenset[int]], now: float
    ) -> dict[str, Observed]:
        """What each experiment's decision needs, in four grouped reads."""
        runs = await self._runs(states, now)
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

    async def _runs(self, states: Sequence[Experiment], now: float) -> dict[str, Run]:
        """Of trials that workers have lately asked for only those that have ended: there may be
        hundreds, and while they live nothing follows from them."""
        whole: list[str] = []
        ended: list[str] = []
        for state in states:
            for index, run in _run_ids(state).items():
                trial = state.open.get(str(index))
                asked = state.spec.trials_by is TrialsBy.WORKERS
                # What runs is paid for while it does.
                asked = asked and state.spec.max_resource_seconds is None
                # A closing one has ended.
                young = trial is None or now - trial.opened_at < _YOUNG_S
                (ended if asked and young else whole).append(run)
        documents = await self._store.get_many(RUNS.name, whole) if whole else {}
        found = list(documents.values())
        if ended:
            over = [phase.value for phase in ENDED_PHASES]
            query = Query(among={"_id": ended, "phase": over})
            found += await self._store.find(RUNS.name, query)
        return {run.id: run for run in map(RUN.decode, found)}

    async def _observations(
        self, ended: Sequence[Run], names: Mapping[str, frozenset[str]]
    ) -> dict[str, SeenObservation]:
        """Of the metrics that an experiment names; a trial may have pushed many others."""
        told = {run.id: _seen(run.told, names[run.uid]) for run in ended if run.told is not None}
        others = [run.id for run in ended if run.told is None]
        if not others:
            return told
        found = await self._store.find(CHUNKS.name, Query(among={"final_run": others}))
        chunks = [CHUNK.decode(document) for document in found]
        return told | {chunk.run: _seen(chunk.metric_values, names[chunk.uid]) for chunk in chunks}

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


def _seen(metrics: Iterable[MetricValues], names: frozenset[str]) -> SeenObservation:
    return SeenObservation(metrics=tuple(it for it in metrics if it.name in names))


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
