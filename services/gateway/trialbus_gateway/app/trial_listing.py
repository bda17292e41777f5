"""Pages of trials: selected and sorted by the store, so that their cost is that of the page."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from trialbus.contracts.collections import TRIALS
from trialbus.contracts.documents import EXPERIMENT, TRIAL, Document
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.ids import trial_id
from trialbus.kernel.objective import ObjectiveType
from trialbus.kernel.trial import Trial
from trialbus.ports.store import Store
from trialbus_gateway.app.documents import Documents
from trialbus_gateway.app.failures import Unreadable
from trialbus_gateway.app.listing import (
    ExperimentSelection,
    Listing,
    Page,
    PageRequest,
    place_of_document,
)
from trialbus_gateway.app.readable import read, readable
from trialbus_gateway.app.trial_selection import (
    EVERYTHING,
    Key,
    Section,
    TrialSelection,
    TrialSort,
    queries,
    sections_of,
)
from trialbus_gateway.core.pages import Place, encode_place
from trialbus_gateway.core.waits import open_state

# Experiments looked into for one page of trials: a page may be short, never slow.
_EXPERIMENTS_FOR_TRIALS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """key: where it stands in the order of its section."""

    document: Document
    key: Key
    section: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """last: the place of the last trial that was looked at; None: nothing follows."""

    trials: list[Trial]
    last: Place | None


class TrialListing:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._documents = Documents(store)
        self._experiments = Listing(store)

    async def trials_of(
        self, state: Experiment, page: PageRequest, selection: TrialSelection = EVERYTHING
    ) -> Page[Trial]:
        """Of one experiment."""
        place = page.after
        if place.uid not in ("", state.id):
            raise Unreadable("after: a token of another experiment; begin with the first page")
        if place.uid and (place.sort or TrialSort.OPENED) != selection.sort:
            raise Unreadable("after: a token of another order; begin with the first page")
        begin = replace(place, created_at=state.created_at, uid=state.id)
        found = await self._within(state, begin, selection, page.limit)
        following = None if found.last is None else encode_place(found.last)
        return Page(items=found.trials, next=following)

    async def trials(
        self, namespace: str | None, page: PageRequest, selection: TrialSelection = EVERYTHING
    ) -> Page[Trial]:
        """Experiment by experiment, the newest first; each in the order of opening."""
        if selection.sort is not TrialSort.OPENED or page.after.sort:
            raise Unreadable("sort: only of the trials of one experiment")
        place, trials = page.after, list[Trial]()
        if place.uid and place.index is not None:
            states = await self._documents.experiments([place.uid])
            found = await self._within(states.get(place.uid), place, selection, page.limit)
            trials = found.trials
            if found.last is not None:
                return Page(items=trials, next=encode_place(found.last))
        within = ExperimentSelection(namespace=namespace)
        owners = await self._experiments.in_order(within, place, _EXPERIMENTS_FOR_TRIALS + 1)
        for owner in owners[:_EXPERIMENTS_FOR_TRIALS]:
            if len(trials) == page.limit:
                return Page(items=trials, next=encode_place(replace(place, index=None)))
            place = place_of_document(owner)
            state = read(EXPERIMENT, owner) if selection.wants_open else None
            found = await self._within(state, place, selection, page.limit - len(trials))
            trials += found.trials
            if found.last is not None:
                return Page(items=trials, next=encode_place(found.last))
        following = encode_place(place) if len(owners) > _EXPERIMENTS_FOR_TRIALS else None
        return Page(items=trials, next=following)

    async def _within(
        self, state: Experiment | None, begin: Place, selection: TrialSelection, limit: int
    ) -> _Found:
        """state: of the experiment that `begin` names; None: its open trials are not known."""
        direction = ObjectiveType.MINIMIZE if state is None else state.spec.objective.type
        sections = sections_of(selection, direction)
        after = _place_within(sections, begin)
        open_ = [] if state is None else await self._open(state, selection)
        found: list[_Entry] = []
        for number, section in enumerate(sections[begin.section :], start=begin.section):
            # One more than is shown: whether there is more.
            room = limit + 1 - len(found)
            if room == 0:
                break
            entries = await self._stored(section, selection, begin.uid, after, room)
            if section.holds_open and open_:
                entries = _merged(section, entries, open_, after)[:room]
            found += [replace(entry, section=number) for entry in entries]
            after = None
        last = None
        if len(found) > limit:
            last = _place_of(found[limit - 1], sections, begin, selection.sort)
        trials = readable(TRIAL, (entry.document for entry in found[:limit]))
        return _Found(trials=trials, last=last)

    async def _stored(
        self,
        section: Section,
        selection: TrialSelection,
        uid: str,
        after: Key | None,
        limit: int,
    ) -> list[_Entry]:
        found: list[Document] = []
        for query in queries(section, selection, uid, after):
            limited = replace(query, limit=limit - len(found))
            found += await self._store.find(TRIALS.name, limited)
        return [_Entry(document=it, key=section.place_of(it)) for it in found]

    async def _open(self, state: Experiment, selection: TrialSelection) -> list[Document]:
        """Those that are wanted by what their runs say: no more than run at once."""
        if not selection.wants_open:
            return []
        keys = [trial_id(state.id, int(key)) for key in state.open]
        found = await self._store.get_many(TRIALS.name, keys)
        trials = {it.index: it for it in readable(TRIAL, found.values()) if not it.ended}
        runs = await self._documents.newest_runs({state.id: state}, list(trials.values()))
        return [
            found[trial.id]
            for index, trial in trials.items()
            if selection.takes_open(open_state(state.open[str(index)], runs.get(trial.id)), index)
        ]


def _merged(
    section: Section, entries: list[_Entry], open_: Sequence[Document], after: Key | None
) -> list[_Entry]:
    """A trial that has ended between two reads is there once."""
    known = {entry.document["_id"] for entry in entries}
    more = [
        _Entry(document=it, key=section.place_of(it))
        for it in open_
        if it["_id"] not in known and section.follows(it, after)
    ]
    return sorted([*entries, *more], key=lambda entry: entry.key, reverse=section.descending)


def _place_within(sections: Sequence[Section], begin: Place) -> Key | None:
    """Raises Unreadable where the token is of no such order."""
    if begin.index is None:
        return None
    if begin.section < len(sections):
        order = sections[begin.section].order
        if (order == ("index",)) is (begin.key is None):
            given = {"index": begin.index, "value": begin.key, "finished": begin.key}
            return tuple(given[name] for name in order)
    raise Unreadable("after: a token of another order; begin with the first page")


def _place_of(entry: _Entry, sections: Sequence[Section], begin: Place, sort: TrialSort) -> Place:
    index = int(entry.document["index"])
    if sort is TrialSort.OPENED:
        return Place(created_at=begin.created_at, uid=begin.uid, index=index)
    order = sections[entry.section].order
    return Place(
        created_at=begin.created_at,
        uid=begin.uid,
        index=index,
        sort=sort.value,
        section=entry.section,
        key=None if order == ("index",) else entry.key[0],
    )
