"""One run's chain of chunks: what a report of its output, or a push, adds to its end.

A report is taken only where the output ends that is in the chain, so repeats and other splits of
the same output are refused and a gap cannot arise. A sender goes on from the end that it is told.
A push is taken wherever the chain ends; its key lets it in once.

Law (property-tested): however a run's output is split, repeated and sent again from the answered
end, by however many senders and collectors, and whatever is pushed between, its points and those of
every push are stored once and in order.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from trialbus.kernel.chunks import Chunk, MetricSummary, Series
from trialbus.kernel.ids import RunKey, chunk_id
from trialbus.kernel.measurements import Summary, combine

# More digits than a chunk's id has would break the order of ids.
_MAX_BYTE = 10**15


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedPoints:
    """Points of one metric in the order of their lines; times in seconds since the epoch. texts:
    empty where all are numbers; else one per value, "" of numbers."""

    metric: str
    values: tuple[float, ...]
    times: tuple[float, ...]
    texts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The points of a run's output in [from_byte, to_byte). final: nothing follows."""

    from_byte: int
    to_byte: int
    series: tuple[ReportedPoints, ...] = ()
    final: bool = False

    @property
    def extends(self) -> bool:
        """Whether there is something to store; if not, it only asks where the chain ends."""
        return self.final or self.to_byte > self.from_byte


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """Points that came beside the output, at least one. key: the same push has the same."""

    key: str
    series: tuple[ReportedPoints, ...]

    @property
    def count(self) -> int:
        """Positions of the chain that it takes: one for each point."""
        return sum(len(points.values) for points in self.series)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """The end of a chain. to_byte: its position. pushed: how many positions before it are pushed
    points. summaries: by metric, of the whole run so far."""

    to_byte: int = 0
    pushed: int = 0
    final: bool = False
    summaries: Mapping[str, Summary] = field(default_factory=dict)

    @property
    def output_byte(self) -> int:
        """The output is in the chain up to here."""
        return self.to_byte - self.pushed


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The chain may grow by this chunk; after that it ends with `tail`."""

    chunk: Chunk
    tail: Tail


@dataclass(frozen=True, slots=True, kw_only=True)
class AlreadyStored:
    """Nothing to store: the output is known this far, or complete, or it was only asked."""

    to_byte: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """The output between here and the report is missing."""

    to_byte: int


def problem_of(report: Report) -> str | None:
    """Why no chain can take the report, if so."""
    if not 0 <= report.from_byte <= report.to_byte < _MAX_BYTE:
        return f"bytes {report.from_byte} to {report.to_byte} are no part of an output"
    if report.from_byte == report.to_byte and any(it.values for it in report.series):
        return "points without bytes"
    for points in report.series:
        if len(points.values) != len(points.times):
            return f"{points.metric}: {len(points.values)} values, {len(points.times)} times"
        if len(points.texts) not in (0, len(points.values)):
            return f"{points.metric}: {len(points.values)} values, {len(points.texts)} texts"
        if not all(map(math.isfinite, points.times)):
            return f"{points.metric}: a time is not finite"
    return None


def misfit_of(tail: Tail, report: Report) -> AlreadyStored | Gap | None:
    """Why the chain cannot grow by it; None: it can."""
    if tail.final or report.from_byte < tail.output_byte or not report.extends:
        return AlreadyStored(to_byte=tail.output_byte)
    if report.from_byte > tail.output_byte:
        return Gap(to_byte=tail.output_byte)
    return None


def extend(tail: Tail, run: RunKey, report: Report, now: float) -> Accepted | AlreadyStored | Gap:
    """What becomes of a report without a problem."""
    misfit = misfit_of(tail, report)
    if misfit is not None:
        return misfit
    length = report.to_byte - report.from_byte
    return _grow(tail, run, report.series, now, length=length, final=report.final)


def append(tail: Tail, run: RunKey, push: Push, now: float) -> Accepted | None:
    """What becomes of a push; None: the run has ended, nothing follows."""
    if tail.final:
        return None
    return _grow(tail, run, push.series, now, length=push.count, push=push.key)


def _grow(
    tail: Tail,
    run: RunKey,
    reported: Sequence[ReportedPoints],
    now: float,
    *,
    length: int,
    final: bool = False,
    push: str | None = None,
) -> Accepted:
    summaries = dict(tail.summaries)
    series = tuple(_add(summaries, points) for points in reported if points.values)
    after = Tail(
        to_byte=tail.to_byte + length,
        pushed=tail.pushed + (0 if push is None else length),
        final=final,
        summaries=summaries,
    )
    chunk = Chunk(
        id=chunk_id(str(run), tail.to_byte),
        uid=run.uid,
        run=str(run),
        version=1,
        from_byte=tail.to_byte,
        to_byte=after.to_byte,
        series=series,
        summaries=tuple(MetricSummary(metric=it, summary=summaries[it]) for it in summaries),
        final=final,
        final_run=str(run) if final else None,
        stored_at=now,
        pushed=after.pushed,
        push=push,
    )
    return Accepted(chunk=chunk, tail=after)


def _add(summaries: dict[str, Summary], points: ReportedPoints) -> Series:
    """Number the points and fold them into the summaries."""
    before = summaries.get(points.metric)
    own = _summary(points.values, points.times, points.texts)
    summaries[points.metric] = own if before is None else combine(before, own)
    return Series(
        metric=points.metric,
        first_step=1 if before is None else before.count + 1,
        values=points.values,
        times=points.times,
        texts=points.texts,
    )


def _summary(values: Sequence[float], times: Sequence[float], texts: Sequence[str] = ()) -> Summary:
    """What `measurements.observe` gives, a test says so, without an object per point."""
    numbers: Sequence[float] = values
    # Where the sum is a number, no value is NaN.
    if math.isnan(sum(values)):
        numbers = [value for value in values if not math.isnan(value)] or [math.nan]
    latest_at = max(times)
    newest = len(times) - 1 - times[::-1].index(latest_at)
    return Summary(
        count=len(values) if not texts else texts.count(""),
        min=min(numbers),
        max=max(numbers),
        latest=values[newest],
        first_at=min(times),
        latest_at=latest_at,
        text=texts[newest] if texts else "",
    )
