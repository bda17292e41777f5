"""Metrics out of a trial's output: bytes in, points out, in bounded memory.

Katib's StdOut collector reads `name=value` anywhere in a line, several per line, and takes the
line's first word as the time if it is RFC 3339. This reader keeps that, and reads NaN, infinities,
`888`, `1.` and `.5` whole, finds progress bars (a carriage return ends a line), looks through
colour codes, and never stops at a strange byte.

A metric's name begins where no character of `[\\w|-]` precedes it, so `val_loss=1` is no `loss`.

Laws (property-tested): any split of the same bytes gives the same points, offsets and counts, up to
`at` of lines without a time; a new reader started at any point's `end_byte` gives the points after.
"""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from trialbus.kernel.errors import Problem, Refused
from trialbus.kernel.go_regexps import GoRegexp, GoRegexpError, compile_go_regexp
from trialbus.kernel.limits import MAX_FILTERED_LINE_BYTES, MAX_LINE_BYTES

# Katib's default, which also stands for itself when a user writes it out.
DEFAULT_METRIC_FORMAT = r"([\w|-]+)\s*=\s*([+-]?\d*(\.\d+)?([Ee][+-]?\d+)?)"

_NUMBER = (
    r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[Ee][+-]?\d+)?"
    r"|(?:[Nn][Aa][Nn]|[Ii][Nn][Ff](?:[Ii][Nn][Ii][Tt][Yy])?)(?!\w))"
)
_WHOLE_NUMBER = re.compile(_NUMBER, re.ASCII)
_COLOUR = re.compile(rb"\x1b\[[0-9;:]*m")
# Cursor movements, erasures, window titles: they part words, so a space takes their place.
_CONTROL = re.compile(
    rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][0-9A-B]|[=>78cDEHM])"
)
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)) ", re.ASCII)


class Point(NamedTuple):
    """One value of one metric. `at`: seconds since the epoch; `end_byte`: offset after its line."""

    metric: str
    value: float
    at: float
    end_byte: int


class _Found(NamedTuple):
    """A name and what stands where its value should be (None: no number)."""

    start: int
    metric: str
    value: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LineLimits:
    """Longer lines are skipped and counted; `filtered_line_bytes` is for a user's own filter."""

    line_bytes: int = MAX_LINE_BYTES
    filtered_line_bytes: int = MAX_FILTERED_LINE_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricFilter:
    """What a metric looks like in a line: Go expressions whose first two top groups are name and
    value; none means the default `name=value`."""

    expressions: tuple[GoRegexp, ...] = ()
    default: bool = True

    @classmethod
    def compile(cls, formats: Sequence[str] = ()) -> "MetricFilter":
        """From Katib's `metricsFormat`. Raises `Refused` with every problem of every expression."""
        own = [text for text in formats if text != DEFAULT_METRIC_FORMAT]
        expressions, problems = [], []
        for text in own:
            try:
                expressions.append(_two_groups(text))
            except GoRegexpError as exc:
                problems.append(
                    Problem(
                        field=f"metricsFormat[{formats.index(text)}]", message=f"{text!r}: {exc}"
                    )
                )
        if problems:
            raise Refused(problems)
        return cls(expressions=tuple(expressions), default=len(own) < len(formats) or not formats)


def _two_groups(text: str) -> GoRegexp:
    expression = compile_go_regexp(text)
    if len(expression.top_groups) < 2:
        raise GoRegexpError("a metrics format must have two top subexpressions, name and value")
    return expression


