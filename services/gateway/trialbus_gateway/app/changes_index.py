"""The index of changes: what was last seen of every object, and what changed lately.

It holds little: of every living experiment a few words and two check sums, of trials those that
are open, and the last ones that ended. What has not changed since it began has the version at
which it began. Everything goes through `look`, one at a time, so that what is seen never goes
back in time; the work of a look is bound by the open trials of an experiment, not by all it has.
"""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trialbus.contracts.collections import EXPERIMENTS
from trialbus.contracts.documents import EXPERIMENT, Document
from trialbus.contracts.katib.views import (
    EXPERIMENT_LABEL,
    experiment_view,
    shows_running,
    suggestion_view,
    trial_view,
)
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.ids import trial_id, trial_name
from trialbus.kernel.run import Run
from trialbus.kernel.trial import Trial
from trialbus.ports.store import Query, Store
from trialbus_gateway.app.changes_facts import Facts, read_facts, trials_with_runs, watermark_of
from trialbus_gateway.app.readable import readable
from trialbus_gateway.core.change_log import Change, ChangeLog, ChangeType, Kind, Labels, Object
from trialbus_gateway.core.last_views import bare_view
from trialbus_gateway.core.resource_versions import version_of

# Changes that clients can catch up with, of views of a usual size: some 20 to 40 MB.
LOG_CAPACITY = 2_048
# Ended trials whose own versions are known; older ones have the version of the beginning.
MAX_ENDED_TRIALS = 50_000
_PAGE = 500
_BRIEF = (
    "alive_name",
    "namespace",
    "name",
    "version",
    "finished",
    "closing",
    "next_index",
    "source",
)


@dataclass(slots=True, kw_only=True)
class Versioned:
    """sign: a check sum of what the view is made of; None: not looked at yet."""

    tick: int
    sign: object = None


@dataclass(slots=True, kw_only=True)
class Seen:
    """What was last seen of an experiment. before: how many trials it had when the index began.
    watermark: trials with finish numbers up to here have been seen to end. open: by trial id."""

    uid: str
    namespace: str
    name: str
    version: int
    before: int
    watermark: int
    experiment: Versioned
    suggestion: Versioned
    labels: Labels = field(default_factory=dict)
    opened: int = 0
    open: dict[str, Versioned] = field(default_factory=dict)

    @property
    def trial_labels(self) -> Labels:
        return {**self.labels, EXPERIMENT_LABEL: self.name}


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """An experiment as it was read, and the ticks of its objects at that state."""

    state: Experiment
    running: frozenset[int]
    experiment_tick: int
    suggestion_tick: int


