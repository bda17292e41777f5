"""Trials' metric points, joined from the chains of their chunks: raw, in part, or thinned out."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from trialbus.contracts.collections import CHUNKS, RUNS
from trialbus.contracts.documents import CHUNK, RUN
from trialbus.kernel.chunks import Chunk, Series, told_chunk
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.ids import run_id
from trialbus.kernel.trial import Trial
from trialbus.ports.store import Query
from trialbus.runtime.parts import Parts
from trialbus_gateway.app.documents import Documents
from trialbus_gateway.app.readable import read
from trialbus_gateway.core.thinning import CurvePoint, Thinned
from trialbus_gateway.core.trial_story import TrialFacts

# At a time in memory: about 2 MB.
_CHUNKS_PER_READ = 50
# About 10 MB of JSON; a display has no use for more.
MAX_POINTS = 200_000
_POINT_CHARS = 50
# Looked at for one answer of thinned points, over all its trials: a few seconds.
MAX_POINTS_READ = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsWanted:
    """metrics: by name, empty: all. points: of each metric at most so many, None: all. Steps are
    inclusive, None: no bound."""

    metrics: frozenset[str] = frozenset()
    points: int | None = None
    step_from: int | None = None
    step_to: int | None = None

    def holds(self, step: int) -> bool:
        return (self.step_from is None or step >= self.step_from) and (
            self.step_to is None or step <= self.step_to
        )


EVERY_POINT = MetricsWanted()


@dataclass(slots=True)
class JoinedSeries:
    """One metric: steps (1-based), values and times (seconds since the epoch), same lengths. A
    value is a number or a text. count: points within the wanted steps, shown or not."""

    name: str
    steps: list[int] = field(default_factory=list)
    values: list[float | str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialMetrics:
    """truncated: there are more points than were looked at."""

    trial: str
    attempt: int
    metrics: tuple[JoinedSeries, ...]
    truncated: bool


@dataclass(slots=True)
class _Budget:
    """Points that may still be looked at."""

    left: int


class Metrics:
    def __init__(self, parts: Parts) -> None:
        self._store = parts.store
        self._documents = Documents(parts.store)

    async def of(self, trial: Trial, wanted: MetricsWanted = EVERY_POINT) -> TrialMetrics:
        """Of its newest attempt, metrics in the order of their first points."""
        states = await self._documents.experiments([trial.uid])
        return await self._of(trial, states.get(trial.uid), wanted, _budget(wanted))

    async def of_many(
        self, trials: Sequence[Trial], state: Experiment, wanted: MetricsWanted
    ) -> list[TrialMetrics]:
        """Of trials of one experiment, one after the other: never more than one chain's page in
        memory, beside what is shown."""
        budget = _budget(wanted)
        return [await self._of(trial, state, wanted, budget) for trial in trials]

    async def _of(
        self, trial: Trial, state: Experiment | None, wanted: MetricsWanted, budget: _Budget
    ) -> TrialMetrics:
        attempt = TrialFacts(trial=trial, experiment=state).attempt
        joined: dict[str, _Joining] = {}
        truncated = False
        async for chunk in self._chain(run_id(trial.uid, trial.index, attempt)):
            if budget.left < 0:
                truncated = True
                break
            for series in chunk.series:
                if not wanted.metrics or series.metric in wanted.metrics:
                    joining = joined.setdefault(series.metric, _Joining(series.metric, wanted))
                    budget.left -= joining.join(series)
            if _is_complete(joined, wanted):
                break
        return TrialMetrics(
            trial=trial.name,
            attempt=attempt,
            metrics=tuple(joining.joined() for joining in joined.values()),
            truncated=truncated,
        )

    async def _chain(self, run: str) -> AsyncIterator[Chunk]:
        prefix = f"{run}@"
        last, full = prefix, True
        while full:
            query = Query(prefix=prefix, above={"_id": last}, order="_id", limit=_CHUNKS_PER_READ)
            found = await self._store.find(CHUNKS.name, query)
            for document in found:
                chunk = read(CHUNK, document)
                if chunk is not None:
                    yield chunk
                last = str(document["_id"])
            full = len(found) == _CHUNKS_PER_READ
        if last == prefix:
            told = await self._told(run)
            if told is not None:
                yield told

    async def _told(self, run: str) -> Chunk | None:
        documents = await self._store.get_many(RUNS.name, [run])
        found = read(RUN, documents[run]) if run in documents else None
        return None if found is None else told_chunk(found)


class _Joining:
    """One metric, put together chunk by chunk, all of them, from the first on."""

    def __init__(self, name: str, wanted: MetricsWanted) -> None:
        self.known = 0
        self._series = JoinedSeries(name)
        self._wanted = wanted
        self._is_whole = wanted.step_from is None and wanted.step_to is None
        self._thinned = None if wanted.points is None else Thinned(most=wanted.points)

    def join(self, series: Series) -> int:
        """How many points were looked at; a long text is as much as several."""
        values: Sequence[float | str] = series.values
        size = len(values)
        if series.texts:
            size += sum(map(len, series.texts)) // _POINT_CHARS
            pairs = zip(series.texts, series.values, strict=True)
            values = [text or value for text, value in pairs]
        first, self.known = self.known + 1, self.known + len(values)
        if self._thinned is None and self._is_whole:
            self._extend(first, values, series.times)
            return size
        for step, value, at in zip(range(first, self.known + 1), values, series.times, strict=True):
            if self._wanted.holds(step):
                self._add(CurvePoint(step, value, at))
        return size

    def joined(self) -> JoinedSeries:
        if self._thinned is None:
            self._series.count = len(self._series.steps)
            return self._series
        for point in self._thinned.points():
            self._append(point)
        self._series.count = self._thinned.count
        return self._series

    def _extend(self, first: int, values: Sequence[float | str], times: Sequence[float]) -> None:
        self._series.steps.extend(range(first, first + len(values)))
        self._series.values.extend(values)
        self._series.times.extend(times)

    def _add(self, point: CurvePoint) -> None:
        if self._thinned is None:
            self._append(point)
        else:
            self._thinned.add(point)

    def _append(self, point: CurvePoint) -> None:
        self._series.steps.append(point.step)
        self._series.values.append(point.value)
        self._series.times.append(point.at)


def _budget(wanted: MetricsWanted) -> _Budget:
    return _Budget(MAX_POINTS if wanted.points is None else MAX_POINTS_READ)


def _is_complete(joined: dict[str, _Joining], wanted: MetricsWanted) -> bool:
    """Whether all that was asked for by name is behind the last step."""
    if wanted.step_to is None or not wanted.metrics or joined.keys() < wanted.metrics:
        return False
    return all(joining.known >= wanted.step_to for joining in joined.values())
