"""Leases end: told, given back, taken back or lost. The run's own document says which was first."""

from collections import Counter, OrderedDict
from collections.abc import Collection, Mapping, Sequence

from pydantic import ValidationError

from trialbus.contracts import subjects
from trialbus.contracts.chunks import ChunkReply, ChunkReport, PushedPoint, PushReply, PushReport
from trialbus.contracts.collections import CHUNKS, RUNS
from trialbus.contracts.documents import RUN, Document
from trialbus.kernel.errors import Transient
from trialbus.kernel.ids import chunk_id
from trialbus.kernel.limits import MAX_REMEMBERED_LEASES, REQUEST_TIMEOUT_S
from trialbus.kernel.run import Run
from trialbus.ports.bus import Request
from trialbus.ports.store import Outcome, Query, Write
from trialbus.runtime import metrics
from trialbus.runtime.parts import Parts
from trialbus.runtime.shared_gauges import SharedGauges
from trialbus_trial_launcher.app.leasing.notices import Notices
from trialbus_trial_launcher.app.run_spans import tell_runs
from trialbus_trial_launcher.core.leases import Place, lost, never_leased, stopped
from trialbus_trial_launcher.core.run_outcomes import outcome_of

_EXPIRE_EVERY_S = 1.0
_EXPIRED_AT_ONCE = 500
# How many there are, of all replicas' together, is asked so often.
_TELL_EVERY_S = 5.0
# Where such runs are, in metrics.
WORKER = "worker"
# Of the metrics that come with a run's end: the same end twice is one push.
_TOLD = "told"


