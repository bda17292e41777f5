"""Metric points as they are stored: an insert-only chain of chunks per run.

A chunk covers the positions [from_byte, to_byte) of its run's chain and is taken only where the
chain ends, so a repeat is refused and a gap cannot arise. A position is a byte of the run's output
or a pushed point: what a trial's own code pushes takes its place where the chain ends just then, a
position for each point. Each chunk carries the summary of the whole run so far; the final one is
the run's observation.
"""

from dataclasses import dataclass

from trialbus.kernel.ids import chunk_id
from trialbus.kernel.measurements import Summary
from trialbus.kernel.run import Run
from trialbus.kernel.trial import MetricValues


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Points of one metric in order. first_step: 1-based ordinal of its first number among the
    run's numbers of this metric: texts are no steps. values, times: same length; times in seconds
    since the epoch. texts: empty where all are numbers; else as long, "" of numbers, whose value is
    NaN otherwise."""

    metric: str
    first_step: int
    values: tuple[float, ...]
    times: tuple[float, ...]
    texts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSummary:
    """A metric's name beside its summary (names are data, not document keys)."""

    metric: str
    summary: Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """final: the run has ended and nothing follows. final_run: the run's id on the final chunk,
    None on others (a unique, sparse index finds observations by it). pushed: points that were
    pushed so far; the chain's output ends at byte to_byte - pushed. push: the key of the push that
    this chunk holds, None when it is output (a unique, sparse index lets each push in once)."""

    id: str
    uid: str
    run: str
    version: int
    from_byte: int
    to_byte: int
    series: tuple[Series, ...]
    summaries: tuple[MetricSummary, ...]
    final: bool
    final_run: str | None
    stored_at: float
    pushed: int = 0
    push: str | None = None

    @property
    def metric_values(self) -> tuple[MetricValues, ...]:
        """The observation as trials and experiments show it."""
        return tuple(
            MetricValues(
                name=item.metric,
                min=item.summary.min,
                max=item.summary.max,
                latest=item.summary.latest,
                text=item.summary.text,
            )
            for item in self.summaries
        )


def told_chunk(run: Run) -> Chunk | None:
    """What a worker told with its trial's end and nothing before it, as the chunk that it would
    be; None: there is no such thing. It is kept with the run alone."""
    if not run.told or run.finished_at is None:
        return None
    series = tuple(
        Series(metric=it.name, first_step=1, values=(it.latest,), times=(run.finished_at,))
        for it in run.told
    )
    return Chunk(
        id=chunk_id(run.id, 0),
        uid=run.uid,
        run=run.id,
        version=1,
        from_byte=0,
        to_byte=0,
        series=series,
        summaries=(),
        final=True,
        final_run=run.id,
        stored_at=run.finished_at,
    )
