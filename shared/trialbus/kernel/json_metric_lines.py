"""Metrics out of lines of JSON: one object per line, whose keys are names of metrics.

As in Katib, a value may be text ("0.9"); unlike there, numbers count too, the key `timestamp` is
read exactly, and a line that is no object is skipped and counted, never the end of the collection.
A text that is no number is a value too, if it says something.
"""

import json
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from trialbus.kernel.limits import MAX_LINE_BYTES
from trialbus.kernel.line_streams import LineReader, Point
from trialbus.kernel.metric_texts import metric_text
from trialbus.kernel.timestamps import epoch_seconds

TIMESTAMP = "timestamp"

_NUMBER_TEXT = re.compile(
    r"[+-]?(?:(?:\d++\.?\d*+|\.\d+)(?:e[+-]?\d+)?|nan|inf(?:inity)?)", re.ASCII | re.IGNORECASE
)

Json = Any
# Of one record: (metric, value, time or None) in order. A value is a number or a text; None: none.
Reading = Iterable[tuple[str, float | str | None, float | None]]


class JsonLineReader(LineReader):
    """Hands each line that is a JSON object to `read`, which says what points it holds."""

    __slots__ = ("_read",)

    def __init__(
        self,
        read: Callable[[Mapping[str, Json]], Reading],
        *,
        start: int = 0,
        line_bytes: int = MAX_LINE_BYTES,
    ) -> None:
        super().__init__(start=start, line_bytes=line_bytes)
        self._read = read

    def _scan_stretch(
        self, lines: bytes, start: int, stop: int, now: float, points: list[Point]
    ) -> None:
        while start < stop:
            end = lines.find(b"\n", start, stop) + 1 or stop
            self._read_line(lines[start:end], self.consumed + end, now, points)
            start = end

    def _read_line(self, line: bytes, end: int, now: float, points: list[Point]) -> None:
        record = json_object(line)
        if record is None:
            self.malformed_lines += bool(line.strip())
            return
        for metric, value, at in self._read(record):
            if value is None:
                self.rejected_values += 1
            elif isinstance(value, str):
                points.append(Point(metric, math.nan, now if at is None else at, end, value))
            else:
                points.append(Point(metric, value, now if at is None else at, end))


class JsonMetricReader(JsonLineReader):
    """Lines as Katib's File collector takes them with the format JSON."""

    __slots__ = ("_wanted",)

    def __init__(
        self, wanted: Collection[str], *, start: int = 0, line_bytes: int = MAX_LINE_BYTES
    ) -> None:
        super().__init__(self._metrics, start=start, line_bytes=line_bytes)
        self._wanted = frozenset(wanted) - {TIMESTAMP}

    def _metrics(self, record: Mapping[str, Json]) -> Reading:
        found = [name for name in record if name in self._wanted]
        if not found:
            return
        at = epoch_seconds(record.get(TIMESTAMP))
        for name in found:
            value = record[name]
            if isinstance(value, int | float | str) and not isinstance(value, bool):
                yield name, _number_or_text(value), at


def json_names_in(data: bytes) -> list[str]:
    """The keys of all numbers in these lines, each once, in order."""
    names: dict[str, None] = {}
    for line in data.split(b"\n"):
        for name, value in (json_object(line) or {}).items():
            is_number = isinstance(value, float | str) and number_of(value) is not None
            if is_number and name != TIMESTAMP:
                names[name] = None
    return list(names)


def json_object(line: bytes) -> dict[str, Json] | None:
    """None: the line is no JSON object. Numbers are floats."""
    try:
        record = json.loads(line, parse_int=float)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _number_or_text(value: float | str) -> float | str | None:
    number = number_of(value)
    return (metric_text(value) or None) if number is None and isinstance(value, str) else number


def number_of(value: float | str) -> float | None:
    """The number that it is or writes; NaN and infinities are numbers."""
    if isinstance(value, str):
        text = value.strip()
        return float(text) if _NUMBER_TEXT.fullmatch(text) else None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
