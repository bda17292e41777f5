"""Trials together with the runs of their newest attempts, as pods and jobs show them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trialbus.contracts.collections import RUNS
from trialbus.contracts.documents import RUN
from trialbus.contracts.katib.views import trial_view
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.ids import run_id
from trialbus.kernel.run import Run
from trialbus.kernel.spec import CollectorKind
from trialbus.kernel.trial import Trial
from trialbus.ports.store import Store
from trialbus_gateway.app.documents import Documents
from trialbus_gateway.app.failures import NotThere
from trialbus_gateway.app.readable import readable_by_key
from trialbus_gateway.core.trial_story import TrialFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """view: the Trial as it is shown. number: of its newest attempt; run: of that one, None until
    a launcher has taken it. collector: of its experiment; beside: the container of a custom one."""

    trial: Trial
    view: dict[str, Any]
    number: int
    run: Run | None
    collector: CollectorKind
    beside: Mapping[str, Any] | None = None


class Attempts:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._documents = Documents(store)

    async def named(self, namespace: str, name: str) -> Attempt:
        """Raises NotThere, Unreadable."""
        trial = await self._documents.trial(name)
        found = await self.of([trial]) if trial.namespace == namespace else []
        if not found:
            raise NotThere(f"there is no trial {namespace}/{name}")
        return found[0]

    async def of(self, trials: Sequence[Trial]) -> list[Attempt]:
        """Of those whose experiments still live, in two grouped reads."""
        states = await self._documents.experiments([trial.uid for trial in trials])
        living = [trial for trial in trials if trial.uid in states]
        numbers = {trial.id: _newest(trial, states[trial.uid]) for trial in living}
        keys = {trial.id: run_id(trial.uid, trial.index, numbers[trial.id]) for trial in living}
        found = await self._store.get_many(RUNS.name, list(keys.values()))
        runs = readable_by_key(RUN, found)
        return [
            _attempt(trial, states[trial.uid], numbers[trial.id], runs.get(keys[trial.id]))
            for trial in living
        ]


def _newest(trial: Trial, state: Experiment) -> int:
    return TrialFacts(trial=trial, experiment=state).attempt


def _attempt(trial: Trial, state: Experiment, number: int, run: Run | None) -> Attempt:
    return Attempt(
        trial=trial,
        view=trial_view(trial, state, run),
        number=number,
        run=run,
        collector=state.spec.metrics_collector.kind,
        beside=state.spec.metrics_collector.container,
    )
