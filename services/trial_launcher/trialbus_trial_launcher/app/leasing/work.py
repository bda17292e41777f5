"""What an experiment has for workers: its open attempts, as they are now."""

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from pydantic import TypeAdapter

from trialbus.contracts.collections import EXPERIMENTS
from trialbus.contracts.documents import Document
from trialbus.kernel.experiment import GONE_PHASES, ExperimentPhase, OpenState, OpenTrial
from trialbus.kernel.ids import answer_id, trial_index, trial_name
from trialbus.kernel.limits import MAX_KNOWN_EXPERIMENTS, TRACED_TRIALS, WORK_AGE_S
from trialbus.kernel.spec import ExperimentSpec, TrialsBy
from trialbus.ports.clock import Clock
from trialbus.ports.store import Query, Store
from trialbus_trial_launcher.core.leases import Place

_FIELDS = ("namespace", "name", "phase", "open", "traceparent")
_OPEN = TypeAdapter(dict[int, OpenTrial])
_SPEC = TypeAdapter(ExperimentSpec)
# In these it gives out trials, now or later.
_LIVING = frozenset({ExperimentPhase.CREATED, ExperimentPhase.RUNNING, ExperimentPhase.SUSPENDED})

# Namespace and name.
Named = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Work:
    """open: by trial index. One is looked at by many requests, so what follows from it is kept."""

    uid: str
    namespace: str
    name: str
    phase: ExperimentPhase
    spec: ExperimentSpec
    open: Mapping[int, OpenTrial]
    traceparent: str | None = None

    @property
    def over(self) -> bool:
        return self.phase not in _LIVING

    @property
    def for_workers(self) -> bool:
        return self.spec.trials_by is TrialsBy.WORKERS

    def place(self, index: int, attempt: int) -> Place:
        return Place(
            uid=self.uid,
            namespace=self.namespace,
            experiment=self.name,
            trial=trial_name(self.name, self.uid, index),
            index=index,
            attempt=attempt,
            traceparent=self.traceparent if index < TRACED_TRIALS else None,
        )

    @cached_property
    def attempts(self) -> Sequence[tuple[Place, str]]:
        """Those that are open, the oldest trial first, with why they must stop, "" if they need
        not."""
        return [
            (self.place(index, trial.attempt), trial.stop)
            for index, trial in sorted(self.open.items())
            if trial.state is OpenState.ACTIVE
        ]

    @cached_property
    def waiting(self) -> Mapping[str, Place]:
        """By run id, the oldest first: attempts that are to run; whether somebody has them is told
        by their runs."""
        return {place.run_id: place for place, stop in self.attempts if not stop}

    @cached_property
    def answer_ids(self) -> frozenset[str]:
        """Of the answers that hold its open trials' points."""
        return frozenset(answer_id(self.uid, trial.request) for trial in self.open.values())

    def run_of(self, trial: str, attempt: int) -> str | None:
        """The run id of a trial by its name; None: it is none of this experiment's."""
        index = trial_index(self.name, self.uid, trial)
        return None if index is None else self.place(index, attempt).run_id


class Works:
    """Specs never change in what matters to workers, so they are kept."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        # As they were seen last, and when.
        self._seen: OrderedDict[Named, tuple[float, Work]] = OrderedDict()
        self._specs: OrderedDict[str, ExperimentSpec] = OrderedDict()

    def knows(self, uid: str) -> bool:
        """Whether it is known to be for workers."""
        spec = self._specs.get(uid)
        return spec is not None and spec.trials_by is TrialsBy.WORKERS

    def forget(self, uid: str) -> None:
        self._specs.pop(uid, None)

    async def find(self, names: Collection[Named]) -> dict[Named, Work]:
        """Of the living experiments with these names, as they are or were a moment ago; what is not
        there is absent."""
        oldest = self._clock.monotonic() - WORK_AGE_S
        known = {name: self._seen[name] for name in names if name in self._seen}
        fresh = {name: work for name, (at, work) in known.items() if at >= oldest}
        alive = [f"{named[0]}/{named[1]}" for named in names if named not in fresh]
        if not alive:
            return fresh
        found = await self._store.find(
            EXPERIMENTS.name, Query(among={"alive_name": alive}, fields=_FIELDS)
        )
        return fresh | {(work.namespace, work.name): work for work in await self._works(found)}

    async def of(self, uids: Collection[str]) -> dict[str, Work]:
        documents = await self._store.get_many(EXPERIMENTS.name, uids, fields=_FIELDS)
        return {work.uid: work for work in await self._works(documents.values())}

    async def _works(self, documents: Collection[Document]) -> list[Work]:
        unknown = [it["_id"] for it in documents if it["_id"] not in self._specs]
        if unknown:
            specs = await self._store.get_many(EXPERIMENTS.name, unknown, fields=("spec",))
            for uid, document in specs.items():
                self._specs[uid] = _SPEC.validate_python(document["spec"])
        works = [
            Work(
                uid=it["_id"],
                namespace=it["namespace"],
                name=it["name"],
                phase=ExperimentPhase(it["phase"]),
                spec=self._specs[it["_id"]],
                open=_OPEN.validate_python(it["open"]),
                traceparent=it.get("traceparent"),
            )
            for it in documents
            if it["_id"] in self._specs
        ]
        # Only now: the oldest may be among those that are wanted.
        while len(self._specs) > MAX_KNOWN_EXPERIMENTS:
            self._specs.popitem(last=False)
        self._note(works)
        return works

    def _note(self, works: Collection[Work]) -> None:
        now = self._clock.monotonic()
        for work in works:
            if work.phase in GONE_PHASES:
                self._seen.pop((work.namespace, work.name), None)
            else:
                self._seen[work.namespace, work.name] = (now, work)
        while len(self._seen) > MAX_KNOWN_EXPERIMENTS:
            self._seen.popitem(last=False)
