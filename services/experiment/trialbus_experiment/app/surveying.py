"""How many experiments and trials there are, and what waits: read from the store every few seconds.

Each replica tells the same. What lives is read in a few fields; of what is over only what has ended
or gone since the last look, by an index. So a look costs what is alive and new, not what there is;
once in ten minutes all is added up anew.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from trialbus.contracts.collections import CHUNKS, EXPERIMENTS, RUNS
from trialbus.contracts.documents import Document, DocumentCodec
from trialbus.kernel.errors import Transient
from trialbus.kernel.experiment import Counts, ExperimentPhase
from trialbus.kernel.limits import LATE_WRITE_S
from trialbus.kernel.run import RunPhase, is_told_running
from trialbus.ports.store import Query
from trialbus.runtime import metrics
from trialbus.runtime.metric import Metric
from trialbus.runtime.parts import Parts
from trialbus.runtime.shared_gauges import SharedGauges
from trialbus_experiment.app.counting import Counting
from trialbus_experiment.app.living import LivingExperiments, readable
from trialbus_experiment.core.failing import Failing
from trialbus_experiment.core.overview import EndedSums, Living, Overview
from trialbus_experiment.core.silence import Silence
from trialbus_experiment.core.told_namespaces import first_namespaces, folded

INTERVAL_S = 12.0
RECOUNT_S = 600.0
# So that reading all holds up nothing else in this process.
_PAGE_EXPERIMENTS = 500
_PAGE_RUNS = 1000

_KEPT_PHASES = (ExperimentPhase.SUCCEEDED, ExperimentPhase.FAILED, ExperimentPhase.ARCHIVED)
_GAUGES = tuple(it for it in metrics.ALL if it.shared and "experiment" in it.services)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Over:
    id: str
    namespace: str
    phase: ExperimentPhase
    counts: Counts
    completed_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _SeenRun:
    id: str
    phase: RunPhase
    started_at: float | None = None
    stop_reason: str = ""


_OVER, _RUN = DocumentCodec(_Over), DocumentCodec(_SeenRun)
_OVER_FIELDS = ("namespace", "phase", "counts", "completed_at")
_RUN_FIELDS = ("phase", "started_at", "stop_reason")


class Surveying:
    """counting: what its process counts, by namespaces that are told here too."""

    def __init__(self, parts: Parts, counting: Counting) -> None:
        self._parts = parts
        self._counting = counting
        self._living = LivingExperiments(parts.store)
        self._gauges = SharedGauges(parts.telemetry, *_GAUGES)
        self._ended = EndedSums()
        self._failing, self._silence = Failing(), Silence()
        # Up to when the ended ones are known; None: not at all.
        self._known_until: float | None = None
        self._counted_at = 0.0

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                await self.look()
            except Transient as error:
                self._parts.telemetry.log.warning("survey waits", error=str(error))
            await self._parts.clock.sleep(INTERVAL_S)

    async def look(self) -> None:
        """Read, and tell it as gauges. Raises Transient."""
        with self._gauges.look():
            await self._look()

    async def _look(self) -> None:
        remembered = self._counting.remembered
        living = await self._living.read()
        for uid in remembered - living.keys():
            # Another replica has ended it.
            self._counting.forget(uid)
        # Read after the others: who is in both has ended meanwhile.
        over = await self._catch_up()
        for uid in living.keys() - over:
            self._ended.drop(uid)
        states = [state for uid, state in living.items() if uid not in over]
        runs = await self._read_runs(states)
        told = {
            key: is_told_running(it.phase, it.started_at, it.stop_reason)
            for key, it in runs.items()
        }
        self._tell(Overview(states, self._ended, told, self._parts.clock.now()))
        telemetry = self._parts.telemetry
        telemetry.set(metrics.FAILING, self._failing.look(states))
        # Last: one after the other, which a slow store makes long.
        silences = await self._ask_after(runs)
        telemetry.set(metrics.SILENT_TRIALS, len(silences))
        telemetry.set(metrics.OLDEST_SILENCE, max(silences, default=0.0))

    async def _catch_up(self) -> set[str]:
        """Take in what has ended or gone since the last look; who of them is over now."""
        now = self._parts.clock.now()
        if self._known_until is None or now - self._counted_at >= RECOUNT_S:
            fresh = EndedSums()
            over = await self._take_in(fresh, _KEPT_PHASES, 0.0)
            self._ended, self._counted_at = fresh, now
        else:
            phases = (*_KEPT_PHASES, ExperimentPhase.DELETED)
            over = await self._take_in(self._ended, phases, self._known_until)
        # What other processes commit may be seen late, and their clocks may differ.
        self._known_until = now - LATE_WRITE_S
        return over

    async def _take_in(
        self, sums: EndedSums, phases: Sequence[ExperimentPhase], since: float
    ) -> set[str]:
        seen: set[str] = set()
        for phase in phases:
            start, limit = since, _PAGE_EXPERIMENTS
            while True:
                page = await self._page(phase, start, limit)
                for it in readable(_OVER, page):
                    _put(sums, it)
                    seen.add(it.id)
                if len(page) < limit:
                    break
                last = float(page[-1]["completed_at"])
                # More than a page may have ended at one instant.
                limit = _PAGE_EXPERIMENTS if last > start else 2 * limit
                start = last
        return seen

    async def _page(self, phase: ExperimentPhase, start: float, limit: int) -> list[Document]:
        return await self._parts.store.find(
            EXPERIMENTS.name,
            Query(
                equals={"phase": phase.value},
                at_least={"completed_at": start},
                order="completed_at",
                limit=limit,
                fields=_OVER_FIELDS,
            ),
        )

    async def _read_runs(self, states: Collection[Living]) -> Mapping[str, _SeenRun]:
        wanted = [run for state in states for run, _ in state.runs]
        seen: dict[str, _SeenRun] = {}
        for begin in range(0, len(wanted), _PAGE_RUNS):
            page = wanted[begin : begin + _PAGE_RUNS]
            found = await self._parts.store.get_many(RUNS.name, page, fields=_RUN_FIELDS)
            seen |= {run.id: run for run in readable(_RUN, found.values())}
        return seen

    async def _ask_after(self, runs: Mapping[str, _SeenRun]) -> list[float]:
        """For how long each running trial that reports nothing has been silent."""
        running = {
            key: it.started_at
            for key, it in runs.items()
            if it.phase is RunPhase.RUNNING and it.started_at is not None
        }
        due = self._silence.due(running, self._parts.clock.now())
        reported = {key: await self._reported_at(key) for key in due}
        now = self._parts.clock.now()
        self._silence.hear(reported, now)
        return self._silence.lasting(now)

    async def _reported_at(self, run: str) -> float | None:
        newest = Query(prefix=f"{run}@", order="-_id", limit=1, fields=("stored_at",))
        found = await self._parts.store.find(CHUNKS.name, newest)
        return float(found[0]["stored_at"]) if found else None

    def _tell(self, overview: Overview) -> None:
        telemetry = self._parts.telemetry
        self._set_all(metrics.EXPERIMENTS, overview.experiments)
        self._set_all(metrics.TRIALS, overview.trials)
        self._set_all(metrics.STALLED, overview.stalled)
        self._set_all(metrics.OLDEST_WAIT, overview.waits_s)
        telemetry.set(metrics.OLDEST_STALL, overview.oldest_stall_s)
        telemetry.set(metrics.POINTS_AHEAD, overview.points_ahead)
        namespaces = {key[0] for key in overview.katib_experiments}
        self._counting.begin(namespaces)
        own = first_namespaces(namespaces)
        # As in Katib there are none of what there is nothing of.
        for metric, counted in (
            (metrics.KATIB_EXPERIMENTS, overview.katib_experiments),
            (metrics.KATIB_TRIALS, overview.katib_trials),
        ):
            told = folded(+counted, own)
            telemetry.replace(metric, {key: float(count) for key, count in told.items()})

    def _set_all(self, metric: Metric, values: Mapping[str, float]) -> None:
        """A gauge with one label, all of whose values are known: 0 where nothing is said."""
        [label] = metric.labels
        for value in label.values:
            self._parts.telemetry.set(metric, values.get(value, 0.0), **{label.name: value})


def _put(sums: EndedSums, over: _Over) -> None:
    if over.phase is ExperimentPhase.DELETED:
        sums.drop(over.id)
    else:
        sums.put(over.id, over.phase, over.namespace, over.counts)
