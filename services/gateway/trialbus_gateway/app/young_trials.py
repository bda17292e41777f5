"""Trials that workers have been given, but whose documents follow a moment later."""

from trialbus.contracts.collections import ANSWERS, EXPERIMENTS
from trialbus.contracts.documents import ANSWER, EXPERIMENT
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.ids import answer_id, trial_index
from trialbus.kernel.opened_trials import opened
from trialbus.kernel.trial import Trial
from trialbus.ports.store import Query, Store
from trialbus_gateway.app.documents import Documents
from trialbus_gateway.app.failures import NotThere
from trialbus_gateway.app.readable import readable


class YoungTrials:
    def __init__(self, store: Store, documents: Documents) -> None:
        self._store = store
        self._documents = documents

    async def trial(self, name: str) -> Trial:
        """Also of one without a document, as its experiment says. Raises NotThere, Unreadable."""
        try:
            return await self._documents.trial(name)
        except NotThere:
            young = await self._young(name)
        # It may have got its document meanwhile.
        return young or await self._documents.trial(name)

    async def _young(self, name: str) -> Trial | None:
        experiment = name.rpartition("-")[0]
        if not experiment:
            return None
        found = await self._store.find(EXPERIMENTS.name, Query(equals={"name": experiment}))
        for state in readable(EXPERIMENT, found):
            index = trial_index(state.name, state.id, name)
            if index is not None:
                return await self._opened(state, index)
        return None

    async def _opened(self, state: Experiment, index: int) -> Trial | None:
        open_ = state.open.get(str(index)) or state.closing.get(str(index))
        if open_ is None:
            return None
        key = answer_id(state.id, open_.request)
        answers = await self._store.get_many(ANSWERS.name, [key])
        return opened(state, index, open_, ANSWER.decode(answers[key])) if key in answers else None
