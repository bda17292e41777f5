"""What lives, read for being added up: in a few fields, a page at a time."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TypeVar

from pydantic import ValidationError

from trialbus.contracts.collections import EXPERIMENTS
from trialbus.contracts.documents import Document, DocumentCodec
from trialbus.kernel.experiment import ExperimentPhase
from trialbus.kernel.spec import TrialsBy
from trialbus.ports.store import Query, Store
from trialbus_experiment.core.overview import Living, LivingKind

T = TypeVar("T")

# So that reading all holds up nothing else in this process.
_PAGE = 500
_PHASES = frozenset(
    {
        ExperimentPhase.CREATED.value,
        ExperimentPhase.RUNNING.value,
        ExperimentPhase.SUSPENDED.value,
        ExperimentPhase.ENDING.value,
        ExperimentPhase.DELETING.value,
    }
)
_FIELDS = (
    "namespace",
    "phase",
    "counts",
    "open",
    "conditions",
    "requests",
    "drawn",
    "next_index",
)
_LIVING, _KIND = DocumentCodec(Living), DocumentCodec(LivingKind)


class LivingExperiments:
    """Specs are large and never change in what is asked of them here: each is read once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kinds: dict[str, TrialsBy] = {}

    async def read(self) -> dict[str, Living]:
        """By uid. Raises Transient."""
        query = Query(among={"phase": sorted(_PHASES)}, fields=("_id",))
        uids = [str(it["_id"]) for it in await self._store.find(EXPERIMENTS.name, query)]
        living: dict[str, Living] = {}
        for begin in range(0, len(uids), _PAGE):
            living |= await self._read_page(uids[begin : begin + _PAGE])
        self._kinds = {uid: it for uid, it in self._kinds.items() if uid in living}
        return living

    async def _read_page(self, uids: Sequence[str]) -> dict[str, Living]:
        found = await self._store.get_many(EXPERIMENTS.name, uids, fields=_FIELDS)
        unknown = [uid for uid in found if uid not in self._kinds]
        if unknown:
            specs = await self._store.get_many(EXPERIMENTS.name, unknown, fields=("spec",))
            for kind in readable(_KIND, specs.values()):
                self._kinds[kind.id] = kind.spec.trials_by
        known = (
            {**document, "trials_by": self._kinds[uid]}
            for uid, document in found.items()
            # Over since its uid was read.
            if uid in self._kinds and document.get("phase") in _PHASES
        )
        return {state.id: state for state in readable(_LIVING, known)}


def readable(codec: DocumentCodec[T], documents: Iterable[Document]) -> Iterator[T]:
    """Without those of which whoever handles them says that they are not."""
    for document in documents:
        with suppress(ValidationError):
            yield codec.decode(document)
