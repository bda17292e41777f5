"""Growing chains in the store: one group of chunks, at most one of a run, and what became of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trialbus.contracts.collections import CHUNKS
from trialbus.contracts.documents import CHUNK
from trialbus.kernel.events import Event
from trialbus.ports.store import Outcome, Unstorable, Write
from trialbus.runtime import metrics
from trialbus.runtime.parts import Parts
from trialbus.runtime.traced import told_in
from trialbus_metrics_collector.app.counting import Counting, points_of
from trialbus_metrics_collector.app.experiments import About, Seen
from trialbus_metrics_collector.app.notices import Notices, notices_of
from trialbus_metrics_collector.app.tails import Tails
from trialbus_metrics_collector.core.chain import Accepted, Tail


@dataclass(frozen=True, slots=True, kw_only=True)
class Grown:
    """After a commit. tails: where each chain ends. stored: the runs whose chunk is in. again:
    whose push had been in before. lost: the chain had grown by something else; at the end that is
    told now, more may fit. unstorable: by run, why its chunk can never be."""

    tails: Mapping[str, Tail]
    stored: frozenset[str]
    again: frozenset[str]
    lost: frozenset[str]
    unstorable: Mapping[str, str]


class Chains:
    """Raises Transient when the store is away or the result of a write is unknown."""

    def __init__(self, parts: Parts, tails: Tails, notices: Notices) -> None:
        self._parts = parts
        self._notices = notices
        self.counting = Counting(parts)
        self.tails = tails

    async def grow(self, growths: Mapping[str, Accepted], seen: Mapping[str, Seen]) -> Grown:
        """Commit one chunk for each of these runs, and tell of what is stored. seen: their
        experiments, by uid."""
        outcomes, unstorable = await self._commit(growths)
        stored = frozenset(run for run, it in outcomes.items() if it is Outcome.DONE)
        again = frozenset(run for run, it in outcomes.items() if it is Outcome.TAKEN)
        lost = frozenset(run for run, it in outcomes.items() if it is Outcome.CONFLICT)
        self._parts.telemetry.add(metrics.CONFLICTS, len(lost) + len(again))
        for run in stored:
            self.tails.remember(run, growths[run].tail)
        chunks = [growth.chunk for run, growth in growths.items() if run in stored]
        self.counting.stored(chunks, seen)
        for run in again:
            if growths[run].chunk.push is not None:
                self.counting.repeated(points_of(growths[run].chunk.series))
        abouts = {uid: it.about for uid, it in seen.items()}
        self._tell(notices_of(chunks, abouts, self._parts.clock.now()), abouts)
        tails = {run: growths[run].tail for run in stored}
        tails |= await self.tails.read(sorted(again | lost))
        return Grown(tails=tails, stored=stored, again=again, lost=lost, unstorable=unstorable)

    def _tell(self, notices: Sequence[Event], abouts: Mapping[str, About]) -> None:
        """Of what came in a trace in that trace; who sends knows how much of a run is in it."""
        tracing = self._parts.telemetry.tracing
        current = tracing.current() if tracing.on else None
        if current is not None and current.sampled:
            notices = [
                told
                for it in notices
                for told in told_in([it], tracing, abouts[it.uid].traceparent, it.uid)
            ]
        self._notices.add(notices)

    async def _commit(
        self, growths: Mapping[str, Accepted]
    ) -> tuple[dict[str, Outcome], dict[str, str]]:
        """By run, what became of its chunk, or why it can never be stored."""
        writes = [
            Write(base=None, document=CHUNK.encode(growth.chunk)) for growth in growths.values()
        ]
        outcomes: Sequence[Outcome | None]
        unstorable: dict[str, str] = {}
        try:
            outcomes = await self._parts.store.commit(CHUNKS.name, writes)
        except Unstorable as error:
            outcomes = error.outcomes
            unstorable = {
                run: error.reasons[growth.chunk.id]
                for run, growth in growths.items()
                if growth.chunk.id in error.reasons
            }
        pairs = zip(growths, outcomes, strict=True)
        return {run: outcome for run, outcome in pairs if outcome is not None}, unstorable
