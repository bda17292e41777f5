"""Which experiments and trials a selector means, found by indexes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from trialbus.contracts.collections import EXPERIMENTS
from trialbus.contracts.documents import EXPERIMENT, Document
from trialbus.kernel.experiment import FINISHED_PHASES, GONE_PHASES, Experiment, ExperimentPhase
from trialbus.kernel.ids import is_name, trial_index, trial_name
from trialbus.ports.store import Query, Store
from trialbus_gateway.app.failures import TooMuch
from trialbus_gateway.app.readable import readable
from trialbus_gateway.core.selectors import Selector

# For one answer: each costs a read of its document, and of its history where that is not known.
MAX_EXPERIMENTS = 200
# Made and compared for one question: some tenths of a second of a thread.
MAX_TRIAL_NAMES = 100_000
# Combinations of named namespaces and experiments.
_MAX_NAMES = 1_000
_ALIVE = {"alive_name": ""}
_OVER = tuple(sorted(phase.value for phase in FINISHED_PHASES))
_LIVING = tuple(
    sorted(phase.value for phase in ExperimentPhase if phase not in FINISHED_PHASES | GONE_PHASES)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Inclusive, seconds since the epoch."""

    start: float
    end: float


@dataclass(slots=True)
class Warnings:
    """What an answer has to be read with."""

    texts: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        if text not in self.texts:
            self.texts.append(text)


@dataclass(slots=True)
class NamesBudget:
    """Names of trials that may still be compared with a selector for one question."""

    left: int = MAX_TRIAL_NAMES

    def spend(self) -> None:
        """Raises TooMuch."""
        if self.left <= 0:
            raise TooMuch(
                f"more than {MAX_TRIAL_NAMES} names of trials would be compared with "
                "trial=~ or trial!=: add the name of the series and the matcher "
                'experiment="...", or name trials one by one with trial="..."'
            )
        self.left -= 1


class SeriesExperiments:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def of(self, selector: Selector, span: Span) -> list[Experiment]:
        """Those that are named, whenever they lived; where none is, those that lived in the span.
        In the order of their names. Raises TooMuch."""
        found = await self._documents(selector, span)
        if len(found) > MAX_EXPERIMENTS:
            raise TooMuch(
                f"more than {MAX_EXPERIMENTS} experiments are meant: add the matcher "
                f"{_missing(selector)}, or ask for a shorter time"
            )
        return _fitting(selector, found)

    async def newest(self, selector: Selector, span: Span, warnings: Warnings) -> list[Experiment]:
        """For lists of names: where there are too many, the newest of them."""
        found = await self._documents(selector, span)
        if len(found) > MAX_EXPERIMENTS:
            found = sorted(found, key=_created_at)[-MAX_EXPERIMENTS:]
            warnings.add(f"only {MAX_EXPERIMENTS} experiments are listed")
        return _fitting(selector, found)

    async def _documents(self, selector: Selector, span: Span) -> list[Document]:
        namespaces, names = selector.named("namespace"), selector.named("experiment")
        if names is not None:
            return await self._named(namespaces, sorted(filter(is_name, names)))
        within = {} if namespaces is None else {"namespace": sorted(filter(is_name, namespaces))}
        living = Query(among={**within, "phase": _LIVING}, above=_ALIVE, limit=MAX_EXPERIMENTS + 1)
        # Along the index of (phase, completed_at).
        over = Query(
            among={**within, "phase": _OVER},
            at_least={"completed_at": span.start},
            above=_ALIVE,
            order="-completed_at",
            limit=MAX_EXPERIMENTS + 1,
        )
        found = [
            document
            for query in (living, over)
            for document in await self._store.find(EXPERIMENTS.name, query)
        ]
        # One may have ended between the two reads.
        distinct = {str(it["_id"]): it for it in found}
        return [it for it in distinct.values() if _created_at(it) <= span.end]

    async def _named(
        self, namespaces: frozenset[str] | None, names: Sequence[str]
    ) -> list[Document]:
        among: dict[str, Any] = {"name": names}
        if namespaces is not None:
            known = sorted(filter(is_name, namespaces))
            if len(known) * len(names) > _MAX_NAMES:
                raise TooMuch(f"more than {_MAX_NAMES} experiments are named")
            among = {"alive_name": [f"{it}/{name}" for it in known for name in names]}
        query = Query(among=among, above=_ALIVE, limit=MAX_EXPERIMENTS + 1)
        return await self._store.find(EXPERIMENTS.name, query)


def named_trials(selector: Selector, state: Experiment) -> list[int] | None:
    """Indices of the trials that are named; None: none are."""
    names = selector.named("trial")
    if names is None:
        return None
    indices = (trial_index(state.name, state.id, name) for name in names)
    return sorted(index for index in indices if index is not None and index < state.next_index)


def fits_trial(selector: Selector, state: Experiment, index: int, budget: NamesBudget) -> bool:
    """Raises TooMuch."""
    matchers = selector.of("trial")
    if not matchers:
        return True
    budget.spend()
    name = trial_name(state.name, state.id, index)
    return all(it.fits(name) for it in matchers)


def _fitting(selector: Selector, found: Sequence[Document]) -> list[Experiment]:
    fitting = [
        it
        for it in found
        if selector.fits("namespace", str(it["namespace"]))
        and selector.fits("experiment", str(it["name"]))
    ]
    return sorted(readable(EXPERIMENT, fitting), key=lambda it: (it.namespace, it.name))


def _created_at(document: Document) -> float:
    return float(document["created_at"])


def _missing(selector: Selector) -> str:
    if selector.named("namespace") is None:
        return 'namespace="..." or experiment="..."'
    return 'experiment="..."'
