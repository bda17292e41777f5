"""Following one run's stream of lines: bytes in, chunks of points out, resumable at any byte."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from trialbus.contracts.chunks import ChunkReport, ReportedSeries
from trialbus.kernel.limits import MAX_CHUNK_POINTS, MAX_CHUNK_TEXT_CHARS
from trialbus.kernel.line_streams import LineReader, Point


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Points of whole lines, up to `to_byte`."""

    points: tuple[Point, ...]
    to_byte: int


class StreamTail:
    """Position in the stream of one run. `read_to`: next byte to read; `stored_to`: the collector
    has everything before it. `metrics`: of which points were seen. reader: finds points in the
    bytes from a place on."""

    def __init__(self, run: str, reader: Callable[[int], LineReader]) -> None:
        self._run = run
        self._new_reader = reader
        self.stored_to = 0
        self.read_to = 0
        self.metrics: set[str] = set()
        self._ended = False
        self._points: list[Point] = []
        # Of the newest line: where it ends, and how many points and characters of text it gave.
        self._line_end = -1
        self._line_points = self._line_chars = 0
        # Whether any of the points that wait is a text.
        self._has_texts = False
        self._reader = reader(0)

    def feed(self, data: bytes, now: float) -> None:
        self.read_to += len(data)
        self._take(self._reader.feed(data, now))

    def end(self, now: float) -> None:
        """The run has ended and everything is read."""
        if not self._ended:
            self._take(self._reader.finish(now))
            self._ended = True

    def _take(self, points: Sequence[Point]) -> None:
        """Keep what fits: of one line at most a chunk's worth, or it could never be sent."""
        for point in points:
            if point.end_byte != self._line_end:
                self._line_end, self._line_points, self._line_chars = point.end_byte, 0, 0
            self._line_points += 1
            self.metrics.add(point.metric)
            if point.text:
                self._has_texts = True
                self._line_chars += len(point.text)
            if self._line_points <= MAX_CHUNK_POINTS and self._line_chars <= MAX_CHUNK_TEXT_CHARS:
                self._points.append(point)

    def resume_at(self, stored_to: int) -> None:
        """The collector's word on where the chain ends: read again from there if we differ."""
        if stored_to <= self._reader.consumed and stored_to >= self.stored_to:
            del self._points[: bisect_right(self._points, stored_to, key=_end_of)]
            self._has_texts = self._has_texts and bool(self._points)
            self.stored_to = stored_to
            return
        self.stored_to = self.read_to = stored_to
        self._ended = False
        self._points = []
        self._has_texts = False
        self._line_end = -1
        self._reader = self._new_reader(stored_to)

    def next_report(self) -> ChunkReport | None:
        """What to send next; None when there is nothing to say. The last one is final."""
        piece = self._next_piece()
        everything = len(piece.points) == len(self._points)
        final = self._ended and everything
        if not piece.points and not final:
            return None
        return ChunkReport(
            run=self._run,
            from_byte=self.stored_to,
            to_byte=piece.to_byte,
            series=_series(piece.points),
            final=final,
        )

    def _next_piece(self) -> Piece:
        """A whole number of lines, at most MAX_CHUNK_POINTS points and MAX_CHUNK_TEXT_CHARS."""
        count = min(len(self._points), MAX_CHUNK_POINTS, self._count_of_texts())
        if count == len(self._points):
            return Piece(points=tuple(self._points), to_byte=self._reader.consumed)
        while count > 1 and self._points[count - 1].end_byte == self._points[count].end_byte:
            count -= 1
        return Piece(points=tuple(self._points[:count]), to_byte=self._points[count - 1].end_byte)

    def _count_of_texts(self) -> int:
        """How many of the points that wait have texts that fit into one chunk."""
        if self._has_texts:
            chars = accumulate(len(point.text) for point in self._points)
            for count, total in enumerate(chars):
                if total > MAX_CHUNK_TEXT_CHARS:
                    return count
        return len(self._points)


def _end_of(point: Point) -> int:
    return point.end_byte


def _series(points: Sequence[Point]) -> tuple[ReportedSeries, ...]:
    by_metric: dict[str, list[Point]] = {}
    for point in points:
        by_metric.setdefault(point.metric, []).append(point)
    return tuple(
        ReportedSeries(
            metric=metric,
            values=tuple(point.value for point in own),
            times=tuple(round(point.at, 6) for point in own),
            texts=tuple(point.text for point in own) if any(it.text for it in own) else None,
        )
        for metric, own in by_metric.items()
    )