class Index:
    """next_tick: gives a tick above all before. Callers of what is async hold `lock`. watches:
    how many clients want to see what is deleted."""

    def __init__(
        self, store: Store, next_tick: Callable[[], int], *, capacity: int = LOG_CAPACITY
    ) -> None:
        self.lock = asyncio.Lock()
        self.watches = 0
        self.ended = False
        self.grown = asyncio.Event()
        self.start = next_tick()
        self.log = ChangeLog(self.start, capacity)
        self._store = store
        self._next_tick = next_tick
        self._seen: dict[str, Seen] = {}
        self._uids: dict[str, str] = {}
        self._ended_trials: OrderedDict[str, int] = OrderedDict()

    async def begin(self) -> None:
        """Take note of all that lives; nothing of it counts as changed."""
        last = ""
        while True:
            query = Query(
                above={"alive_name": last}, order="alive_name", limit=_PAGE, fields=_BRIEF
            )
            found = await self._store.find(EXPERIMENTS.name, query)
            for document in found:
                self._keep(self._brief(document))
            if len(found) < _PAGE:
                return
            last = str(found[-1]["alive_name"])

    def end(self) -> None:
        """Whoever watches must begin anew."""
        self.ended = True
        self.grown.set()

    def trial_tick(self, trial: Trial) -> int:
        seen = self._seen.get(trial.uid)
        known = None if seen is None else seen.open.get(trial.id)
        return self._ended_trials.get(trial.id, self.start) if known is None else known.tick

    async def look_at(self, uids: Iterable[str]) -> dict[str, Looked]:
        """Read these anew and log what changed. Those that live."""
        wanted = sorted(set(uids))
        found = await self._store.get_many(EXPERIMENTS.name, wanted)
        states = readable(EXPERIMENT, found.values())
        living = {state.id: state for state in states if state.alive_name is not None}
        gone = {state.id: state for state in states if state.alive_name is None}
        for uid in wanted:
            if uid not in living and uid in self._seen:
                await self._delete(uid, gone.get(uid))
        return await self.look(list(living.values()))

    async def look(self, states: Sequence[Experiment]) -> dict[str, Looked]:
        """As `look_at`, of living ones that were read under the lock."""
        marks = {it.id: self._seen[it.id].watermark if it.id in self._seen else 0 for it in states}
        facts = await read_facts(self._store, states, marks)
        looked = {}
        for state in states:
            namesake = self._uids.get(str(state.alive_name), state.id)
            if namesake != state.id:
                await self._delete(namesake, None)
            seen = self._seen.get(state.id)
            if seen is not None and seen.labels != _labels_in(state.source):
                await self._relabel(seen, state)
            looked[state.id] = self._take(state, facts)
        self._tell()
        return looked

    def see_trial(self, state: Experiment, trial: Trial, run: Run | None) -> int:
        """Its tick: it was read under the lock, after a look at its experiment."""
        self._take_trial(self._seen[state.id], state, trial, run, quiet=False)
        self._tell()
        return self.trial_tick(trial)

    def _take(self, state: Experiment, facts: Facts) -> Looked:
        seen = self._seen.get(state.id)
        is_new = seen is None
        if seen is None:
            seen = Seen(
                uid=state.id,
                namespace=state.namespace,
                name=state.name,
                version=state.version,
                before=0,
                watermark=0,
                experiment=Versioned(tick=self.start),
                suggestion=Versioned(tick=self.start),
            )
            self._keep(seen)
        # The first look at what has not changed since the index began.
        quiet = not is_new and seen.experiment.sign is None and seen.version == state.version
        before, seen.labels = None if is_new else seen.labels, _labels_in(state.source)
        running = facts.running(state)
        if is_new:
            self._take_experiment(seen, state, running, before, quiet=quiet)
            self._take_suggestion(seen, state, facts, before, quiet=quiet)
        for trial in facts.trials(state):
            self._take_trial(seen, state, trial, facts.runs.get(trial.id), quiet=quiet)
        if not is_new:
            self._take_suggestion(seen, state, facts, before, quiet=quiet)
            self._take_experiment(seen, state, running, before, quiet=quiet)
        seen.version, seen.opened = state.version, state.next_index
        seen.watermark = max(seen.watermark, watermark_of(state))
        return Looked(
            state=state,
            running=running,
            experiment_tick=seen.experiment.tick,
            suggestion_tick=seen.suggestion.tick,
        )

    def _take_experiment(
        self,
        seen: Seen,
        state: Experiment,
        running: frozenset[int],
        before: Labels | None,
        *,
        quiet: bool,
    ) -> None:
        view = experiment_view(state, running=running)
        # The lists of ended trials are complete when none is closing any more.
        sign = _sign(view, sorted(state.closing))
        self._compare(Kind.EXPERIMENTS, seen.experiment, sign, view, before, quiet=quiet)

    def _take_suggestion(
        self, seen: Seen, state: Experiment, facts: Facts, before: Labels | None, *, quiet: bool
    ) -> None:
        view = suggestion_view(state)
        # The assignments are complete when all open trials have their documents.
        there = sum(trial_id(state.id, int(key)) in facts.at_hand for key in state.open)
        sign = _sign(view, max(0, len(state.open) - there))
        self._compare(Kind.SUGGESTIONS, seen.suggestion, sign, view, before, quiet=quiet)

    def _compare(
        self,
        kind: Kind,
        known: Versioned,
        sign: object,
        view: Object,
        before: Labels | None,
        *,
        quiet: bool,
    ) -> None:
        if not quiet and sign != known.sign:
            type_ = ChangeType.ADDED if before is None else ChangeType.MODIFIED
            known.tick = self._log(type_, kind, view, before)
        known.sign = sign

    def _take_trial(
        self, seen: Seen, state: Experiment, trial: Trial, run: Run | None, *, quiet: bool
    ) -> None:
        sign = _trial_sign(trial, run)
        known = seen.open.get(trial.id)
        if known is None and trial.ended and self._is_over(seen, trial):
            return
        if known is not None and known.sign == sign:
            return
        tick = self.start
        if not quiet:
            existed = known is not None or trial.index < seen.before
            type_ = ChangeType.MODIFIED if existed else ChangeType.ADDED
            view = trial_view(trial, state, run)
            tick = self._log(type_, Kind.TRIALS, view, seen.trial_labels if existed else None)
        if not trial.ended:
            seen.open[trial.id] = Versioned(tick=tick, sign=sign)
            return
        seen.open.pop(trial.id, None)
        self._remember(trial.id, tick)

    def _remember(self, ended: str, tick: int) -> None:
        self._ended_trials[ended] = tick
        self._ended_trials.move_to_end(ended)
        if len(self._ended_trials) > MAX_ENDED_TRIALS:
            self._ended_trials.popitem(last=False)

    def _is_over(self, seen: Seen, trial: Trial) -> bool:
        """Whether it was seen to end before."""
        return trial.id in self._ended_trials or (trial.finished or 0) <= seen.watermark

    async def _relabel(self, seen: Seen, state: Experiment) -> None:
        """Trials bear the labels of their experiment: an edit of those is one of all trials."""
        if state.next_index > self.log.capacity:
            self._relabel_untold(seen)
            return
        async for trial, run in trials_with_runs(self._store, state):
            # What was there when the index began may not have been looked at yet.
            told = trial.id in seen.open or trial.index < seen.before
            if not told and not (trial.ended and self._is_over(seen, trial)):
                continue
            view = trial_view(trial, state, run)
            tick = self._log(ChangeType.MODIFIED, Kind.TRIALS, view, seen.trial_labels)
            if trial.ended:
                seen.open.pop(trial.id, None)
                self._remember(trial.id, tick)
            else:
                known = Versioned(tick=tick, sign=_trial_sign(trial, run))
                seen.open.setdefault(trial.id, known).tick = tick

    def _relabel_untold(self, seen: Seen) -> None:
        """Of more trials than the log can hold: whoever watches lists anew."""
        tick = self._next_tick()
        self.log.begin_anew(tick)
        for known in seen.open.values():
            known.tick = tick
        for key in self._ended_trials:
            if key.startswith(f"{seen.uid}."):
                self._ended_trials[key] = tick

    async def _delete(self, uid: str, state: Experiment | None) -> None:
        """state: its tombstone, while there is one."""
        opened = self._seen[uid].opened if state is None else state.next_index
        # More than the log can hold would push each other out of it, and whoever watches waits.
        told = opened <= self.log.capacity
        views = self.log.last_views(Kind.TRIALS, f"{uid}.") if told else {}
        # Where nobody sees the last states, they need not be read.
        if state is not None and self.watches and told:
            async for trial, run in trials_with_runs(self._store, state):
                views[trial.id] = trial_view(trial, state, run)
        # Only now, and without a wait: whatever fails before is done again as a whole.
        seen = self._seen.pop(uid)
        self._uids.pop(f"{seen.namespace}/{seen.name}", None)
        for kind in (Kind.EXPERIMENTS, Kind.SUGGESTIONS):
            self._log(ChangeType.DELETED, kind, _last_view(kind, seen, state), seen.labels)
        if not told:
            self.log.begin_anew(self._next_tick())
        for index in range(opened if told else 0):
            key = trial_id(uid, index)
            bare = bare_view(
                Kind.TRIALS,
                namespace=seen.namespace,
                name=trial_name(seen.name, uid, index),
                uid=key,
                labels=seen.trial_labels,
            )
            self._ended_trials.pop(key, None)
            self._log(ChangeType.DELETED, Kind.TRIALS, views.get(key, bare), seen.trial_labels)
        self._tell()

    def _log(self, type_: ChangeType, kind: Kind, view: Object, before: Labels | None) -> int:
        tick = self._next_tick()
        view["metadata"]["resourceVersion"] = version_of(tick, view)
        change = Change(tick=tick, type=type_, kind=kind, view=view, before=before)
        self.log.append(change, size=len(json.dumps(view, default=str)))
        return tick

    def _tell(self) -> None:
        grown, self.grown = self.grown, asyncio.Event()
        grown.set()

    def _keep(self, seen: Seen) -> None:
        self._seen[seen.uid] = seen
        self._uids[f"{seen.namespace}/{seen.name}"] = seen.uid

    def _brief(self, document: Document) -> Seen:
        closing = [int(it["finished"]) for it in document.get("closing", {}).values()]
        return Seen(
            uid=str(document["_id"]),
            namespace=str(document["namespace"]),
            name=str(document["name"]),
            version=int(document["version"]),
            labels=_labels_in(document["source"]),
            before=int(document["next_index"]),
            opened=int(document["next_index"]),
            watermark=min(closing, default=int(document["finished"]) + 1) - 1,
            experiment=Versioned(tick=self.start),
            suggestion=Versioned(tick=self.start),
        )


def _sign(view: Object, more: object) -> int:
    """Of all but the number that the store gives to each of its writes."""
    metadata = {key: it for key, it in view["metadata"].items() if key != "resourceVersion"}
    return hash(json.dumps([{**view, "metadata": metadata}, more], default=str))


def _trial_sign(trial: Trial, run: Run | None) -> object:
    started_at = run.started_at if run is not None and shows_running(trial, run) else None
    return (trial.version, started_at)


def _labels_in(source: Mapping[str, Any]) -> Labels:
    return dict(source.get("metadata", {}).get("labels") or {})


def _last_view(kind: Kind, seen: Seen, state: Experiment | None) -> Object:
    if state is not None:
        return experiment_view(state) if kind is Kind.EXPERIMENTS else suggestion_view(state)
    uid = seen.uid if kind is Kind.EXPERIMENTS else f"{seen.uid}.suggestion"
    return bare_view(kind, namespace=seen.namespace, name=seen.name, uid=uid, labels=seen.labels)
