"""What the collector needs to know of experiments: one grouped read for a group of reports."""

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass

from trialbus.contracts.collections import EXPERIMENTS
from trialbus.contracts.documents import Document
from trialbus.kernel.experiment import SCHEDULING_PHASES, ExperimentPhase
from trialbus.kernel.limits import MAX_KNOWN_EXPERIMENTS
from trialbus.kernel.spec import TrialsBy
from trialbus.ports.store import Store
from trialbus_metrics_collector.core.fencing import OpenAttempts

_CHANGING = ("phase", "open")
_FIXED = ("namespace", "name", "spec", "traceparent", "created_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What never changes. watched: the metric that a stopping rule waits for, if there is one.
    imports: whether its trials ended elsewhere. traceparent: as its document has it."""

    namespace: str
    name: str
    watched: str | None
    created_at: float
    imports: bool = False
    traceparent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    about: About
    open: OpenAttempts


class Experiments:
    def __init__(self, store: Store, capacity: int = MAX_KNOWN_EXPERIMENTS) -> None:
        self._store = store
        self._capacity = capacity
        self._about: OrderedDict[str, About] = OrderedDict()

    def forget(self, uid: str) -> None:
        self._about.pop(uid, None)

    async def look(self, uids: Collection[str]) -> dict[str, Seen]:
        """As they are now; what is not there is absent."""
        known = {uid: self._about[uid] for uid in uids if uid in self._about}
        fields = _CHANGING if len(known) == len(uids) else _CHANGING + _FIXED
        documents = await self._store.get_many(EXPERIMENTS.name, uids, fields=fields)
        seen = {}
        for uid, document in documents.items():
            try:
                about = known.get(uid) or _about(document)
                attempts = _open_attempts(document, about)
            except (KeyError, TypeError, ValueError):
                # Unreadable: as if it were not there, so that the others of the group are.
                continue
            self._remember(uid, about)
            seen[uid] = Seen(about=about, open=attempts)
        return seen

    def _remember(self, uid: str, about: About) -> None:
        self._about[uid] = about
        self._about.move_to_end(uid)
        if len(self._about) > self._capacity:
            self._about.popitem(last=False)


def _about(document: Document) -> About:
    spec = document["spec"]
    return About(
        namespace=document["namespace"],
        name=document["name"],
        watched=None if spec["early_stopping"] is None else spec["objective"]["metric"],
        created_at=float(document["created_at"]),
        imports=spec.get("trials_by") == TrialsBy.IMPORT.value,
        traceparent=document.get("traceparent"),
    )


def _open_attempts(document: Document, about: About) -> OpenAttempts:
    phase = ExperimentPhase(document["phase"])
    return OpenAttempts(
        phase=phase,
        attempts={int(index): trial["attempt"] for index, trial in document["open"].items()},
        importing=about.imports and phase in SCHEDULING_PHASES,
    )
