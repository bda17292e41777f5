"""Katib's objects, from documents."""

from collections.abc import Sequence
from typing import Any

from trialbus.contracts.documents import TRIAL
from trialbus.contracts.katib.times import rfc3339_or_none
from trialbus.contracts.katib.views import experiment_view, suggestion_view, trial_view
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.limits import MAX_STATUS_NAMES
from trialbus.kernel.trial import Trial, TrialPhase
from trialbus.ports.store import Store
from trialbus_gateway.app.documents import Documents
from trialbus_gateway.app.failures import NotThere
from trialbus_gateway.app.readable import readable

Object = dict[str, Any]

# Of a document that cannot be read, the name is left out too.
_PHASES = {phase.value: phase for phase in TrialPhase}


class Objects:
    """Each method costs a fixed number of grouped reads, however many trials there are."""

    def __init__(self, store: Store) -> None:
        self._documents = Documents(store)

    async def experiment(self, state: Experiment) -> Object:
        """With the names of its trials, as far as Katib's status lists go."""
        running = await self._documents.running([state])
        names = await self.names_by_phase(state.id)
        return experiment_view(state, running=running[state.id], trials_by_phase=names)

    async def names_by_phase(self, uid: str) -> dict[TrialPhase, list[str]]:
        """Of an experiment's newest trials, oldest first."""
        found = await self._documents.newest_trials(uid, MAX_STATUS_NAMES, fields=("name", "phase"))
        names: dict[TrialPhase, list[str]] = {}
        for document in found:
            phase = _PHASES.get(document["phase"])
            if phase is not None:
                names.setdefault(phase, []).append(str(document["name"]))
        return names

    async def experiments(self, states: Sequence[Experiment]) -> list[Object]:
        """Without the names of ended trials."""
        running = await self._documents.running(states)
        return [experiment_view(state, running=running[state.id]) for state in states]

    def archived(self, states: Sequence[Experiment]) -> list[Object]:
        """As `experiments`, with the times of their deletions."""
        shown = [experiment_view(state) for state in states]
        for view, state in zip(shown, states, strict=True):
            view["metadata"]["deletionTimestamp"] = rfc3339_or_none(state.completed_at)
        return shown

    async def suggestion(self, state: Experiment) -> Object:
        settings = await self._documents.settings_given_back(state)
        return suggestion_view(state, await self.newest_trials(state.id), settings)

    async def newest_trials(self, uid: str) -> list[Trial]:
        """As many as Katib's lists hold, oldest first."""
        found = await self._documents.newest_trials(uid, MAX_STATUS_NAMES)
        return readable(TRIAL, found)

    def suggestions(self, states: Sequence[Experiment]) -> list[Object]:
        """Without the assignments."""
        return [suggestion_view(state) for state in states]

    async def trial(self, trial: Trial, *, history: bool = False) -> Object:
        """Raises NotThere when its experiment has been deleted."""
        views = await self.trials([trial], history=history)
        if not views:
            raise NotThere(f"there is no trial {trial.name}")
        return views[0]

    async def trials(self, trials: Sequence[Trial], *, history: bool = False) -> list[Object]:
        """Those whose experiments still live; history: or are archived."""
        states = await self._documents.experiments([it.uid for it in trials], history=history)
        runs = await self._documents.newest_runs(states, trials)
        return [
            trial_view(trial, states[trial.uid], runs.get(trial.id))
            for trial in trials
            if trial.uid in states
        ]
