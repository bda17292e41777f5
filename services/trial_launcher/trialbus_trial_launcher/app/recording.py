"""Committing the ends of runs, in groups, and telling the experiments."""

import asyncio
from collections.abc import Callable

from trialbus.contracts.collections import RUNS
from trialbus.contracts.documents import RUN
from trialbus.kernel.errors import Transient
from trialbus.kernel.run import Run
from trialbus.ports.store import Outcome, Write
from trialbus.runtime.parts import Parts
from trialbus_trial_launcher.app.run_notices import ended_notices

_RETRY_DELAY_S = 0.2


class Recording:
    """Ends that wait for their commit; those that come meanwhile form the next group."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
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
        try:
            outcomes = await self._parts.store.commit(RUNS.name, writes)
        except Transient as error:
            self._parts.telemetry.log.warning("ends wait for the store", error=str(error))
            await self._parts.clock.sleep(_RETRY_DELAY_S)
            return group
        done = [
            after
            for (_, after), outcome in zip(group, outcomes, strict=True)
            if outcome is Outcome.DONE
        ]
        for before, _ in group:
            self.committed(before.id)
        # A conflict means that the end is recorded already (an unknown result, tried again).
        self._parts.telemetry.conflicts.inc(len(group) - len(done))
        await self._parts.outbox.publish_notices(ended_notices(after for _, after in group))
        return []


def _ignore(_run_id: str) -> None:
    """Nobody wants to know."""
