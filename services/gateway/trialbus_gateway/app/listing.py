"""Pages of experiments: complete and without doubles, whatever comes and goes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from trialbus.contracts.collections import EXPERIMENTS
from trialbus.contracts.documents import EXPERIMENT, Document
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.limits import MAX_PAGE_ITEMS
from trialbus.ports.store import Query, Store
from trialbus_gateway.app.failures import Unreadable
from trialbus_gateway.app.readable import read
from trialbus_gateway.core.pages import Place, decode_place, encode_place

T = TypeVar("T")

DEFAULT_PAGE_ITEMS = 100
# Comes after all that names hold.
_BEHIND = "~"
# Experiments looked at for one page when labels choose among them: it may be short, never slow.
_MOST_LOOKED_AT = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """next: the token of the page that follows, None: there is none."""

    items: Sequence[T]
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    limit: int
    after: Place

    @classmethod
    def parse(cls, limit: str | None, after: str | None) -> "PageRequest":
        """Raises Unreadable."""
        try:
            place = decode_place(after) if after else Place()
        except ValueError as error:
            raise Unreadable(f"after: {error}") from error
        if limit is None:
            return cls(limit=DEFAULT_PAGE_ITEMS, after=place)
        if not (limit.isascii() and limit.isdigit() and len(limit) <= 6):
            raise Unreadable(f"limit: not a number from 1 to {MAX_PAGE_ITEMS}: {limit[:100]!r}")
        if not 1 <= int(limit) <= MAX_PAGE_ITEMS:
            raise Unreadable(f"limit: {limit} is not within 1 to {MAX_PAGE_ITEMS}")
        return cls(limit=int(limit), after=place)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentSelection:
    """All must hold. phases: one of them; empty: any. fits: whether labels do, None: all do; the
    store cannot tell, so a page is short where few do."""

    namespace: str | None = None
    phases: frozenset[str] = frozenset()
    name_prefix: str = ""
    fits: Callable[[Mapping[str, str]], bool] | None = None
    oldest_first: bool = False

    def query(self, **bounds: Any) -> Query:
        """bounds: of `created_at`, by the fields of a query."""
        bounds.setdefault("above", {})
        bounds.setdefault("below", {})
        bounds["above"] = {"alive_name": "", **bounds["above"]}
        equals = dict(bounds.pop("equals", {}))
        if self.namespace is not None:
            equals["namespace"] = self.namespace
        at_least = {}
        if self.name_prefix:
            at_least = {"name": self.name_prefix}
            bounds["below"] = {"name": self.name_prefix + _BEHIND, **bounds["below"]}
        among = {"phase": sorted(self.phases)} if self.phases else {}
        return Query(equals=equals, at_least=at_least, among=among, **bounds)


class Listing:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def experiments(self, wanted: ExperimentSelection, page: PageRequest) -> Page[Experiment]:
        """The living ones."""
        states: list[Experiment] = []
        after, looked_at = page.after, 0
        while True:
            found = await self.in_order(wanted, after, page.limit + 1)
            for document in found[: page.limit]:
                state = read(EXPERIMENT, document)
                if state is not None and _fits(wanted, state):
                    states.append(state)
                after = place_of_document(document)
                if len(states) == page.limit:
                    break
            looked_at += page.limit
            if len(found) <= page.limit and (not found or after == place_of_document(found[-1])):
                return Page(items=states, next=None)
            if len(states) == page.limit or looked_at >= _MOST_LOOKED_AT:
                return Page(items=states, next=encode_place(after))

    async def in_order(
        self, wanted: ExperimentSelection, after: Place, limit: int
    ) -> list[Document]:
        """Ordered by time and, where many have the same, by id: the store orders by one field, so
        those of one time are put in order here, and a page never ends amid unread ones."""
        found: list[Document] = []
        if after.created_at is not None:
            same = await self._created_at(wanted, after.created_at)
            found = [it for it in same if (it["_id"] > after.uid) is wanted.oldest_first
                     and it["_id"] != after.uid]  # fmt: skip
        if len(found) >= limit:
            return found[:limit]
        bound = {} if after.created_at is None else {"created_at": after.created_at}
        side, order = ("above", "created_at") if wanted.oldest_first else ("below", "-created_at")
        room = limit - len(found)
        query = wanted.query(**{side: bound}, order=order, limit=room)
        further = await self._store.find(EXPERIMENTS.name, query)
        if len(further) == room:
            last = float(further[-1]["created_at"])
            further = [document for document in further if document["created_at"] != last]
            further += await self._created_at(wanted, last)
        further.sort(key=_creation, reverse=not wanted.oldest_first)
        return [*found, *further][:limit]

    async def _created_at(self, wanted: ExperimentSelection, at: float) -> list[Document]:
        """All of one time, by id."""
        query = wanted.query(equals={"created_at": at})
        found = await self._store.find(EXPERIMENTS.name, query)
        return sorted(found, key=_creation, reverse=not wanted.oldest_first)


def place_of_document(document: Document) -> Place:
    return Place(created_at=float(document["created_at"]), uid=str(document["_id"]))


def _creation(document: Document) -> tuple[float, str]:
    return float(document["created_at"]), str(document["_id"])


def _fits(wanted: ExperimentSelection, state: Experiment) -> bool:
    if wanted.fits is None:
        return True
    return wanted.fits(state.source.get("metadata", {}).get("labels") or {})
