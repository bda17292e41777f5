"""Answering reports: fence, extend the chains, commit, and only then say what is stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trialbus.contracts.chunks import ChunkReply
from trialbus.kernel.errors import Poison
from trialbus.kernel.ids import RunKey
from trialbus.kernel.limits import MAX_COMMIT_RETRIES
from trialbus.ports.bus import Request
from trialbus.runtime import metrics
from trialbus.runtime.parts import Parts
from trialbus_metrics_collector.app.chains import Chains
from trialbus_metrics_collector.app.counting import points_of
from trialbus_metrics_collector.app.experiments import Experiments, Seen
from trialbus_metrics_collector.app.reports import RunReport, Unfit, parse, refused
from trialbus_metrics_collector.core.chain import (
    Accepted,
    AlreadyStored,
    Gap,
    Report,
    Tail,
    extend,
    misfit_of,
)
from trialbus_metrics_collector.core.fencing import refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """After the commit. tails: where each chain ends. taken: by run, the report that is stored.
    unstorable: by run, why."""

    tails: Mapping[str, Tail]
    taken: Mapping[str, Report]
    unstorable: Mapping[str, str]


class Collector:
    """One group of reports at a time. Raises Transient when the store is away: no answer is
    given then, and the senders repeat."""

    def __init__(self, parts: Parts, experiments: Experiments, chains: Chains) -> None:
        self._parts = parts
        self._experiments = experiments
        self._chains = chains
        self._tails = chains.tails
        self._counting = chains.counting

    async def respond(self, requests: Sequence[Request]) -> list[bytes]:
        """The answers, in order."""
        answers: dict[int, bytes] = {}
        parsed = self._parse(requests, answers)
        seen = await self._experiments.look({said.run.uid for said in parsed.values()})
        taken = self._fence(parsed, seen, answers)
        stored = await self._store(taken, seen)
        self._count(taken, stored)
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
                self._parts.telemetry.add(metrics.DEAD_LETTERS)
                self._parts.telemetry.log.warning(
                    "unreadable report", subject=request.subject, reason=str(poison)
                )
                unfit = poison.points if isinstance(poison, Unfit) else 0
                self._counting.refused("invalid", unfit)
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
                self._parts.telemetry.add(metrics.STALE)
                if said.report.extends:
                    self._counting.refused("stale", points_of(said.report.series))
                answers[number] = refused(why)
        return taken

    async def _store(self, taken: Mapping[int, RunReport], seen: Mapping[str, Seen]) -> _Stored:
        by_run: dict[RunKey, list[Report]] = {}
        for said in taken.values():
            by_run.setdefault(said.run, []).append(said.report)
        tails = await self._ends(by_run)
        stored: dict[str, Report] = {}
        unstorable: dict[str, str] = {}
        for _ in range(MAX_COMMIT_RETRIES):
            fitting = self._growths(by_run, tails)
            if not fitting:
                break
            growths = {run: growth for run, (_, growth) in fitting.items()}
            grown = await self._chains.grow(growths, seen)
            stored |= {run: fitting[run][0] for run in grown.stored}
            tails |= grown.tails
            unstorable |= grown.unstorable
            # Where a push was faster, the report still fits behind it.
            by_run = {run: reports for run, reports in by_run.items() if str(run) in grown.lost}
        return _Stored(tails=tails, taken=stored, unstorable=unstorable)

    def _count(self, said: Mapping[int, RunReport], stored: _Stored) -> None:
        """What was not stored; one that would fit now is sent again, and is counted then."""
        for each in said.values():
            run, report = str(each.run), each.report
            if stored.taken.get(run) is report or not report.extends:
                continue
            if run in stored.unstorable:
                self._counting.refused("invalid", points_of(report.series))
                continue
            match misfit_of(stored.tails[run], report):
                case AlreadyStored():
                    self._counting.repeated(points_of(report.series))
                case Gap():
                    self._counting.gap()
                case None:
                    pass

    def _growths(
        self, by_run: Mapping[RunKey, Sequence[Report]], tails: Mapping[str, Tail]
    ) -> dict[str, tuple[Report, Accepted]]:
        now = self._parts.clock.now()
        found = {
            str(run): _first_growth(tails[str(run)], run, reports, now)
            for run, reports in by_run.items()
        }
        return {run: growth for run, growth in found.items() if growth is not None}

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


def _shows_that_it_is_behind(known: Tail, reports: Sequence[Report]) -> bool:
    """A sender that is ahead was told so by another replica; one that asks wants the truth."""
    if any(not report.extends for report in reports):
        return True
    return not known.final and all(report.from_byte > known.output_byte for report in reports)


def _first_growth(
    tail: Tail, run: RunKey, reports: Sequence[Report], now: float
) -> tuple[Report, Accepted] | None:
    """At most one chunk of a run is taken from a group: writes of a group succeed one by one, so
    a second could be stored where the first was not."""
    for report in reports:
        result = extend(tail, run, report, now)
        if isinstance(result, Accepted):
            return report, result
    return None


def _answer(stored: _Stored, run: str) -> bytes:
    why = stored.unstorable.get(run)
    if why is not None:
        return refused(why)
    tail = stored.tails[run]
    return ChunkReply(stored_to=tail.output_byte, final=tail.final).to_bytes()
