"""Reports and heartbeats: metrics are stored, leases renewed; the answer says whether to stop."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from hashlib import blake2b

from trialbus.contracts.chunks import PushedPoint, PushReport
from trialbus.contracts.work import HeldTrial, Report
from trialbus.kernel.errors import Transient
from trialbus.kernel.ids import parse_run_id
from trialbus.kernel.run import Run, StopReason
from trialbus.runtime.parts import Parts
from trialbus_trial_launcher.app.leasing.ending import Ending
from trialbus_trial_launcher.app.leasing.word import (
    T,
    Word,
    refuse_ended,
    refuse_not_held,
    unanswered,
)
from trialbus_trial_launcher.app.verdicts import to_be_stopped
from trialbus_trial_launcher.core.leases import renewed


class Reporting:
    def __init__(self, parts: Parts, ending: Ending) -> None:
        self._parts = parts
        self._ending = ending

    async def report(self, words: Sequence[Word[Report]]) -> None:
        """Those of one run are stored in their order; also of runs that a launcher started. Raises
        Transient."""
        runs = await self._ending.runs({word.run_id for word in words})
        refuse_ended(words, runs)
        by_run: dict[str, list[Word[Report]]] = {}
        for word in unanswered(words):
            by_run.setdefault(word.run_id, []).append(word)
        await asyncio.gather(*(self._store(runs[key], own) for key, own in by_run.items()))
        await self._renew(words, runs)

    async def heartbeat(self, words: Sequence[Word[HeldTrial]]) -> None:
        """Raises Transient."""
        await self._renew(words, await self._held(words))

    async def _held(self, words: Sequence[Word[T]]) -> dict[str, Run]:
        runs = await self._ending.runs({word.run_id for word in words})
        refuse_not_held(words, runs)
        return runs

    async def _store(self, run: Run, words: Sequence[Word[Report]]) -> None:
        for word in words:
            try:
                refused = await self._ending.push(run, _push_of(word.item))
            except Transient:
                word.refuse(None)
                continue
            if refused is not None:
                word.refuse(refused)

    async def _renew(self, words: Sequence[Word[T]], runs: Mapping[str, Run]) -> None:
        """Every word renews its trial's lease."""
        now = self._parts.clock.now()
        heard = {word.run_id for word in unanswered(words)}
        changes = [
            (runs[key], after)
            for key in sorted(heard)
            if runs[key].leased and (after := renewed(runs[key], now)) is not None
        ]
        done = await self._ending.commit(changes)
        # Somebody else renewed it just now, or it has ended.
        lost = {before.id for before, _ in changes} - done
        again = await self._ending.runs(lost)
        refuse_not_held([word for word in words if word.run_id in lost], again)
        stops = await self._stops(unanswered(words))
        for word in unanswered(words):
            word.accept(stop=stops.get(word.run_id, ""))

    async def _stops(self, words: Sequence[Word[T]]) -> dict[str, str]:
        """Run id -> why it should stop."""
        stops = {}
        judged = []
        for word in words:
            trial = word.work.open.get(parse_run_id(word.run_id).index)
            if trial is not None and trial.stop:
                stops[word.run_id] = trial.stop
            elif word.work.spec.early_stopping is not None:
                judged.append(word.run_id)
        early = dict.fromkeys(await self.verdicts(judged), StopReason.EARLY_STOPPED.value)
        return stops | early

    async def verdicts(self, run_ids: Collection[str]) -> frozenset[str]:
        """Of these runs those that a stopping rule wants stopped."""
        return await to_be_stopped(self._parts.store, run_ids)


def _push_of(report: Report) -> PushReport:
    return PushReport(
        points=tuple(
            PushedPoint(metric=name, value=value, at=report.at)
            for name, value in report.metrics.items()
        ),
        id=report.id or _step_id(report),
    )


def _step_id(report: Report) -> str | None:
    """The same step with the same metrics is one report."""
    if report.step is None:
        return None
    names = "\0".join(sorted(report.metrics)).encode()
    return f"step {report.step} {blake2b(names, digest_size=8).hexdigest()}"
