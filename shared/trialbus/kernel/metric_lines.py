"""Metrics out of a trial's output: bytes in, points out, in bounded memory.

Katib's StdOut collector reads `name=value` anywhere in a line, several per line, and takes the
line's first word as the time if it is RFC 3339. This reader keeps that, and reads NaN, infinities,
`888`, `1.` and `.5` whole, finds progress bars (a carriage return ends a line), looks through
colour codes, and never stops at a strange byte.

A value is a number; where the user's own filter captures something else, it is a text.

A metric's name begins where no character of `[\\w|-]` precedes it, so `val_loss=1` is no `loss`.
"""

import math
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from trialbus.kernel.errors import Problem, Refused
from trialbus.kernel.go_regexps import GoRegexp, GoRegexpError, compile_go_regexp
from trialbus.kernel.limits import MAX_LINE_BYTES, MAX_LINE_MATCHES
from trialbus.kernel.line_streams import LineReader, Point
from trialbus.kernel.metric_texts import metric_text
from trialbus.kernel.timestamps import rfc3339_seconds

# Katib's default, which also stands for itself when a user writes it out.
DEFAULT_METRIC_FORMAT = r"([\w|-]+)\s*=\s*([+-]?\d*(\.\d+)?([Ee][+-]?\d+)?)"

_NUMBER = (
    r"[+-]?(?:(?:\d++\.?\d*+|\.\d+)(?:[Ee][+-]?\d+)?"
    r"|(?:[Nn][Aa][Nn]|[Ii][Nn][Ff](?:[Ii][Nn][Ii][Tt][Yy])?)(?!\w))"
)
_WHOLE_NUMBER = re.compile(_NUMBER, re.ASCII)
_ANY_METRIC = re.compile(rf"(?<![\w|-])([\w|-]++)\s*+=\s*+{_NUMBER}", re.ASCII)
_COLOUR = re.compile(rb"\x1b\[[0-9;:]*m")
# Cursor movements, erasures, window titles: they part words, so a space takes their place.
_CONTROL = re.compile(
    rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][0-9A-B]|[=>78cDEHM])"
)


class _Found(NamedTuple):
    """A name and what stands where its value should be (None: no value). text: see `Point`."""

    start: int
    metric: str
    value: float | None
    text: str = ""


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


def described(formats: Sequence[str], metric: str) -> str:
    """What is looked for in a line, for people."""
    return " or ".join(
        f"lines like {metric}=0.9"
        if text == DEFAULT_METRIC_FORMAT
        else f"what matches the filter {text}"
        for text in formats or (DEFAULT_METRIC_FORMAT,)
    )


def names_in(data: bytes, metric_filter: MetricFilter) -> list[str]:
    """The names of all metrics in these lines, each once, in order."""
    names: dict[str, None] = {}
    for line in data.replace(b"\r", b"\n").split(b"\n"):
        text = line[:MAX_LINE_BYTES].decode("utf-8", "replace")
        if metric_filter.default:
            names |= dict.fromkeys(match[1] for match in _ANY_METRIC.finditer(text))
        for expression in metric_filter.expressions:
            name_group, value_group = expression.top_groups[:2]
            for match in islice(expression.matches(text), MAX_LINE_MATCHES):
                if _value_of(match[value_group] or "")[0] is not None:
                    names[(match[name_group] or "").strip()] = None
    return list(names)


class LineParser(LineReader):
    """Reads points out of lines of text, as `metric_filter` says what they look like."""

    __slots__ = ("_candidates", "_find")

    def __init__(
        self,
        metric_filter: MetricFilter,
        wanted: Collection[str],
        *,
        start: int = 0,
        line_bytes: int = MAX_LINE_BYTES,
    ) -> None:
        super().__init__(start=start, line_bytes=line_bytes)
        names = sorted({name for name in wanted if name}, key=lambda name: (-len(name), name))
        self._candidates = re.compile(b"|".join(re.escape(n.encode()) for n in names) or b"(?!)")
        self._find = _finder(metric_filter, names)

    def _scan_stretch(
        self, lines: bytes, start: int, stop: int, now: float, points: list[Point]
    ) -> None:
        if lines.find(b"\x1b", start, stop) >= 0:
            self._scan_each_line(lines, start, stop, now, points)
            return
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
        for _, metric, value, value_text in found:
            if value is None:
                self.rejected_values += 1
            else:
                points.append(Point(metric, value, at, end, value_text))


def _time_of(line: str, now: float) -> float:
    """The first word if it is an RFC 3339 time that exists, else `now`."""
    if line[4:5] != "-":
        return now
    at = rfc3339_seconds(line.partition(" ")[0])
    return now if at is None else at


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
        for match in islice(expression.matches(line), MAX_LINE_MATCHES):
            name = (match[name_group] or "").strip()
            if name in names:
                value, text = _value_of(match[value_group] or "")
                found.append(_Found(match.start(name_group), name, value, text))
        return found

    return find


def _value_of(captured: str) -> tuple[float | None, str]:
    """The number and "", or NaN and the text, or None and ""."""
    written = captured.strip()
    if _WHOLE_NUMBER.fullmatch(written):
        return float(written), ""
    text = metric_text(written)
    return (math.nan if text else None), text
