"""Lists of Katib's objects in Kubernetes' manner: in order of names, with a version to watch from.

A list of several pages has the version of its first: whoever watches from there sees all that
changed while the others were read.
"""

import base64
import binascii
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from trialbus.contracts.collections import EXPERIMENTS, TRIALS
from trialbus.contracts.documents import EXPERIMENT, TRIAL, Document
from trialbus.contracts.katib.views import EXPERIMENT_LABEL
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.ids import is_name
from trialbus.kernel.trial import Trial
from trialbus.ports.store import Query, Store
from trialbus_gateway.app.changes import Changes
from trialbus_gateway.app.changes_index import Index, Looked
from trialbus_gateway.app.failures import Expired, NotThere, Unreadable
from trialbus_gateway.app.readable import readable, refilled
from trialbus_gateway.core.change_log import Kind, Labels, Object
from trialbus_gateway.core.resource_versions import tick_of, version_of

_OWNERS_AT_ONCE = 50
_TRIALS_AT_ONCE = 500
# What a store can compare with.
_MAX_INDEX = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which objects are wanted. name: only this one; experiment: only trials of this one.
    fits: whether labels do; fits_name: whether namespace and name do."""

    namespace: str | None
    fits: Callable[[Labels], bool]
    fits_name: Callable[[str, str], bool]
    name: str | None = None
    experiment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a page ended: after this owner, or amid its trials, after this index."""

    version: str
    owner: str
    index: int | None = None

    def encode(self) -> str:
        text = json.dumps([self.version, self.owner, self.index])
        return base64.urlsafe_b64encode(text.encode()).decode()

    @classmethod
    def decode(cls, token: str) -> "Place":
        """Raises Unreadable."""
        try:
            fields = json.loads(base64.b64decode(token, altchars=b"-_", validate=True))
        except (ValueError, binascii.Error, RecursionError) as error:
            raise Unreadable("continue key is not valid") from error
        match fields:
            case [str() as version, str() as owner, int() | None as index] if (
                _is_version(version)
                and all(map(is_name, owner.split("/")))
                and (index is None or 0 <= index <= _MAX_INDEX)
            ):
                return cls(version=version, owner=owner, index=index)
        raise Unreadable("continue key is not valid")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPage:
    """next: a token, "" when there is no more."""

    items: Sequence[Object]
    version: str
    next: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """more: where it goes on, None: with the owners after these."""

    trials: Sequence[Trial]
    more: tuple[str, int | None] | None = None


