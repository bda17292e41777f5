"""A trial's metric points, joined from the chain of its chunks."""

from dataclasses import dataclass, field

from trialbus.contracts.collections import CHUNKS
from trialbus.contracts.documents import CHUNK
from trialbus.kernel.chunks import Chunk
from trialbus.kernel.ids import run_id
from trialbus.kernel.trial import Trial
from trialbus.ports.store import Query
from trialbus.runtime.parts import Parts
from trialbus_gateway.app.documents import Documents
from trialbus_gateway.core.trial_story import TrialFacts

_CHUNKS_PER_READ = 200
# About 10 MB of JSON; a display has no use for more.
MAX_POINTS = 200_000
_POINT_CHARS = 50


@dataclass(slots=True)
class JoinedSeries:
    """One metric: steps (1-based), values and times (seconds since the epoch), same lengths. A
    value is a number or a text."""

    name: str
    steps: list[int] = field(default_factory=list)
    values: list[float | str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialMetrics:
    """truncated: there are more points than are shown."""

    trial: str
    attempt: int
    metrics: tuple[JoinedSeries, ...]
    truncated: bool


class Metrics:
    def __init__(self, parts: Parts) -> None:
        self._store = parts.store
        self._documents = Documents(parts.store)

    async def of(self, trial: Trial) -> TrialMetrics:
        """Of its newest attempt, metrics in the order of their first points."""
        states = await self._documents.experiments([trial.uid])
        attempt = TrialFacts(trial=trial, experiment=states.get(trial.uid)).attempt
        prefix = f"{run_id(trial.uid, trial.index, attempt)}@"
        series: dict[str, JoinedSeries] = {}
        points, last, full = 0, prefix, True
        while full and points <= MAX_POINTS:
            query = Query(prefix=prefix, above={"_id": last}, order="_id", limit=_CHUNKS_PER_READ)
            found = await self._store.find(CHUNKS.name, query)
            for document in found:
                points += _join(series, CHUNK.decode(document))
                last = str(document["_id"])
            full = len(found) == _CHUNKS_PER_READ
        return TrialMetrics(
            trial=trial.name, attempt=attempt, metrics=tuple(series.values()), truncated=full
        )


def _join(joined: dict[str, JoinedSeries], chunk: Chunk) -> int:
    """How many points were added; a long text is as much as several."""
    long_texts = 0
    for series in chunk.series:
        target = joined.setdefault(series.metric, JoinedSeries(series.metric))
        # All chunks are read, from the first on.
        known = len(target.steps)
        target.steps.extend(range(known + 1, known + 1 + len(series.values)))
        if series.texts:
            long_texts += sum(map(len, series.texts)) // _POINT_CHARS
            pairs = zip(series.texts, series.values, strict=True)
            target.values.extend(text or value for text, value in pairs)
        else:
            target.values.extend(series.values)
        target.times.extend(series.times)
    return long_texts + sum(len(series.values) for series in chunk.series)
