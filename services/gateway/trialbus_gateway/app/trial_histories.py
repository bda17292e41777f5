"""What the ended trials of experiments came to, read once and then only continued.

An answer over all trials of an experiment is made of this, so a question reads what has ended since
the last one: by the index of (uid, finished), as algorithms and stopping rules catch up.
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field

from trialbus.contracts.collections import TRIALS
from trialbus.contracts.documents import Document
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.trial import TrialPhase
from trialbus.ports.store import Query, Store
from trialbus_gateway.core.trial_histories import EndedTrial, TrialHistory

_FIELDS = ("index", "finished", "phase", "value", "created_at", "started_at", "completed_at")
# At a time: some milliseconds of work between two other calls.
_TRIALS_PER_READ = 2_000
# Over all experiments that are remembered: about 30 MB.
MAX_REMEMBERED_TRIALS = 500_000
# What an experiment takes before its first trial, in trials: about 900 of 50 bytes.
TRIALS_PER_EXPERIMENT = 20
# For one question: about a second.
MAX_TRIALS_READ = 50_000


@dataclass(slots=True)
class ReadBudget:
    """Trials that may still be read for one question."""

    left: int = MAX_TRIALS_READ


@dataclass(slots=True)
class _Known:
    """counted: what it is in the sum over all, in trials."""

    history: TrialHistory
    counted: int = 0
    catching_up: asyncio.Lock = field(default_factory=asyncio.Lock)


class TrialHistories:
    """Of the experiments that were asked for last. most: trials remembered over all of them, where
    each experiment counts as some."""

    def __init__(self, store: Store, most: int = MAX_REMEMBERED_TRIALS) -> None:
        self._store = store
        self._most = most
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._held = 0

    async def of(self, state: Experiment, budget: ReadBudget) -> TrialHistory:
        """Up to its newest finish number, or as far as the budget goes; the next question goes on
        from there. A copy, which a thread may read while the next question continues what is known.
        The caller has been shown `state`, so it may see this."""
        known = self._known.setdefault(
            state.id, _Known(TrialHistory(objective=state.spec.objective))
        )
        self._known.move_to_end(state.id)
        try:
            async with known.catching_up:
                while known.history.finished < state.finished and budget.left > 0:
                    if not await self._read_on(state, known.history, budget):
                        break
        finally:
            self._count(state.id, known)
            self._forget()
        return known.history.copy()

    async def _read_on(self, state: Experiment, history: TrialHistory, budget: ReadBudget) -> bool:
        """Whether there was anything: the last to end may not be written yet."""
        before = history.finished
        query = Query(
            equals={"uid": state.id},
            above={"finished": before},
            order="finished",
            limit=min(_TRIALS_PER_READ, budget.left),
            fields=_FIELDS,
        )
        found = await self._store.find(TRIALS.name, query)
        budget.left -= len(found)
        history.extend(map(_ended, found))
        return history.finished > before

    def _count(self, uid: str, known: _Known) -> None:
        if self._known.get(uid) is not known:
            # Forgotten while it was read on.
            return
        now = known.history.finished + TRIALS_PER_EXPERIMENT
        self._held += now - known.counted
        known.counted = now

    def _forget(self) -> None:
        """Those that nobody has asked for for the longest time."""
        while self._held > self._most and len(self._known) > 1:
            _, known = self._known.popitem(last=False)
            self._held -= known.counted


def _ended(document: Document) -> EndedTrial:
    created_at, completed_at = float(document["created_at"]), document.get("completed_at")
    return EndedTrial(
        index=int(document["index"]),
        finished=int(document["finished"]),
        phase=TrialPhase(document["phase"]),
        value=document.get("value"),
        opened_at=created_at,
        started_at=document.get("started_at"),
        ended_at=created_at if completed_at is None else float(completed_at),
    )
