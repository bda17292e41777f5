"""Katib's objects with resource versions, and what changed since one of them."""

import asyncio
import random
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import suppress

from trialbus.contracts.katib.views import (
    ended_lists,
    experiment_view,
    suggested,
    suggestion_view,
    trial_view,
)
from trialbus.kernel.errors import Transient
from trialbus.kernel.ids import is_name
from trialbus.kernel.trial import Trial
from trialbus.runtime.parts import Parts
from trialbus_gateway.app import reach
from trialbus_gateway.app.changes_index import LOG_CAPACITY, Index, Looked
from trialbus_gateway.app.changes_life import SWEEP_S, Life
from trialbus_gateway.app.documents import Documents
from trialbus_gateway.app.failures import Expired, NotThere, Unreadable
from trialbus_gateway.app.guarded_store import unguarded
from trialbus_gateway.app.objects import Objects
from trialbus_gateway.core import resource_versions
from trialbus_gateway.core.change_log import Change, ChangeType, Forgotten, Kind, Object
from trialbus_gateway.core.resource_versions import SALTS, Ticks, version_of

# The index is dropped when nothing asked for it that long.
IDLE_S = 300.0
_BATCH = 256
# Views kept for several who watch the same.
_WHOLES = 64


class Changes:
    """The index of changes is begun by the first question and dropped when unused."""

    def __init__(
        self,
        parts: Parts,
        *,
        idle_s: float = IDLE_S,
        sweep_s: float = SWEEP_S,
        capacity: int = LOG_CAPACITY,
    ) -> None:
        self.documents = Documents(parts.store)
        self.objects = Objects(parts.store)
        self._parts = parts
        self._idle_s = idle_s
        self._sweep_s = sweep_s
        self._capacity = capacity
        self._ticks = Ticks()
        self._index: Index | None = None
        self._life: Life | None = None
        self._begun: asyncio.Future[None] | None = None
        self._living: asyncio.Task[None] | None = None
        self._used_at = 0.0
        self._closed = False
        self._wholes: OrderedDict[int, Object] = OrderedDict()

    async def experiment(self, namespace: str, name: str) -> Object:
        """The view of the living one, with its resourceVersion. Raises NotThere."""
        looked = await self._look(namespace, name)
        return await self.experiment_view(looked)

    async def suggestion(self, namespace: str, name: str) -> Object:
        """As `experiment`."""
        looked = await self._look(namespace, name)
        return await self.suggestion_view(looked)

    async def trial(self, namespace: str, name: str) -> Object:
        """As `experiment`."""
        trial = await self._named_trial(namespace, name)
        index = await self.index()
        async with index.lock:
            looked = (await index.look_at([trial.uid])).get(trial.uid)
            trial = await self._named_trial(namespace, name)
            if looked is None:
                raise NotThere(f"there is no trial {namespace}/{name}")
            return (await self.trial_views(index, {trial.uid: looked}, [trial]))[0]

    def edited_since(self, view: Object, resource_version: str) -> bool:
        """Whether spec or metadata of `view` (as just read) differ from what they were at
        `resource_version`; a change of status alone is none. What is no version counts as edited,
        versions of an earlier gateway are understood."""
        return resource_versions.edited_since(view, resource_version)

    def hint(self, uid: str) -> None:
        """A command to this experiment was accepted: whoever watches need not wait for more."""
        if self._life is not None:
            self._life.hint(uid)

    async def index(self) -> Index:
        """The living index. Raises Transient."""
        if self._closed:
            raise Transient("the gateway stops")
        self._used_at = self._parts.clock.monotonic()
        if self._index is None or self._index.ended:
            self._begin()
        assert self._index is not None and self._begun is not None
        index = self._index
        # Others wait for the same beginning: one who goes away does not end it.
        await asyncio.shield(self._begun)
        return index

    async def follow(
        self, kind: Kind, since: str, pause_s: Callable[[], float]
    ) -> AsyncGenerator[Change | str, None]:
        """What changes after the version `since`, in order. A text is the version that all that
        came before is up to, given once in `pause_s` although much of other kinds changes: who
        comes again with an old version would have to begin anew. It ends when the gateway
        stops. Raises Expired: begin anew with a list."""
        index = await self.index()
        tick = _tick_of(since)
        index.watches += 1
        now_s = asyncio.get_running_loop().time
        try:
            due_s = now_s() + pause_s()
            while not self._closed:
                # Before the look, so that nothing slips by between the two.
                grown, changes = index.grown, _after(index, tick)
                for change in changes:
                    tick = change.tick
                    if change.kind is kind and _is_seen(change):
                        yield change
                if not changes:
                    await _within(grown, due_s - now_s())
                if now_s() >= due_s:
                    yield version_of(tick)
                    due_s = now_s() + pause_s()
        finally:
            index.watches -= 1
            self._used_at = self._parts.clock.monotonic()

    async def close(self) -> None:
        """Ends all watches."""
        self._closed = True
        if self._living is not None:
            self._living.cancel()
            await asyncio.gather(self._living, return_exceptions=True)

    async def experiment_view(self, looked: Looked, *, whole: bool = True) -> Object:
        """whole: with the names of ended trials."""
        state = looked.state
        names = await self.objects.names_by_phase(state.id) if whole else None
        view = experiment_view(state, running=looked.running, trials_by_phase=names)
        return _versioned(view, looked.experiment_tick)

    async def suggestion_view(self, looked: Looked, *, whole: bool = True) -> Object:
        """whole: with the assignments."""
        state = looked.state
        view = await self.objects.suggestion(state) if whole else suggestion_view(state)
        return _versioned(view, looked.suggestion_tick)

    async def trial_views(
        self, index: Index, looked: Mapping[str, Looked], trials: Sequence[Trial]
    ) -> list[Object]:
        """Under the index's lock, under which the trials were read and looked at."""
        states = {uid: it.state for uid, it in looked.items()}
        runs = await self.documents.newest_runs(states, trials)
        views = []
        for trial in trials:
            state, run = states[trial.uid], runs.get(trial.id)
            tick = index.see_trial(state, trial, run)
            views.append(_versioned(trial_view(trial, state, run), tick))
        return views

    async def whole(self, change: Change) -> Object:
        """Its view with the long lists of the status, as far as they can be had."""
        view, uid = change.view, str(change.view["metadata"]["uid"])
        if change.kind is Kind.TRIALS or change.type is ChangeType.DELETED:
            return view
        if change.tick not in self._wholes:
            if change.kind is Kind.EXPERIMENTS:
                lists = ended_lists(await self.objects.names_by_phase(uid))
            else:
                owner = str(view["metadata"]["ownerReferences"][0]["uid"])
                lists = suggested(await self.objects.newest_trials(owner))
            self._wholes[change.tick] = {**view, "status": {**view["status"], **lists}}
            if len(self._wholes) > _WHOLES:
                self._wholes.popitem(last=False)
        return self._wholes[change.tick]

    async def _look(self, namespace: str, name: str) -> Looked:
        missing = NotThere(f"there is no experiment {namespace}/{name}")
        if not (is_name(namespace) and is_name(name)):
            raise missing
        index = await self.index()
        async with index.lock:
            state = await self.documents.living(namespace, name)
            return (await index.look([state]))[state.id]

    async def _named_trial(self, namespace: str, name: str) -> Trial:
        missing = NotThere(f"there is no trial {namespace}/{name}")
        if not is_name(name):
            raise missing
        trial = await self.documents.trial(name)
        if trial.namespace != namespace:
            raise missing
        return trial

    def _begin(self) -> None:
        salt = random.randrange(SALTS)
        # One index for all: what a caller sees of it is chosen when it is told.
        self._index = Index(
            unguarded(self._parts.store),
            lambda: self._ticks.next(self._parts.clock.now(), salt),
            capacity=self._capacity,
        )
        self._life = Life(self._parts, self._index, self._unused, sweep_s=self._sweep_s)
        self._begun = asyncio.get_running_loop().create_future()
        # It outlives the request that happens to be the first.
        with self._parts.telemetry.tracing.outside():
            context = reach.own_context()
        self._living = asyncio.create_task(
            self._life.live(self._begun), name="index of changes", context=context
        )

    def _unused(self) -> bool:
        watched = self._index is not None and self._index.watches > 0
        return not watched and self._parts.clock.monotonic() - self._used_at > self._idle_s


def _is_seen(change: Change) -> bool:
    """By whoever is being answered."""
    return reach.current().sees(str(change.view["metadata"]["namespace"]))


def _after(index: Index, tick: int) -> Sequence[Change]:
    if index.ended:
        raise Expired("the event stream was lost, list anew")
    try:
        return index.log.after(tick, _BATCH)
    except Forgotten as error:
        raise Expired(f"too old resource version: {version_of(tick)}") from error


def _tick_of(version: str) -> int:
    try:
        return resource_versions.tick_of(version)
    except ValueError as error:
        raise Unreadable(f"invalid resource version: {error}") from error


async def _within(event: asyncio.Event, delay_s: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(delay_s):
            await event.wait()


def _versioned(view: Object, tick: int) -> Object:
    view["metadata"]["resourceVersion"] = version_of(tick, view)
    return view