class ChangesListing:
    def __init__(self, changes: Changes, store: Store) -> None:
        self._changes = changes
        self._store = store

    async def page(
        self, kind: Kind, scope: Scope, *, limit: int | None, token: str = "", whole: bool = True
    ) -> ListPage:
        """limit None: all. whole: with the long lists in the status of each."""
        index = await self._changes.index()
        place = Place.decode(token) if token else Place(version="", owner="")
        if token and not index.log.knows(tick_of(place.version)):
            raise Expired("The provided continue parameter is too old to display a consistent list")
        if kind is Kind.TRIALS:
            return await self._trials(index, scope, place, limit)
        return await self._owners_page(index, kind, scope, place, limit, whole=whole)

    async def _owners_page(
        self,
        index: Index,
        kind: Kind,
        scope: Scope,
        place: Place,
        limit: int | None,
        *,
        whole: bool,
    ) -> ListPage:
        items: list[Object] = []
        version, after = place.version, place.owner
        while True:
            count = _OWNERS_AT_ONCE if limit is None else min(_OWNERS_AT_ONCE, limit - len(items))
            async with index.lock:
                states = await self._owners(scope, scope.name, after, count + 1)
                wanted = [state for state in states[:count] if _fits(scope, state)]
                looked = await index.look(wanted)
                # All that changed up to here has been read by the end of the last page.
                version = version or version_of(index.log.newest)
            for state in wanted:
                items.append(await self._owner_view(kind, looked[state.id], whole=whole))
            if len(states) <= count:
                return ListPage(items=items, version=version)
            after = str(states[count - 1].alive_name)
            if limit is not None and len(items) >= limit:
                following = Place(version=version, owner=after)
                return ListPage(items=items, version=version, next=following.encode())

    async def _owner_view(self, kind: Kind, looked: Looked, *, whole: bool) -> Object:
        if kind is Kind.EXPERIMENTS:
            return await self._changes.experiment_view(looked, whole=whole)
        return await self._changes.suggestion_view(looked, whole=whole)

    async def _owners(
        self, scope: Scope, name: str | None, after: str, count: int
    ) -> list[Experiment]:
        """The next living experiments after this one, by namespace and name."""
        if scope.namespace is not None and name is not None:
            one = f"{scope.namespace}/{name}"
            query = Query(equals={"alive_name": one}, limit=1)
            found = [] if one <= after else await self._store.find(EXPERIMENTS.name, query)
            return readable(EXPERIMENT, found)

        async def next_owners(behind: str, limit: int) -> list[Document]:
            return await self._store.find(EXPERIMENTS.name, _owners_query(scope, behind, limit))

        return await refilled(EXPERIMENT, next_owners, "alive_name", after, count)

    async def _trials(
        self, index: Index, scope: Scope, place: Place, limit: int | None
    ) -> ListPage:
        if scope.name is not None:
            return await self._named_trial(index, scope, scope.name)
        items: list[Object] = []
        version, after, within = place.version, place.owner, place.index
        while True:
            # Others get their turn between two batches.
            room = _TRIALS_AT_ONCE
            if limit is not None:
                room = min(room, limit - len(items))
            async with index.lock:
                owners = await self._next_owners(scope, after, within)
                looked = await index.look([owner for owner in owners if _trials_fit(scope, owner)])
                version = version or version_of(index.log.newest)
                if not owners or str(owners[0].alive_name) != after:
                    # The one amid whose trials the last page ended is gone.
                    within = None
                batch = await self._trials_of_owners(scope, owners, set(looked), within, room)
                items += await self._changes.trial_views(index, looked, batch.trials)
            if batch.more is None and len(owners) < _OWNERS_AT_ONCE:
                return ListPage(items=items, version=version)
            after, within = batch.more or (str(owners[-1].alive_name), None)
            if limit is not None and len(items) >= limit:
                following = Place(version=version, owner=after, index=within)
                return ListPage(items=items, version=version, next=following.encode())

    async def _trials_of_owners(
        self,
        scope: Scope,
        owners: Sequence[Experiment],
        wanted: Collection[str],
        within: int | None,
        room: int,
    ) -> "_Batch":
        """within: where to begin in the first owner, if amid it."""
        trials: list[Trial] = []
        for place, owner in enumerate(owners):
            if owner.id in wanted:
                left = room - len(trials)
                # One more than there is room for: whether there is more.
                found = await self._trials_of(owner.id, within, left + 1)
                trials += found[:left]
                if len(found) > left:
                    more = (str(owner.alive_name), found[left - 1].index)
                    return _Batch(trials=_fitting(scope, trials), more=more)
            within = None
            if len(trials) == room and place + 1 < len(owners):
                return _Batch(trials=_fitting(scope, trials), more=(str(owner.alive_name), None))
        return _Batch(trials=_fitting(scope, trials))

    async def _next_owners(self, scope: Scope, after: str, within: int | None) -> list[Experiment]:
        """within: the one that `after` names is not done yet."""
        if within is None:
            return await self._owners(scope, scope.experiment, after, _OWNERS_AT_ONCE)
        query = Query(equals={"alive_name": after}, limit=1)
        found = await self._store.find(EXPERIMENTS.name, query)
        first = readable(EXPERIMENT, found)
        more = await self._owners(scope, scope.experiment, after, _OWNERS_AT_ONCE - len(first))
        return first + more

    async def _trials_of(self, uid: str, after: int | None, limit: int) -> list[Trial]:
        async def next_trials(behind: int, count: int) -> list[Document]:
            query = Query(equals={"uid": uid}, above={"index": behind}, order="index", limit=count)
            return await self._store.find(TRIALS.name, query)

        return await refilled(TRIAL, next_trials, "index", -1 if after is None else after, limit)

    async def _named_trial(self, index: Index, scope: Scope, name: str) -> ListPage:
        version = version_of(index.log.newest)
        if not is_name(name):
            return ListPage(items=(), version=version)
        try:
            trial = await self._changes.documents.trial(name)
            fits = scope.namespace in (None, trial.namespace)
            fits = fits and scope.fits_name(trial.namespace, trial.name)
            view = await self._changes.trial(trial.namespace, name) if fits else None
        except NotThere:
            view = None
        # Before the read of the object: a change in between is told again to who watches.
        shown = view is not None and scope.fits(view["metadata"].get("labels", {}))
        return ListPage(items=[view] if view is not None and shown else (), version=version)


def _owners_query(scope: Scope, behind: str, limit: int) -> Query:
    if scope.namespace is None:
        return Query(above={"alive_name": behind}, order="alive_name", limit=limit)
    return Query(
        above={"alive_name": max(behind, f"{scope.namespace}/")},
        # "0" comes after "/".
        below={"alive_name": f"{scope.namespace}0"},
        order="alive_name",
        limit=limit,
    )


def _is_version(text: str) -> bool:
    try:
        tick_of(text)
    except ValueError:
        return False
    return True


def _fitting(scope: Scope, trials: Sequence[Trial]) -> list[Trial]:
    return [trial for trial in trials if scope.fits_name(trial.namespace, trial.name)]


def _fits(scope: Scope, state: Experiment) -> bool:
    labels = state.source.get("metadata", {}).get("labels") or {}
    return scope.fits(labels) and scope.fits_name(state.namespace, state.name)


def _trials_fit(scope: Scope, owner: Experiment) -> bool:
    labels = owner.source.get("metadata", {}).get("labels") or {}
    return scope.fits({**labels, EXPERIMENT_LABEL: owner.name})