class Ending:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.notices = Notices(parts)
        # Living runs as this process committed them last.
        self._remembered: OrderedDict[str, Run] = OrderedDict()
        # By id, the version that cannot be read: corrected, it can.
        self._unreadable: dict[str, int] = {}
        self._held = SharedGauges(parts.telemetry, metrics.LEASES)

    async def runs(
        self, run_ids: Collection[str], *, remembered: Collection[str] = ()
    ) -> dict[str, Run]:
        """As they are now. remembered: of these it will do as they were when this process changed
        them last, because a commit follows that tells if they are others by now. Raises Transient,
        as all here does."""
        known = {key: self._remembered[key] for key in remembered if key in self._remembered}
        unknown = [key for key in run_ids if key not in known]
        documents = await self._parts.store.get_many(RUNS.name, unknown) if unknown else {}
        return known | {key: RUN.decode(document) for key, document in documents.items()}

    async def reported(self, runs: Collection[Run]) -> frozenset[str]:
        """Ids of those that have reported anything: they have a first chunk."""
        firsts = {chunk_id(run.id, 0): run.id for run in runs}
        if not firsts:
            return frozenset()
        found = await self._parts.store.get_many(CHUNKS.name, firsts, fields=("run",))
        return frozenset(firsts[key] for key in found)

    async def commit(
        self, changes: Sequence[tuple[Run, Run]], claims: Sequence[Run] = ()
    ) -> frozenset[str]:
        """Change runs (before, after) and make new ones, in one group; ids of those that are as
        wanted now. Who is absent lost a race."""
        if not changes and not claims:
            return frozenset()
        writes = [
            Write(base=RUN.encode(before), document=RUN.encode(after)) for before, after in changes
        ]
        writes += [Write(base=None, document=RUN.encode(run)) for run in claims]
        wanted = [*(after for _, after in changes), *claims]
        for run in wanted:
            self._remembered.pop(run.id, None)
        outcomes = await self._parts.store.commit(RUNS.name, writes)
        done = [
            run for run, outcome in zip(wanted, outcomes, strict=True) if outcome is Outcome.DONE
        ]
        self._parts.telemetry.add(metrics.CONFLICTS, len(wanted) - len(done))
        self._count(done)
        self._remember(done)
        tell_runs(self._parts.telemetry.tracing, done)
        self.notices.add(done)
        return frozenset(run.id for run in done)

    def _count(self, done: Sequence[Run]) -> None:
        for outcome, count in Counter(outcome_of(run) for run in done if run.ended).items():
            self._parts.telemetry.add(metrics.RUNS_ENDED, count, place=WORKER, outcome=outcome)

    def _remember(self, runs: Sequence[Run]) -> None:
        self._remembered.update((run.id, run) for run in runs if not run.ended)
        while len(self._remembered) > MAX_REMEMBERED_LEASES:
            self._remembered.popitem(last=False)

    async def close_chain(self, run: Run, metrics: Mapping[str, float]) -> str | None:
        """Of a run that has reported: store its last metrics and make its chain complete. Returns
        why the collector refuses, if it does."""
        points = tuple(PushedPoint(metric=name, value=value) for name, value in metrics.items())
        if points:
            refused = await self.push(run, PushReport(points=points, id=_TOLD))
            if refused is not None:
                return refused
        report = ChunkReport(run=run.id, from_byte=0, to_byte=0, final=True)
        subject = subjects.metric(run.namespace, run.experiment, run.trial)
        request = Request(subject=subject, data=report.to_bytes())
        answer = await self._parts.bus.request(request, timeout_s=REQUEST_TIMEOUT_S)
        return ChunkReply.from_bytes(answer).refused

    async def push(self, run: Run, report: PushReport) -> str | None:
        """Why it is refused for ever; None: it is stored."""
        named = report.model_copy(update={"uid": run.uid, "attempt": run.attempt})
        subject = subjects.push(run.namespace, run.experiment, run.trial)
        request = Request(subject=subject, data=named.to_bytes())
        answer = await self._parts.bus.request(request, timeout_s=REQUEST_TIMEOUT_S)
        reply = PushReply.from_bytes(answer)
        if not reply.accepted and reply.refused is None:
            raise Transient("the metrics may not be stored")
        return reply.refused

    async def stop(self, wanted: Mapping[str, tuple[Place, str]]) -> None:
        """Take back what must not go on. wanted: run id -> its place, and why."""
        if not wanted:
            return
        now = self._parts.clock.now()
        there = await self.runs(list(wanted))
        await self._never_give([it for run_id, it in wanted.items() if run_id not in there], now)
        alive = [run for run in there.values() if not run.ended]
        reported = await self.reported(alive)
        for run in alive:
            if run.id in reported:
                # Refused: the experiment wants nothing more of it.
                await self.close_chain(run, {})
        await self.commit(
            [
                (run, stopped(run, wanted[run.id][1], now, reported=run.id in reported))
                for run in alive
            ]
        )

    async def _never_give(self, places: Sequence[tuple[Place, str]], now: float) -> None:
        runs = [never_leased(place, reason, now) for place, reason in places]
        await self.commit((), runs)

    async def expire(self) -> None:
        """For ever: runs whose workers are silent are lost."""
        while True:
            await self._parts.clock.sleep(_EXPIRE_EVERY_S)
            try:
                await self._expire_due()
            except Transient as error:
                self._parts.telemetry.log.warning("leases wait for the store", error=str(error))

    async def _expire_due(self) -> None:
        now = self._parts.clock.now()
        found = await self._due(now)
        due = [run for document in found if (run := self._readable(document)) is not None]
        done = await self.commit([(run, lost(run, now)) for run in due])
        self._parts.telemetry.add(metrics.LEASE_LOSSES, len(done))

    async def _due(self, now: float) -> list[Document]:
        """Those whose leases ended first, but for those that are known to be unreadable: however
        many these are, they come first for ever."""
        known = self._unreadable
        limit = _EXPIRED_AT_ONCE + len(known)
        query = Query(
            below={"lease_until": now}, order="lease_until", limit=limit, fields=("version",)
        )
        found = await self._parts.store.find(RUNS.name, query)
        if known and len(found) < limit:
            # Some were corrected, or have gone with their experiments.
            there = {str(it["_id"]) for it in found}
            known = self._unreadable = {key: it for key, it in known.items() if key in there}
        keys = [key for it in found if known.get(key := str(it["_id"])) != it.get("version")]
        if not keys:
            return []
        documents = await self._parts.store.get_many(RUNS.name, keys[:_EXPIRED_AT_ONCE])
        return list(documents.values())

    async def tell_held(self) -> None:
        """For ever: how many leases there are."""
        while True:
            await self._parts.clock.sleep(_TELL_EVERY_S)
            try:
                with self._held.look():
                    query = Query(above={"lease_until": 0.0})
                    held = await self._parts.store.count(RUNS.name, query)
                    self._parts.telemetry.set(metrics.LEASES, held)
            except Transient as error:
                self._parts.telemetry.log.debug("leases are not known", error=str(error))

    def _readable(self, document: Document) -> Run | None:
        """None: it is said once, and the others are not to wait for it."""
        try:
            return RUN.decode(document)
        except ValidationError as error:
            key, version = str(document["_id"]), document["version"]
            if self._unreadable.get(key) != version:
                self._unreadable[key] = version
                self._parts.telemetry.log.error("unreadable run", id=key, error=str(error))
            return None
