"""Answering reports: fence, extend the chains, commit, and only then say what is stored."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from trialbus.contracts.chunks import ChunkReply
from trialbus.contracts.collections import CHUNKS
from trialbus.contracts.documents import CHUNK
from trialbus.kernel.errors import Poison
from trialbus.kernel.ids import RunKey
from trialbus.ports.bus import Request
from trialbus.ports.store import Outcome, Unstorable, Write
from trialbus.runtime.parts import Parts
from trialbus_metrics_collector.app.experiments import Experiments, Seen
from trialbus_metrics_collector.app.notices import Notices, notices_of
from trialbus_metrics_collector.app.reports import RunReport, parse, refused
from trialbus_metrics_collector.app.tails import Tails
from trialbus_metrics_collector.core.chain import Accepted, Report, Tail, extend
from trialbus_metrics_collector.core.fencing import refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """After the commit. tails: where each chain ends. unstorable: by run, why."""

    tails: Mapping[str, Tail]
    unstorable: Mapping[str, str]


class Collector:
    """One group of reports at a time. Raises Transient when the store is away: no answer is
    given then, and the senders repeat."""

    def __init__(
        self, parts: Parts, experiments: Experiments, tails: Tails, notices: Notices
    ) -> None:
        self._parts = parts
        self._experiments = experiments
        self._tails = tails
        self._notices = notices

    async def respond(self, requests: Sequence[Request]) -> list[bytes]:
        """The answers, in order."""
        answers: dict[int, bytes] = {}
        parsed = self._parse(requests, answers)
        seen = await self._experiments.look({said.run.uid for said in parsed.values()})
        taken = self._fence(parsed, seen, answers)
        stored = await self._store(taken, seen)
        for number, said in taken.items():
            answers[number] = _answer(stored, str(said.run))
        return [answers[number] for number in range(len(requests))]

    def _parse(
        self, requests: Sequence[Request], answers: dict[int, bytes]
    ) -> dict[int, RunReport]:
        parsed = {}
        for number, request in enumerate(requests):
            try:
                parsed[number] = parse(request.data)
            except Poison as poison:
                self._parts.telemetry.dead_letters.inc()
                self._parts.telemetry.log.warning(
                    "unreadable report", subject=request.subject, reason=str(poison)
                )
                answers[number] = refused(str(poison))
        return parsed

    def _fence(
        self,
        parsed: Mapping[int, RunReport],
        seen: Mapping[str, Seen],
        answers: dict[int, bytes],
    ) -> dict[int, RunReport]:
        taken = {}
        for number, said in parsed.items():
            experiment = seen.get(said.run.uid)
            why = refusal(None if experiment is None else experiment.open, said.run)
            if why is None:
                taken[number] = said
            else:
                self._parts.telemetry.stale.inc()
                answers[number] = refused(why)
        return taken

    async def _store(self, taken: Mapping[int, RunReport], seen: Mapping[str, Seen]) -> _Stored:
        by_run: dict[RunKey, list[Report]] = {}
        for said in taken.values():
            by_run.setdefault(said.run, []).append(said.report)
        now = self._parts.clock.now()
        tails = await self._ends(by_run)
        growths = {
            str(run): growth
            for run, reports in by_run.items()
            if (growth := _first_growth(tails[str(run)], run, reports, now)) is not None
        }
        stored, unstorable = await self._commit(growths)
        for run in stored:
            self._tails.remember(run, growths[run].tail)
            tails[run] = growths[run].tail
        lost = growths.keys() - stored - unstorable.keys()
        tails |= await self._tails.read(sorted(lost))
        self._tell([growths[run] for run in stored], seen)
        return _Stored(tails=tails, unstorable=unstorable)

    async def _ends(self, by_run: Mapping[RunKey, Sequence[Report]]) -> dict[str, Tail]:
        """Where the chains end, so far as that matters: the commit has the last word, so a chain
        that nobody here knows is taken as empty when a report starts at its beginning."""
        ends: dict[str, Tail] = {}
        unknown = []
        for key, reports in by_run.items():
            run = str(key)
            known = self._tails.known(run)
            if known is None and reports[0].from_byte == 0 and reports[0].extends:
                ends[run] = Tail()
            elif known is None or _shows_that_it_is_behind(known, reports):
                unknown.append(run)
            else:
                ends[run] = known
        return ends | await self._tails.read(unknown)

    async def _commit(self, growths: Mapping[str, Accepted]) -> tuple[list[str], dict[str, str]]:
        """Runs whose chunk is stored, in order; and why others can never be."""
        writes = [
            Write(base=None, document=CHUNK.encode(growth.chunk)) for growth in growths.values()
        ]
        if not writes:
            return [], {}
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
        stored = [run for run, outcome in pairs if outcome is Outcome.DONE]
        self._parts.telemetry.conflicts.inc(len(growths) - len(stored) - len(unstorable))
        return stored, unstorable

    def _tell(self, stored: Iterable[Accepted], seen: Mapping[str, Seen]) -> None:
        abouts = {uid: it.about for uid, it in seen.items()}
        chunks = [growth.chunk for growth in stored]
        self._notices.add(notices_of(chunks, abouts, self._parts.clock.now()))


def _shows_that_it_is_behind(known: Tail, reports: Sequence[Report]) -> bool:
    """A sender that is ahead was told so by another replica; one that asks wants the truth."""
    if any(not report.extends for report in reports):
        return True
    return not known.final and all(report.from_byte > known.to_byte for report in reports)


def _first_growth(
    tail: Tail, run: RunKey, reports: Sequence[Report], now: float
) -> Accepted | None:
    """At most one chunk of a run is taken from a group: writes of a group succeed one by one, so
    a second could be stored where the first was not."""
    for report in reports:
        result = extend(tail, run, report, now)
        if isinstance(result, Accepted):
            return result
    return None


def _answer(stored: _Stored, run: str) -> bytes:
    why = stored.unstorable.get(run)
    if why is not None:
        return refused(why)
    tail = stored.tails[run]
    return ChunkReply(stored_to=tail.to_byte, final=tail.final).to_bytes()
