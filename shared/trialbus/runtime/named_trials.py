"""Trials by name, for those who know nothing else of them: Katib's gRPC API has no namespaces."""

from dataclasses import dataclass
from typing import Any

from trialbus.contracts.collections import EXPERIMENTS, TRIALS
from trialbus.contracts.documents import Document
from trialbus.kernel.errors import NotThere
from trialbus.kernel.experiment import ExperimentPhase
from trialbus.kernel.ids import RunKey, trial_index
from trialbus.kernel.trial import TrialPhase
from trialbus.ports.store import Query, Store

_TRIAL_FIELDS = ("uid", "index", "attempt", "phase", "created_at")
_EXPERIMENT_FIELDS = ("phase", "namespace", "name", "open", "closing")


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedTrial:
    """A trial of an experiment that is not deleted. attempt: its newest. phase: CREATED until it is
    counted. written: that it has ended stands in its own document too."""

    name: str
    namespace: str
    experiment: str
    uid: str
    index: int
    attempt: int
    phase: TrialPhase
    written: bool

    @property
    def run(self) -> RunKey:
        return RunKey(self.uid, self.index, self.attempt)

    @property
    def ended(self) -> bool:
        return self.phase is not TrialPhase.CREATED


class NamedTrials:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def find(self, name: str) -> NamedTrial:
        """The newest living trial of this name. Raises NotThere, Transient."""
        for document in await self._of_this_name(name):
            found = await self._store.get_many(
                EXPERIMENTS.name, [document["uid"]], fields=_EXPERIMENT_FIELDS
            )
            experiment = found.get(document["uid"])
            if experiment is None or experiment["phase"] == ExperimentPhase.DELETED.value:
                continue
            return _named(name, document, experiment)
        young = await self._young(name)
        if young is None:
            raise NotThere(f"there is no trial {name!r}")
        return young

    async def _young(self, name: str) -> NamedTrial | None:
        """One that a worker was given a moment ago: its document follows."""
        query = Query(equals={"name": name.rpartition("-")[0]}, fields=_EXPERIMENT_FIELDS)
        for experiment in await self._store.find(EXPERIMENTS.name, query):
            uid = experiment["_id"]
            index = trial_index(experiment["name"], uid, name)
            key = str(index)
            held = experiment["open"].get(key) or experiment["closing"].get(key)
            if held is None or experiment["phase"] == ExperimentPhase.DELETED.value:
                continue
            phase = TrialPhase.CREATED.value
            trial = {"uid": uid, "index": index, "attempt": held["attempt"], "phase": phase}
            return _named(name, trial, experiment)
        return None

    async def _of_this_name(self, name: str) -> list[Document]:
        """Nearly always one: names are made from ids. The living and the newest come first."""
        found = await self._store.find(
            TRIALS.name, Query(equals={"name": name}, fields=_TRIAL_FIELDS)
        )
        return sorted(found, key=lambda it: (_is_written(it), -it["created_at"]))


def _named(name: str, trial: Document, experiment: Document) -> NamedTrial:
    key = str(trial["index"])
    is_open: dict[str, Any] | None = experiment["open"].get(key)
    closing: dict[str, Any] | None = experiment["closing"].get(key)
    phase = TrialPhase.CREATED.value if is_open else (closing or trial)["phase"]
    return NamedTrial(
        name=name,
        namespace=experiment["namespace"],
        experiment=experiment["name"],
        uid=trial["uid"],
        index=trial["index"],
        attempt=(is_open or closing or trial)["attempt"],
        phase=TrialPhase(phase),
        written=_is_written(trial),
    )


def _is_written(trial: Document) -> bool:
    return bool(trial["phase"] != TrialPhase.CREATED.value)
