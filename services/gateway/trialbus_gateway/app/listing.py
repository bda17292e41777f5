"""Pages of experiments and trials: complete and without doubles, whatever comes and goes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from trialbus.contracts.collections import EXPERIMENTS, TRIALS
from trialbus.contracts.documents import EXPERIMENT, TRIAL, Document
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.limits import MAX_PAGE_ITEMS
from trialbus.kernel.trial import Trial
from trialbus.ports.store import Query, Store
from trialbus_gateway.app.failures import Unreadable
from trialbus_gateway.core.pages import Place, decode_place, encode_place

T = TypeVar("T")

DEFAULT_PAGE_ITEMS = 100
# Experiments looked into for one page of trials: a page may be short, never slow.
_EXPERIMENTS_FOR_TRIALS = 50


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


class Listing:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def experiments(self, namespace: str | None, page: PageRequest) -> Page[Experiment]:
        """The living ones, newest first."""
        found = await self._newest(namespace, page.after, page.limit + 1)
        states = [EXPERIMENT.decode(document) for document in found[: page.limit]]
        following = None
        if len(found) > page.limit:
            following = encode_place(_place(found[page.limit - 1]))
        return Page(items=states, next=following)

    async def trials_of(self, state: Experiment, page: PageRequest) -> Page[Trial]:
        """In the order of opening."""
        if page.after.uid not in ("", state.id):
            raise Unreadable("after: a token of another experiment; begin with the first page")
        trials = await self._trials(state.id, page.after.index, page.limit + 1)
        following = None
        if len(trials) > page.limit:
            following = _after_trial(_place_of(state), trials[: page.limit])
        return Page(items=trials[: page.limit], next=following)

    async def trials(self, namespace: str | None, page: PageRequest) -> Page[Trial]:
        """Experiment by experiment, the newest first; each in the order of opening."""
        place, trials = page.after, list[Trial]()
        if place.uid and place.index is not None:
            trials = await self._trials(place.uid, place.index, page.limit)
            if len(trials) == page.limit:
                return Page(items=trials, next=_after_trial(place, trials))
        owners = await self._newest(namespace, place, _EXPERIMENTS_FOR_TRIALS + 1)
        for owner in owners[:_EXPERIMENTS_FOR_TRIALS]:
            place = _place(owner)
            more = await self._trials(place.uid, None, page.limit - len(trials))
            trials += more
            if len(trials) == page.limit:
                return Page(items=trials, next=_after_trial(place, more))
        following = encode_place(place) if len(owners) > _EXPERIMENTS_FOR_TRIALS else None
        return Page(items=trials, next=following)

    async def _trials(self, uid: str, after: int | None, limit: int) -> list[Trial]:
        query = Query(
            equals={"uid": uid},
            above={"index": -1 if after is None else after},
            order="index",
            limit=limit,
        )
        return [TRIAL.decode(document) for document in await self._store.find(TRIALS.name, query)]

    async def _newest(self, namespace: str | None, after: Place, limit: int) -> list[Document]:
        """Ordered by time and, where many have the same, by id: the store orders by one field, so
        those of one time are put in order here, and a page never ends amid unread ones."""
        found = []
        if after.created_at is not None:
            same = await self._created_at(namespace, after.created_at)
            found = [document for document in same if str(document["_id"]) < after.uid]
        if len(found) >= limit:
            return found[:limit]
        bound = {} if after.created_at is None else {"created_at": after.created_at}
        wanted = limit - len(found)
        older = await self._store.find(
            EXPERIMENTS.name,
            Query(
                equals=_within(namespace),
                above={"alive_name": ""},
                below=bound,
                order="-created_at",
                limit=wanted,
            ),
        )
        if len(older) == wanted:
            last = float(older[-1]["created_at"])
            older = [document for document in older if document["created_at"] > last]
            older += await self._created_at(namespace, last)
        older.sort(key=lambda it: (it["created_at"], it["_id"]), reverse=True)
        return [*found, *older][:limit]

    async def _created_at(self, namespace: str | None, at: float) -> list[Document]:
        """All of one time, by descending id."""
        found = await self._store.find(
            EXPERIMENTS.name,
            Query(equals={"created_at": at, **_within(namespace)}, above={"alive_name": ""}),
        )
        return sorted(found, key=lambda document: str(document["_id"]), reverse=True)


def _within(namespace: str | None) -> dict[str, str]:
    return {} if namespace is None else {"namespace": namespace}


def _place(document: Document) -> Place:
    return Place(created_at=float(document["created_at"]), uid=str(document["_id"]))


def _place_of(state: Experiment) -> Place:
    return Place(created_at=state.created_at, uid=state.id)


def _after_trial(place: Place, trials: Sequence[Trial]) -> str:
    index = trials[-1].index
    return encode_place(Place(created_at=place.created_at, uid=place.uid, index=index))
