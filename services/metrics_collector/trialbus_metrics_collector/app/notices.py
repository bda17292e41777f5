"""What was stored, told to others: after the commit, and never in the way of an answer."""

import asyncio
from collections.abc import Iterable, Mapping

from trialbus.kernel.chunks import Chunk
from trialbus.kernel.events import Event
from trialbus.kernel.ids import parse_run_id, trial_name
from trialbus.runtime.outbox import Outbox
from trialbus_metrics_collector.app.experiments import About


def notices_of(chunks: Iterable[Chunk], abouts: Mapping[str, About], now: float) -> list[Event]:
    """One of each type per experiment. A stopping rule is woken by its own metric only."""
    watched: dict[str, str] = {}
    final: dict[str, list[Chunk]] = {}
    for chunk in chunks:
        if any(series.metric == abouts[chunk.uid].watched for series in chunk.series):
            watched.setdefault(chunk.uid, chunk.id)
        if chunk.final:
            final.setdefault(chunk.uid, []).append(chunk)
    events = [
        _event("metric.recorded", uid, first, abouts[uid], now) for uid, first in watched.items()
    ]
    for uid, ended in final.items():
        about = abouts[uid]
        trials = [trial_name(about.name, uid, parse_run_id(it.run).index) for it in ended]
        events.append(
            _event("observation.recorded", uid, ended[0].id, about, now, trials=sorted(trials))
        )
    return events


def _event(type_: str, uid: str, chunk: str, about: About, now: float, **data: list[str]) -> Event:
    return Event(
        id=f"{chunk}.{type_}",
        type=type_,
        uid=uid,
        namespace=about.namespace,
        experiment=about.name,
        at=now,
        data=data,
    )


class Notices:
    """Published by a task of its own. While that is busy, `metric.recorded` of one experiment
    becomes one notice, whose newest form wins: it only says "look"."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._pending: dict[str, Event] = {}
        self._wake = asyncio.Event()

    def add(self, events: Iterable[Event]) -> None:
        for event in events:
            key = event.uid if event.type == "metric.recorded" else event.id
            self._pending[key] = event
            self._wake.set()

    async def run(self) -> None:
        """Publish what is added, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self.flush()

    async def flush(self) -> None:
        """Publish what is there now. What a cancelled call had in hand is still there."""
        batch = dict(self._pending)
        await self._outbox.publish_notices(list(batch.values()))
        for key, event in batch.items():
            if self._pending.get(key) is event:
                del self._pending[key]
