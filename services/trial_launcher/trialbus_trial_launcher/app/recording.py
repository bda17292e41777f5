"""Committing the ends of runs, in groups, and telling the experiments."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable

from trialbus.contracts.collections import RUNS
from trialbus.contracts.documents import RUN
from trialbus.kernel.errors import Transient
from trialbus.kernel.events import Event
from trialbus.kernel.limits import MAX_TOLD_ITEMS
from trialbus.kernel.run import Run, RunPhase
from trialbus.ports.store import Outcome, Write
from trialbus.runtime.parts import Parts

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
        await self._parts.outbox.publish_notices(list(_notices(after for _, after in group)))
        return []


def _ignore(_run_id: str) -> None:
    """Nobody wants to know."""


def _notices(ended: Iterable[Run]) -> Iterable[Event]:
    """One for each experiment and kind of end."""
    groups: dict[tuple[str, RunPhase], list[Run]] = defaultdict(list)
    for run in ended:
        groups[run.uid, run.phase].append(run)
    for (uid, phase), runs in groups.items():
        first = runs[0]
        type_ = "run.lost" if phase is RunPhase.LOST else "run.finished"
        yield Event(
            id=f"{first.id}@{first.version}.{type_}",
            type=type_,
            uid=uid,
            namespace=first.namespace,
            experiment=first.experiment,
            at=max(run.finished_at or run.created_at for run in runs),
            message=f"{len(runs)} ended",
            data={"count": len(runs), "runs": [_told(run) for run in runs[:MAX_TOLD_ITEMS]]},
        )


def _told(run: Run) -> dict[str, object]:
    told: dict[str, object] = {"trial": run.trial, "attempt": run.attempt}
    if run.exit_code is not None:
        told["exitCode"] = run.exit_code
    if run.signal is not None:
        told["signal"] = run.signal
    if run.stop_reason:
        told["stopReason"] = run.stop_reason
    return told
