"""Removing checkpoints and artifacts that are known not to be needed: `trialbus.io/keep-best`.

What lies on the disk is the only memory: whatever a crash leaves is found again.
"""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Protocol

from pydantic import ValidationError

from trialbus.contracts.collections import EXPERIMENTS, TRIALS
from trialbus.contracts.documents import EXPERIMENT
from trialbus.kernel.checkpoints import checkpoints_of
from trialbus.kernel.errors import Transient
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.ids import parse_run_id
from trialbus.kernel.limits import SWEEP_INTERVAL_S
from trialbus.kernel.objective import ObjectiveType
from trialbus.kernel.trial import TrialPhase
from trialbus.ports.launcher import Launcher
from trialbus.ports.store import Query
from trialbus.runtime.parts import Parts
from trialbus_trial_launcher.core.kept import prunes_now, removable

_COMPARED = frozenset({TrialPhase.SUCCEEDED.value, TrialPhase.EARLY_STOPPED.value})
_FIELDS = ("index", "phase", "value")
# Experiments whose folders are looked at together after a start.
_PORTION = 100


class Rooted(Protocol):
    """The part of a place that is looked at here."""

    @property
    def artifact_root(self) -> str: ...

    def roots(self) -> tuple[str, ...]: ...


class Pruning:
    def __init__(self, parts: Parts, launcher: Launcher, place: Rooted) -> None:
        self._parts = parts
        self._launcher = launcher
        self._place = place
        # How many trials were written down when an experiment was looked at last, and its order.
        self._pruned: dict[str, tuple[int, int | None]] = {}
        self._watched: set[str] = set()
        self._ended: list[str] = []
        self._wake = asyncio.Event()

    def see(self, states: Iterable[Experiment]) -> None:
        """Experiments that are looked at; those that keep only some are followed to their end."""
        for state in states:
            if state.spec.keep_best is not None and state.id not in self._watched:
                self._watched.add(state.id)
                self._wake.set()

    def ended(self, run_id: str) -> None:
        """The end of a run is committed: a folder in which it left nothing may go."""
        self._ended.append(run_id)
        self._wake.set()

    async def run(self) -> None:
        """For ever: at most every sweep's interval."""
        while True:
            try:
                await self._find_left()
                break
            except Transient:
                await self._parts.clock.sleep(SWEEP_INTERVAL_S)
        while True:
            if not self._watched:
                await self._wake.wait()
            self._wake.clear()
            await self._drop_empty()
            try:
                await self._prune(sorted(self._watched))
            except Transient as error:
                self._parts.telemetry.log.warning("pruning waits", reason=str(error))
            await self._parts.clock.sleep(SWEEP_INTERVAL_S)

    async def _find_left(self) -> None:
        """Experiments that had ended when this process began, and left folders."""
        uids = {
            name for root in self._place.roots() for name in await self._launcher.names_in(root)
        }
        left = sorted(uids)
        for first in range(0, len(left), _PORTION):
            self.see(await self._states(left[first : first + _PORTION]))

    async def _drop_empty(self) -> None:
        ended, self._ended = self._ended, []
        runs = [parse_run_id(run_id) for run_id in ended]
        root = self._place.artifact_root
        if runs and root in self._place.roots():
            await self._launcher.drop_empty(
                [f"{checkpoints_of(root, run.uid)}/{run.index}" for run in runs]
            )

    async def _prune(self, uids: Sequence[str]) -> None:
        states = {state.id: state for state in await self._states(uids)}
        for uid in uids:
            state = states.get(uid)
            if state is not None and prunes_now(state):
                await self._prune_one(state)
            if state is None or state.ended or state.spec.keep_best is None:
                self._watched.discard(uid)
                self._pruned.pop(uid, None)

    async def _prune_one(self, state: Experiment) -> None:
        settled = (state.finished - len(state.closing), state.spec.keep_best)
        if self._pruned.get(state.id) == settled and not state.ended:
            return
        best = await self._best(state)
        for root in self._place.roots():
            folder = checkpoints_of(root, state.id)
            names = await self._launcher.names_in(folder)
            for name in removable(state, names, best):
                await self._launcher.forget_checkpoints(f"{folder}/{name}")
        self._pruned[state.id] = settled

    async def _best(self, state: Experiment) -> frozenset[int]:
        """Indices; the first of equals is the best, as elsewhere."""
        wanted, limit = state.spec.keep_best or 0, 2 * (state.spec.keep_best or 0)
        minimize = state.spec.objective.type is ObjectiveType.MINIMIZE
        while wanted:
            query = Query(
                equals={"uid": state.id},
                at_least={"value": float("-inf")},
                order="value" if minimize else "-value",
                limit=limit,
                fields=_FIELDS,
            )
            found = await self._parts.store.find(TRIALS.name, query)
            compared = [it for it in found if it["phase"] in _COMPARED]
            if len(compared) >= wanted or len(found) < limit:
                sign = 1 if minimize else -1
                compared.sort(key=lambda it: (sign * it["value"], it["index"]))
                own = () if state.best is None else (state.best.index,)
                return frozenset([*(int(it["index"]) for it in compared[:wanted]), *own])
            limit *= 2
        return frozenset()

    async def _states(self, uids: Sequence[str]) -> list[Experiment]:
        if not uids:
            return []
        found = await self._parts.store.get_many(EXPERIMENTS.name, uids)
        states = []
        for document in found.values():
            # What cannot be read is told of where it is reacted to.
            with suppress(ValidationError):
                states.append(EXPERIMENT.decode(document))
        return states