class LineParser:
    """Reads one stream from byte `start`, which must begin a line.

    `consumed` is the offset after the last complete line: a reader may start anew there.
    `skipped_lines` counts lines over the limit, `rejected_values` wanted names without a number.
    """

    __slots__ = (
        "_candidates", "_find", "_limit", "_skipping", "_tail",
        "consumed", "rejected_values", "skipped_lines",
    )  # fmt: skip

    def __init__(
        self,
        metric_filter: MetricFilter,
        wanted: Collection[str],
        limits: LineLimits | None = None,
        *,
        start: int = 0,
    ) -> None:
        limits = limits or LineLimits()
        own = bool(metric_filter.expressions)
        names = sorted({name for name in wanted if name}, key=lambda name: (-len(name), name))
        self._limit = (
            min(limits.line_bytes, limits.filtered_line_bytes) if own else limits.line_bytes
        )
        self._candidates = re.compile(b"|".join(re.escape(n.encode()) for n in names) or b"(?!)")
        self._find = _finder(metric_filter, names)
        self._tail = bytearray()
        self._skipping = 0  # bytes of the too long line in hand
        self.consumed = start
        self.skipped_lines = 0
        self.rejected_values = 0

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
        coloured = b"\x1b" in lines
        for start, stop in self._short_stretches(lines):
            if coloured:
                self._scan_each_line(lines, start, stop, now, points)
            else:
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

    def _scan_stretch(
        self, lines: bytes, start: int, stop: int, now: float, points: list[Point]
    ) -> None:
        search = self._candidates.search
        while found := search(lines, start, stop):
            begin = lines.rfind(b"\n", start, found.start()) + 1 or start
            start = lines.find(b"\n", found.end(), stop) + 1 or stop
            self._read_line(lines[begin:start], self.consumed + start, now, points)

    def _scan_each_line(
        self, lines: bytes, start: int, stop: int, now: float, points: list[Point]
    ) -> None:
        """Escape sequences may part a name, so each line is cleaned before it is looked at."""
        while start < stop:
            end = lines.find(b"\n", start, stop) + 1 or stop
            line = lines[start:end]
            if b"\x1b" in line:
                line = _CONTROL.sub(b" ", _COLOUR.sub(b"", line))
            if self._candidates.search(line):
                self._read_line(line, self.consumed + end, now, points)
            start = end

    def _read_line(self, line: bytes, end: int, now: float, points: list[Point]) -> None:
        text = line.removesuffix(b"\n").decode("utf-8", "replace")
        found = self._find(text)
        if not found:
            return
        at = _time_of(text, now)
        for _, metric, value in found:
            if value is None:
                self.rejected_values += 1
            else:
                points.append(Point(metric, value, at, end))


def _time_of(line: str, now: float) -> float:
    """The first word if it is an RFC 3339 time that exists, else `now`."""
    if line[4:5] == "-" and (stamp := _TIME.match(line)):
        try:
            return datetime.fromisoformat(stamp[1]).timestamp()
        except ValueError:
            return now
    return now


def _finder(metric_filter: MetricFilter, names: Sequence[str]) -> Callable[[str], list[_Found]]:
    """What finds the wanted names of one line, in the order of their places."""
    finders = [
        _own_finder(expression, frozenset(names)) for expression in metric_filter.expressions
    ]
    if metric_filter.default:
        finders.append(_default_finder(names))
    if len(finders) == 1:
        return finders[0]

    def find(line: str) -> list[_Found]:
        # One place is one metric, whatever the number of filters that see it; the first one reads.
        places = {found.start: found for finder in reversed(finders) for found in finder(line)}
        return [places[place] for place in sorted(places)]

    return find


def _default_finder(names: Sequence[str]) -> Callable[[str], list[_Found]]:
    alternatives = "|".join(map(re.escape, names))
    pattern = re.compile(rf"(?<![\w|-])({alternatives})\s*+=\s*+({_NUMBER})?", re.ASCII)

    def find(line: str) -> list[_Found]:
        return [
            _Found(match.start(), match[1], None if match[2] is None else float(match[2]))
            for match in pattern.finditer(line)
        ]

    return find


def _own_finder(expression: GoRegexp, names: frozenset[str]) -> Callable[[str], list[_Found]]:
    name_group, value_group = expression.top_groups[:2]

    def find(line: str) -> list[_Found]:
        found = []
        for match in expression.matches(line):
            name = (match[name_group] or "").strip()
            if name in names:
                value = (match[value_group] or "").strip()
                number = float(value) if _WHOLE_NUMBER.fullmatch(value) else None
                found.append(_Found(match.start(name_group), name, number))
        return found

    return find
