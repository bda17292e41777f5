"""The ends of chains: remembered where we stored them last, read again where we do not know."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable

from pydantic import TypeAdapter

from trialbus.contracts.collections import CHUNKS
from trialbus.kernel.chunks import MetricSummary
from trialbus.kernel.limits import MAX_KNOWN_TAILS
from trialbus.ports.store import Query, Store
from trialbus_metrics_collector.core.chain import Tail

_SUMMARIES = TypeAdapter(tuple[MetricSummary, ...])


class Tails:
    """A remembered end may be behind, because another replica stored more; never ahead."""

    def __init__(self, store: Store, capacity: int = MAX_KNOWN_TAILS) -> None:
        self._store = store
        self._capacity = capacity
        self._known: OrderedDict[str, Tail] = OrderedDict()

    def known(self, run: str) -> Tail | None:
        if run in self._known:
            self._known.move_to_end(run)
        return self._known.get(run)

    def remember(self, run: str, tail: Tail) -> None:
        self._known[run] = tail
        self._known.move_to_end(run)
        if len(self._known) > self._capacity:
            self._known.popitem(last=False)

    def forget(self, prefix: str) -> None:
        """The runs whose ids begin so are gone."""
        for run in [run for run in self._known if run.startswith(prefix)]:
            del self._known[run]

    async def read(self, runs: Iterable[str]) -> dict[str, Tail]:
        """As the store has them now."""
        wanted = list(dict.fromkeys(runs))
        tails = await asyncio.gather(*(self._read(run) for run in wanted))
        found = dict(zip(wanted, tails, strict=True))
        for run, tail in found.items():
            self.remember(run, tail)
        return found

    async def _read(self, run: str) -> Tail:
        newest = await self._store.find(
            CHUNKS.name,
            Query(
                prefix=f"{run}@",
                order="-_id",
                limit=1,
                fields=("to_byte", "pushed", "final", "summaries"),
            ),
        )
        if not newest:
            return Tail()
        [chunk] = newest
        return Tail(
            to_byte=chunk["to_byte"],
            # What was stored before there were pushes does not say so.
            pushed=chunk.get("pushed", 0),
            final=chunk["final"],
            summaries={
                it.metric: it.summary for it in _SUMMARIES.validate_python(chunk["summaries"])
            },
        )
