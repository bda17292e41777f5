"""What a look at experiments reads: their open trials, how those run, and what ended lately."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

from trialbus.contracts.collections import RUNS, TRIALS
from trialbus.contracts.documents import RUN, TRIAL
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.ids import run_id, trial_id
from trialbus.kernel.run import Run, RunPhase
from trialbus.kernel.trial import Trial
from trialbus.ports.store import Query, Store
from trialbus_gateway.app.readable import readable, readable_by_key

_PAGE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """at_hand, runs: by trial id, of trials that are open or closing. ended: by uid, since the
    watermark."""

    at_hand: Mapping[str, Trial]
    runs: Mapping[str, Run]
    ended: Mapping[str, Sequence[Trial]]

    def trials(self, state: Experiment) -> list[Trial]:
        """The open and closing ones that have documents, and those that ended."""
        ids = (trial_id(state.id, int(key)) for key in _attempts(state))
        found = [self.at_hand[key] for key in ids if key in self.at_hand]
        return [*self.ended.get(state.id, ()), *found]

    def running(self, state: Experiment) -> frozenset[int]:
        """Indices of the open trials that run."""
        runs = ((int(key), self.runs.get(trial_id(state.id, int(key)))) for key in state.open)
        return frozenset(
            index for index, run in runs if run is not None and run.phase is RunPhase.RUNNING
        )


async def read_facts(
    store: Store, states: Sequence[Experiment], watermarks: Mapping[str, int]
) -> Facts:
    """watermarks: by uid, the finish number up to which nothing is news."""
    keys = {
        trial_id(state.id, int(key)): run_id(state.id, int(key), attempt)
        for state in states
        for key, attempt in _attempts(state).items()
    }
    known = readable_by_key(RUN, await store.get_many(RUNS.name, list(keys.values())))
    trials = await store.get_many(TRIALS.name, list(keys))
    # After the open ones: a trial that ends in between is found here.
    ended = {
        state.id: await _ended(store, state.id, watermarks[state.id])
        for state in states
        if state.finished > watermarks[state.id]
    }
    return Facts(
        at_hand=readable_by_key(TRIAL, trials),
        runs={key: known[run] for key, run in keys.items() if run in known},
        ended=ended,
    )


async def _ended(store: Store, uid: str, watermark: int) -> list[Trial]:
    trials: list[Trial] = []
    while True:
        query = Query(
            equals={"uid": uid}, above={"finished": watermark}, order="finished", limit=_PAGE
        )
        found = await store.find(TRIALS.name, query)
        trials += readable(TRIAL, found)
        if len(found) < _PAGE:
            return trials
        watermark = found[-1]["finished"]


async def trials_with_runs(
    store: Store, state: Experiment
) -> AsyncIterator[tuple[Trial, Run | None]]:
    """All trials that have documents, in the order of opening; of open ones the newest runs."""
    after, attempts = -1, _attempts(state)
    while True:
        query = Query(equals={"uid": state.id}, above={"index": after}, order="index", limit=_PAGE)
        documents = await store.find(TRIALS.name, query)
        trials = readable(TRIAL, documents)
        ids = {
            trial.id: run_id(trial.uid, trial.index, attempts.get(str(trial.index), trial.attempt))
            for trial in trials
            if not trial.ended
        }
        found = readable_by_key(RUN, await store.get_many(RUNS.name, list(ids.values())))
        for trial in trials:
            yield trial, found.get(ids.get(trial.id, ""))
        if len(documents) < _PAGE:
            return
        after = documents[-1]["index"]
        # Who watches may take these before more come.
        await asyncio.sleep(0)


def _attempts(state: Experiment) -> dict[str, int]:
    """The newest ones of trials that are open or closing, by index."""
    attempts = {key: it.attempt for key, it in state.closing.items()}
    return attempts | {key: it.attempt for key, it in state.open.items()}


def watermark_of(state: Experiment) -> int:
    """Up to here the documents of ended trials are written."""
    return min((it.finished for it in state.closing.values()), default=state.finished + 1) - 1
