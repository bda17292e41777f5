"""Lines out of a stream of bytes: in pieces as they come, in bounded memory, resumable.

Laws (property-tested for each reader): any split of the same bytes gives the same points, offsets
and counts, up to `at` of lines without a time; a new reader started at any point's `end_byte` gives
the points after.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

from trialbus.kernel.limits import MAX_LINE_BYTES


class Point(NamedTuple):
    """One value of one metric. `at`: seconds since the epoch; `end_byte`: offset after its line.
    `text`: of a value that is no number, which is NaN then; "" of a number."""

    metric: str
    value: float
    at: float
    end_byte: int
    text: str = ""


class LineReader(ABC):
    """Reads one stream from byte `start`, which must begin a line. Longer lines than `line_bytes`
    are skipped and counted.

    `consumed` is the offset after the last complete line: a reader may start anew there.
    `skipped_lines` counts lines over the limit, `malformed_lines` those that are no record of the
    format, `rejected_values` wanted names without a value.
    """

    __slots__ = (
        "_limit", "_skipping", "_tail",
        "consumed", "malformed_lines", "rejected_values", "skipped_lines",
    )  # fmt: skip

    def __init__(self, *, start: int = 0, line_bytes: int = MAX_LINE_BYTES) -> None:
        self._limit = line_bytes
        self._tail = bytearray()
        self._skipping = 0  # bytes of the too long line in hand
        self.consumed = start
        self.skipped_lines = 0
        self.malformed_lines = 0
        self.rejected_values = 0

    @abstractmethod
    def _scan_stretch(
        self, lines: bytes, start: int, stop: int, now: float, points: list[Point]
    ) -> None:
        """Add the points of the whole lines in `lines[start:stop]`; `lines` begins at offset
        `consumed`."""

    def feed(self, data: bytes, now: float) -> list[Point]:
        """The points of the lines that `data` completes; `now` is the time of lines without one."""
        if not data:
            return []
        # A lone CR ends a line too; CR LF is then a line and an empty one, however it is split.
        data = data.replace(b"\r", b"\n")
        if self._skipping:
            first = data.find(b"\n") + 1
            if not first:
                self._skipping += len(data)
                return []
            self.consumed += self._skipping + first
            self._skipping = 0
            data = data[first:]
        last = data.rfind(b"\n") + 1
        if not last:
            self._keep(data)
            return []
        complete = bytes(self._tail) + data[:last] if self._tail else data[:last]
        self._tail.clear()
        points = self._scan(complete, now)
        self.consumed += len(complete)
        self._keep(data[last:])
        return points

    def finish(self, now: float) -> list[Point]:
        """The points of a last line without an end: the stream is over."""
        rest = bytes(self._tail)
        self._tail.clear()
        points = self._scan(rest, now)
        self.consumed += len(rest) + self._skipping
        self._skipping = 0
        return points

    def _keep(self, rest: bytes) -> None:
        """Holds the beginning of a line, or drops it for being too long."""
        if len(self._tail) + len(rest) <= self._limit:
            self._tail += rest
            return
        self._skipping = len(self._tail) + len(rest)
        self._tail.clear()
        self.skipped_lines += 1

    def _scan(self, lines: bytes, now: float) -> list[Point]:
        """All points of `lines`, which begins at offset `consumed` and ends with a line."""
        points: list[Point] = []
        for start, stop in self._short_stretches(lines):
            self._scan_stretch(lines, start, stop, now, points)
        return points

    def _short_stretches(self, lines: bytes) -> Iterator[tuple[int, int]]:
        """Stretches of whole lines within the limit; counts the lines over it.

        Looks only once per limit's length: a stretch that is short in whole has no long line.
        """
        start = at = 0
        end = len(lines)
        while end - at > self._limit:
            newline = lines.rfind(b"\n", at, at + self._limit + 1)
            if newline >= 0:
                at = newline + 1
                continue
            yield start, at
            start = at = (lines.find(b"\n", at) + 1) or end
            self.skipped_lines += 1
        yield start, end
