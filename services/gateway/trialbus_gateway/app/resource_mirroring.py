"""From the store to the cluster: status, Suggestion and Trials of one experiment."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import structlog

from trialbus.contracts.collections import TRIALS
from trialbus.contracts.documents import TRIAL
from trialbus.contracts.katib.times import rfc3339
from trialbus.kernel.trial import Trial
from trialbus.ports.cluster import Invalid
from trialbus.ports.store import Query, Store
from trialbus_gateway.app.changes import Changes
from trialbus_gateway.app.objects import Objects
from trialbus_gateway.app.readable import readable, refilled
from trialbus_gateway.app.resource_cluster import (
    EXPERIMENT,
    SUGGESTION,
    TRIAL_KIND,
    ResourceCluster,
)
from trialbus_gateway.app.resource_taking import Pair
from trialbus_gateway.core.custom_resources import digest, is_over
from trialbus_gateway.core.resource_objects import status_of, with_refused_edit

Object = dict[str, Any]
Work = Coroutine[Any, Any, None]

# Trials of one experiment that are written at the same time; the client paces all of them.
_AT_ONCE = 8
_PAGE = 500
_LOG = structlog.get_logger().bind(service="gateway")


@dataclass(slots=True)
class Shown:
    """What this process knows to be shown of an experiment. whole: all of its trials have been
    compared; complete: also since it ended. suggestion: check sum of what was last written. open:
    by name, uids of the objects of trials that go on."""

    owner: str
    whole: bool = False
    complete: bool = False
    suggestion: str = ""
    open: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _There:
    """An object of a trial: its uid and a check sum."""

    uid: str
    mark: str


class ResourceMirroring:
    def __init__(self, store: Store, changes: Changes, cluster: ResourceCluster) -> None:
        self._store = store
        self._changes = changes
        self._cluster = cluster
        self._objects = Objects(store)

    async def show(self, pair: Pair, shown: Shown, trials: Iterable[str]) -> None:
        """trials: ids of those that changed. Raises NotThere: the experiment has gone meanwhile;
        Transient, ClusterError."""
        state, owner = pair.state, pair.resource
        view = await self._changes.experiment(state.namespace, state.name)
        if view["metadata"]["uid"] != state.id:
            return
        # Before the experiment's own end is shown: who waits for that finds all trials, also those
        # whose last change has not come by here yet.
        over = is_over(view)
        if shown.whole and (shown.complete or not over):
            await self._show_changed(pair, shown, sorted(trials))
        else:
            await self._compare_all(pair, shown)
            shown.whole = True
        shown.complete = over
        suggestion = await self._changes.suggestion(state.namespace, state.name)
        await self._show_suggestion(suggestion, owner, shown)
        status = status_of(view)
        if pair.link.problems:
            at = rfc3339(pair.link.refused_at or 0.0)
            status = with_refused_edit(status, pair.link.problems, at)
        await self._cluster.show(EXPERIMENT, owner, status)

    async def _show_suggestion(self, view: Object, owner: Object, shown: Shown) -> None:
        mark = digest([view["spec"], view["metadata"].get("labels"), view["status"]])
        if mark == shown.suggestion:
            return
        there = None
        if shown.suggestion:
            metadata = view["metadata"]
            there = await self._cluster.child(
                SUGGESTION, metadata["namespace"], metadata["name"], owner["metadata"]["uid"]
            )
        try:
            is_ours = bool(await self._cluster.show_child(SUGGESTION, view, owner, there))
        except Invalid as error:
            _tell_refused(view, error)
            is_ours = True
        # A deleted namesake's is there for a while: then it is tried again with the next look.
        shown.suggestion = mark if is_ours else ""

    async def _show_changed(self, pair: Pair, shown: Shown, ids: Sequence[str]) -> None:
        for first in range(0, len(ids), _PAGE):
            found = await self._store.get_many(TRIALS.name, ids[first : first + _PAGE])
            await self._show_trials(pair, shown, readable(TRIAL, found.values()), {})

    async def _compare_all(self, pair: Pair, shown: Shown) -> None:
        """Whatever there is on both sides, page by page: kept is a check sum of each object."""
        state, owner = pair.state, pair.resource["metadata"]["uid"]
        there: dict[str, _There] = {}
        async with aclosing(self._cluster.trials(state.namespace, state.name, owner)) as items:
            async for item in items:
                uid = str(item["metadata"]["uid"])
                there[item["metadata"]["name"]] = _There(uid, digest(_compared(item)))
        after = -1
        while True:
            trials = await self._trials_after(state.id, after)
            await self._show_trials(pair, shown, trials, there)
            if len(trials) < _PAGE:
                break
            after = trials[-1].index
        # What is left is no trial of this experiment, or one whose document cannot be read.
        for name in await self._unreadable(state.id, list(there)):
            del there[name]
        for name, left in there.items():
            await self._cluster.delete_trial(state.namespace, name, left.uid)

    async def _unreadable(self, uid: str, names: Sequence[str]) -> list[str]:
        """Those of `names` that the store has trials of."""
        if not names:
            return []
        query = Query(equals={"uid": uid}, among={"name": names}, fields=("name",))
        return [str(it["name"]) for it in await self._store.find(TRIALS.name, query)]

    async def _trials_after(self, uid: str, after: int) -> list[Trial]:
        async def find(behind: int, count: int) -> list[Object]:
            query = Query(equals={"uid": uid}, above={"index": behind}, order="index", limit=count)
            return await self._store.find(TRIALS.name, query)

        return await refilled(TRIAL, find, "index", after, _PAGE)

    async def _show_trials(
        self, pair: Pair, shown: Shown, trials: Sequence[Trial], there: dict[str, _There]
    ) -> None:
        """there: objects as they are, from which these are taken out."""
        ended = {trial.name for trial in trials if trial.ended}
        due = []
        for view in await self._objects.trials(trials):
            name = str(view["metadata"]["name"])
            found = there.pop(name, None)
            if found is None or found.mark != digest(_compared(_kept(view))):
                due.append(self._trial(pair, shown, view, goes_on=name not in ended))
            elif name not in ended:
                shown.open[name] = found.uid
        await _all_of(due)

    def _trial(
        self, pair: Pair, shown: Shown, view: Object, *, goes_on: bool
    ) -> Callable[[], Work]:
        async def show() -> None:
            try:
                await write()
            except Invalid as error:
                # It must not keep all others, and the experiment's own state, from being shown.
                _tell_refused(view, error)

        async def write() -> None:
            metadata = view["metadata"]
            uid = shown.open.pop(metadata["name"], None)
            if uid is None:
                uid = await self._cluster.show_child(TRIAL_KIND, view, pair.resource, None)
            else:
                # No other trial ever has this name.
                known = {name: metadata[name] for name in ("namespace", "name")}
                await self._cluster.show(TRIAL_KIND, {"metadata": known}, status_of(view))
            if goes_on and uid:
                shown.open[metadata["name"]] = uid

        return show


def _tell_refused(view: Object, error: Invalid) -> None:
    metadata = view["metadata"]
    where = {name: metadata[name] for name in ("namespace", "name")}
    _LOG.warning("the cluster refuses an object", kind=view["kind"], error=str(error), **where)


def _kept(view: Object) -> Object:
    """As the cluster would have it."""
    return {**view, "status": status_of(view)}


def _compared(trial: Object) -> Object:
    """What the state of a trial is told by; all else of it never changes."""
    return {"labels": trial["metadata"].get("labels") or {}, "status": trial.get("status") or {}}


async def _all_of(due: Sequence[Callable[[], Work]]) -> None:
    """A few at a time. Raises what the first one raises, when all under way have ended."""
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(work: Callable[[], Work]) -> None:
        async with room:
            await work()

    ended = await asyncio.gather(*map(one, due), return_exceptions=True)
    for error in ended:
        if isinstance(error, BaseException):
            raise error
