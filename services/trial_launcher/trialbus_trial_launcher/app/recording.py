"""Committing the ends of runs, in groups, and telling the experiments."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from trialbus.contracts.collections import RUNS
from trialbus.contracts.documents import RUN, Document
from trialbus.kernel.errors import Transient
from trialbus.kernel.limits import MAX_MESSAGE_CHARS
from trialbus.kernel.run import Run
from trialbus.ports.store import Outcome, Write
from trialbus.runtime import metrics
from trialbus.runtime.parts import Parts
from trialbus_trial_launcher.app.hand import Hand
from trialbus_trial_launcher.app.run_notices import ended_notices
from trialbus_trial_launcher.app.run_spans import in_traces, tell_runs, within_runs

_RETRY_DELAY_S = 0.2


class Recording:
    """Ends that wait for their commit; those that come meanwhile form the next group. hand: is
    told of ends that this process has committed, once, and of the others."""

    def __init__(self, parts: Parts, hand: Hand) -> None:
        self._parts = parts
        self._hand = hand
        # Ends whose commit had no answer: it may have been done.
        self._doubtful: set[str] = set()
        self.committed: Callable[[str], None] = _ignore
        self._waiting: list[tuple[Run, Run]] = []
        self._wake = asyncio.Event()
        self._busy = False

    def add(self, before: Run, after: Run) -> None:
        self._waiting.append((before, after))
        self._wake.set()

    async def run(self) -> None:
        while True:
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()
            group, self._waiting = self._waiting, []
            while group:
                group = await self._commit(group)

    async def _commit(self, group: list[tuple[Run, Run]]) -> list[tuple[Run, Run]]:
        """Those that must be tried again."""
        writes = [
            Write(base=RUN.encode(before), document=RUN.encode(after)) for before, after in group
        ]
        tracing = self._parts.telemetry.tracing
        try:
            with within_runs(tracing, [after for _, after in group], "record ends"):
                outcomes = await self._parts.store.commit(RUNS.name, writes)
        except Transient as error:
            self._parts.telemetry.log.warning("ends wait for the store", error=str(error))
            self._doubtful.update(before.id for before, _ in group)
            await self._parts.clock.sleep(_RETRY_DELAY_S)
            return group
        missed = [
            ends
            for ends, outcome in zip(group, outcomes, strict=True)
            if outcome is not Outcome.DONE
        ]
        self._parts.telemetry.add(metrics.CONFLICTS, len(missed))
        found = await self._found(missed)
        claimed = _claimed(missed, found)
        waiting = {before.id for before, _ in claimed}
        mine = self._mine(group, found)
        for before, _ in group:
            if before.id not in waiting:
                self.committed(before.id)
        ended = [after for before, after in group if before.id not in waiting]
        # What others stored may be another end than ours: they tell its span, with its data.
        tell_runs(tracing, mine)
        # A notice only says where to look, so it is told again of those, too.
        await self._parts.outbox.publish_notices(in_traces(ended_notices(ended), tracing, ended))
        return claimed

    async def note(self, changes: Sequence[tuple[Run, str]]) -> Mapping[str, Run]:
        """Commit what living runs wait for; the runs as they are now. Raises Transient."""
        told = {
            run.id: replace(run, version=run.version + 1, message=waits[:MAX_MESSAGE_CHARS])
            for run, waits in changes
        }
        writes = [
            Write(base=RUN.encode(run), document=RUN.encode(told[run.id])) for run, _ in changes
        ]
        outcomes = await self._parts.store.commit(RUNS.name, writes)
        missed = [
            run.id
            for (run, _), outcome in zip(changes, outcomes, strict=True)
            if outcome is not Outcome.DONE
        ]
        if missed:
            # Claimed by its pod, told by another launcher, or over: the next look tells it.
            documents = await self._parts.store.get_many(RUNS.name, missed)
            told.update({key: RUN.decode(document) for key, document in documents.items()})
        return told

    def _mine(
        self, group: Sequence[tuple[Run, Run]], missed: Mapping[str, Run | None]
    ) -> list[Run]:
        """Those that this process has committed; the hand hears of all that are over. missed: what
        these are that were not committed now."""
        mine = []
        for before, after in group:
            run = missed.get(before.id)
            if run is not None and not run.ended:
                continue  # it comes again
            if before.id not in missed or (before.id in self._doubtful and run == after):
                self._hand.ended(after)
                mine.append(after)
            else:
                self._hand.drop(before.id)
            self._doubtful.discard(before.id)
        return mine

    async def _found(self, missed: Sequence[tuple[Run, Run]]) -> dict[str, Run | None]:
        """As they are now; None: deleted."""
        if not missed:
            return {}
        documents = await self._read([before.id for before, _ in missed])
        return {
            before.id: RUN.decode(documents[before.id]) if before.id in documents else None
            for before, _ in missed
        }

    async def _read(self, run_ids: Sequence[str]) -> Mapping[str, Document]:
        while True:
            try:
                return await self._parts.store.get_many(RUNS.name, run_ids)
            except Transient as error:
                self._parts.telemetry.log.warning("ends wait for the store", error=str(error))
                await self._parts.clock.sleep(_RETRY_DELAY_S)


def _claimed(
    missed: Sequence[tuple[Run, Run]], found: Mapping[str, Run | None]
) -> list[tuple[Run, Run]]:
    """Those whose pod claimed them meanwhile, over what they are now. Of the others the end is
    recorded already (an unknown result, tried again)."""
    return [
        (run, replace(after, version=run.version + 1, holder=run.holder))
        for before, after in missed
        if (run := found[before.id]) is not None and not run.ended
    ]


def _ignore(_run_id: str) -> None:
    """Nobody wants to know."""
