"""Pushes that come at the same time are committed together, one chunk of a run at a time."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from trialbus.contracts.collections import CHUNKS
from trialbus.kernel.errors import NotNow, NotThere, Problem, Refused, TooLarge
from trialbus.kernel.ids import RunKey
from trialbus.kernel.limits import FETCH_MESSAGES, MAX_RUN_METRICS, MAX_SPAN_LINKS
from trialbus.kernel.traces import TraceContext
from trialbus.ports.store import Query
from trialbus.runtime import metrics
from trialbus.runtime.parts import Parts
from trialbus_metrics_collector.app.chains import Chains, Grown
from trialbus_metrics_collector.app.experiments import Experiments, Seen
from trialbus_metrics_collector.core.chain import Accepted, Push, Tail, append
from trialbus_metrics_collector.core.fencing import refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    trial: str
    run: RunKey
    push: Push
    done: "asyncio.Future[None]"
    context: TraceContext | None = None

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class Appending:
    """A queue and a task that lives while something is in it."""

    def __init__(self, parts: Parts, experiments: Experiments, chains: Chains) -> None:
        self._parts = parts
        self._tracing = parts.telemetry.tracing
        self._experiments = experiments
        self._chains = chains
        self._waiting: list[_Waiting] = []
        self._working: asyncio.Task[None] | None = None

    async def append(self, trial: str, run: RunKey, push: Push) -> None:
        """Returns when it is stored, now or before. Raises as `Pushes` does."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        context = self._tracing.current()
        self._waiting.append(_Waiting(trial=trial, run=run, push=push, done=done, context=context))
        if self._working is None or self._working.done():
            # It works for others, too, than who happens to be the first.
            with self._tracing.outside():
                self._working = asyncio.ensure_future(self._work())
        await done

    async def has(self, key: str) -> bool:
        """Whether the push with this key is stored."""
        return bool(await self._parts.store.count(CHUNKS.name, Query(equals={"push": key})))

    async def close(self) -> None:
        """What still waits is given up."""
        if self._working is not None:
            self._working.cancel()
            await asyncio.gather(self._working, return_exceptions=True)
        for each in self._waiting:
            each.done.cancel()

    async def _work(self) -> None:
        while group := self._next_group():
            try:
                with self._span(group):
                    await self._commit(group)
            except Exception as error:  # noqa: BLE001 - each caller is told of it
                for each in group:
                    each.fail(error)

    def _span(self, group: Sequence[_Waiting]) -> AbstractContextManager[object]:
        """Within the first of them that is traced, linked to all."""
        if not self._tracing.on:
            return nullcontext()
        found = [it.context for it in group if it.context is not None and it.context.sampled]
        if not found:
            return nullcontext()
        return self._tracing.span("store pushes", parent=found[0], links=found[1:MAX_SPAN_LINKS])

    def _next_group(self) -> list[_Waiting]:
        """The oldest of each run. Who was answered or gave up waiting is gone by then; who lost a
        race comes again."""
        self._waiting = [each for each in self._waiting if not each.done.done()]
        oldest: dict[RunKey, _Waiting] = {}
        for each in self._waiting:
            if len(oldest) == FETCH_MESSAGES:
                break
            oldest.setdefault(each.run, each)
        return list(oldest.values())

    async def _commit(self, group: Sequence[_Waiting]) -> None:
        seen = await self._experiments.look({each.run.uid for each in group})
        wanted = [each for each in group if self._is_wanted(each, seen)]
        tails = await self._ends(wanted)
        growths = {
            str(each.run): growth
            for each in wanted
            if (growth := self._growth(each, tails[str(each.run)])) is not None
        }
        if not growths:
            return
        grown = await self._chains.grow(growths, seen)
        for each in wanted:
            _answer(each, grown)

    def _is_wanted(self, each: _Waiting, seen: dict[str, Seen]) -> bool:
        experiment = seen.get(each.run.uid)
        why = refusal(None if experiment is None else experiment.open, each.run)
        if why is None:
            return True
        self._parts.telemetry.add(metrics.STALE)
        if experiment is None:
            each.fail(NotThere(f"there is no trial {each.trial!r}"))
        else:
            each.fail(NotNow([Problem(field=each.trial, message=f"it takes no metrics: {why}")]))
        return False

    async def _ends(self, group: Sequence[_Waiting]) -> dict[str, Tail]:
        known = {str(each.run): self._chains.tails.known(str(each.run)) for each in group}
        unknown = [run for run, tail in known.items() if tail is None]
        ends = {run: tail for run, tail in known.items() if tail is not None}
        return ends | await self._chains.tails.read(unknown)

    def _growth(self, each: _Waiting, tail: Tail) -> Accepted | None:
        """None: it is answered already."""
        growth = append(tail, each.run, each.push, self._parts.clock.now())
        if growth is None:
            each.fail(has_ended(each.trial))
        elif len(growth.tail.summaries) > max(MAX_RUN_METRICS, len(tail.summaries)):
            each.fail(TooLarge(f"{each.trial}: a run has at most {MAX_RUN_METRICS} metrics"))
        else:
            return growth
        return None


def has_ended(trial: str) -> NotNow:
    return NotNow([Problem(field=trial, message="its run has ended; it takes no more metrics")])


def _answer(each: _Waiting, grown: Grown) -> None:
    run = str(each.run)
    if run in grown.unstorable:
        each.fail(Refused([Problem(field=each.trial, message=grown.unstorable[run])]))
    elif run not in grown.lost and not each.done.done():
        each.done.set_result(None)
