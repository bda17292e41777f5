"""What is counted of metric points: by chunk, for there are hundreds of thousands a second."""

from collections.abc import Iterable, Mapping, Sequence

from trialbus.kernel.chunks import Chunk, Series
from trialbus.kernel.errors import NotNow, NotThere, TooLarge
from trialbus.kernel.traces import kept
from trialbus.runtime import metrics
from trialbus.runtime.parts import Parts
from trialbus_metrics_collector.app.experiments import Seen
from trialbus_metrics_collector.core.chain import ReportedPoints


class Counting:
    """A commit whose result nobody knows counts as nothing; what its repeat finds is counted."""

    def __init__(self, parts: Parts) -> None:
        self._telemetry = parts.telemetry
        self._clock = parts.clock

    def stored(self, chunks: Sequence[Chunk], seen: Mapping[str, Seen]) -> None:
        """After the commit. seen: their experiments, by uid."""
        if not chunks:
            return
        self._telemetry.add(metrics.METRIC_CHUNKS, len(chunks), outcome="stored")
        points = sum(points_of(chunk.series) for chunk in chunks)
        if points:
            self._telemetry.add(metrics.METRIC_POINTS, points)
        now = self._clock.now()
        for chunk in chunks:
            experiment = seen[chunk.uid]
            at = _live_at(chunk.series, experiment)
            if at is not None:
                trace = kept(experiment.about.traceparent)
                self._telemetry.observe(metrics.REPORT_STORED, now - at, trace)

    def repeated(self, points: int) -> None:
        """A chunk came again."""
        self._telemetry.add(metrics.METRIC_CHUNKS, outcome="repeated")
        self._not_taken("repeated", points)

    def gap(self) -> None:
        """A chunk came too early: it is sent again, and so are its points."""
        self._telemetry.add(metrics.METRIC_CHUNKS, outcome="gap")

    def refused(self, reason: str, points: int) -> None:
        self._telemetry.add(metrics.METRIC_CHUNKS, outcome="refused")
        self._not_taken(reason, points)

    def _not_taken(self, reason: str, points: int) -> None:
        if points:
            self._telemetry.add(metrics.METRIC_REFUSED, points, reason=reason)


def reason_of(error: Exception) -> str:
    """Why a push is refused, as the label has it."""
    match error:
        case NotNow() | NotThere():
            return "stale"
        case TooLarge():
            return "limit"
        case _:
            return "invalid"


def points_of(series: Iterable[Series | ReportedPoints]) -> int:
    return sum(len(each.values) for each in series)


def _live_at(series: Sequence[Series], experiment: Seen) -> float | None:
    """When the chunk's first points were made; None: it has none, or tells of what was before the
    experiment."""
    if not series or experiment.about.imports:
        return None
    at = min(each.times[0] for each in series)
    return at if at >= experiment.about.created_at else None
