"""Katib's table `observation_logs`, as mysqldump, pg_dump or a client wrote it.

Understood are `INSERT INTO ... VALUES (...)` of both databases, `COPY ... FROM stdin` of
PostgreSQL, and tables with a heading, separated by commas or tabs. Times are UTC.
"""

import csv
import re
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from trialbus.cli.failures import REFUSED, CommandFailed

_TABLE = "observation_logs"
# As Katib makes the table.
_COLUMNS = ("trial_name", "id", "time", "metric_name", "value")
_NEEDED = frozenset({"trial_name", "time", "metric_name", "value"})
_INSERT = re.compile(
    r"INSERT\s+INTO\s+(?:[`\"]?\w+[`\"]?\.)?[`\"]?observation_logs[`\"]?\s*"
    r"(\([^)]*\))?\s*VALUES\s*",
    re.IGNORECASE,
)
_COPY = re.compile(
    r"COPY\s+(?:\w+\.)?observation_logs\s*(\([^)]*\))?\s*FROM\s+stdin", re.IGNORECASE
)
_ITEM = re.compile(
    r"\s*(?:E?'(?P<text>(?:[^'\\]|\\.|'')*)'|(?P<word>[^\s,()';]+))\s*(?P<end>[,)])", re.DOTALL
)
_ESCAPE = re.compile(r"\\(.)|''", re.DOTALL)
# A row that goes on for longer never ends.
_MAX_ROW_CHARS = 100_000
_MEANT = {"n": "\n", "t": "\t", "r": "\r", "0": "\0"}


@dataclass(slots=True)
class Points:
    """Of one metric of one trial. times: seconds since the epoch, as long as values."""

    values: "array[float]" = field(default_factory=lambda: array("d"))
    times: "array[float]" = field(default_factory=lambda: array("d"))


@dataclass(slots=True)
class Dump:
    """trials: by name, then by metric. texts: rows whose value is no number, which are left out.
    broken: rows that cannot be read."""

    trials: dict[str, dict[str, Points]] = field(default_factory=dict)
    rows: int = 0
    texts: int = 0
    broken: int = 0


def read_dump(file: str, wanted: Collection[str]) -> Dump:
    """Of the trials with these names. Raises CommandFailed: it cannot be read, or holds no such
    table."""
    dump = Dump()
    found = False
    try:
        with Path(file).open(encoding="utf-8", errors="replace", newline="") as lines:
            for row in _rows(lines):
                found = True
                _take(row, wanted, dump)
    except OSError as error:
        raise CommandFailed(f"cannot read {file}: {error.strerror}", REFUSED) from error
    except csv.Error as error:
        raise CommandFailed(f"{file} is no table: {error}", REFUSED) from error
    if not found:
        raise CommandFailed(f"{file} holds no rows of the table {_TABLE}", REFUSED)
    for metrics in dump.trials.values():
        for points in metrics.values():
            _in_order(points)
    return dump


def _take(row: Mapping[str, str | None], wanted: Collection[str], dump: Dump) -> None:
    """A row that was cut off has fewer fields, or None in their place."""
    told = {name: text for name in _NEEDED if (text := row.get(name)) is not None}
    if len(told) < len(_NEEDED):
        dump.broken += 1
        return
    _take_whole(told, wanted, dump)


def _take_whole(row: Mapping[str, str], wanted: Collection[str], dump: Dump) -> None:
    if row["trial_name"] not in wanted:
        return
    at = _seconds(row["time"])
    if at is None:
        dump.broken += 1
        return
    try:
        value = float(row["value"])
    except ValueError:
        dump.texts += 1
        return
    points = dump.trials.setdefault(row["trial_name"], {}).setdefault(row["metric_name"], Points())
    points.values.append(value)
    points.times.append(at)
    dump.rows += 1


def _in_order(points: Points) -> None:
    """Katib orders by time alone; rows of one time keep the order of the dump, which is that of
    their ids."""
    if any(a > b for a, b in zip(points.times, points.times[1:], strict=False)):
        order = sorted(range(len(points.times)), key=points.times.__getitem__)
        points.values = array("d", (points.values[i] for i in order))
        points.times = array("d", (points.times[i] for i in order))


def _rows(lines: Iterator[str]) -> Iterator[Mapping[str, str | None]]:
    first = next(lines, "")
    heading = [it.strip().strip('"').lower() for it in re.split(r"[,\t]", first)]
    if set(heading) >= _NEEDED:
        yield from csv.DictReader(
            lines, fieldnames=heading, delimiter="\t" if "\t" in first else ","
        )
        return
    yield from _of_sql(_with(first, lines))


def _with(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _of_sql(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    for line in lines:
        if (copied := _COPY.match(line)) is not None:
            yield from _copied(lines, _columns(copied[1]))
        elif (inserted := _INSERT.match(line)) is not None:
            yield from _inserted(line, inserted.end(), lines, _columns(inserted[1]))


def _columns(listed: str | None) -> Sequence[str]:
    if not listed:
        return _COLUMNS
    return [it.strip().strip('`"').lower() for it in listed.strip("()").split(",")]


def _copied(lines: Iterator[str], columns: Sequence[str]) -> Iterator[dict[str, str]]:
    for line in lines:
        text = line.rstrip("\r\n")
        if text == "\\.":
            return
        fields = [_unescaped(it) for it in text.split("\t")]
        yield dict(zip(columns, fields, strict=False))


def _inserted(
    line: str, start: int, lines: Iterator[str], columns: Sequence[str]
) -> Iterator[dict[str, str]]:
    """Rows until the statement ends, which may take more lines."""
    text, place = line, start
    while True:
        place = _skip(text, place, " \t\r\n,")
        if place >= len(text):
            text, place = next(lines, ";"), 0
            continue
        if text[place] != "(":
            return
        values, after = _tuple(text, place + 1)
        if after < 0:
            more = next(lines, None)
            if more is not None and (begun := _INSERT.match(more)) is not None:
                # The row before has no end; what follows it has.
                yield {}
                text, place, columns = more, begun.end(), _columns(begun[1])
                continue
            if more is None or len(text) - place > _MAX_ROW_CHARS:
                yield {}  # broken
                return
            text, place = text[place:] + more, 0
            continue
        yield dict(zip(columns, values, strict=False))
        place = after


def _tuple(text: str, place: int) -> tuple[list[str], int]:
    """The values from there to the closing parenthesis, and the place after it; -1: it is not
    there."""
    values: list[str] = []
    while True:
        item = _ITEM.match(text, place)
        if item is None:
            return [], -1
        values.append(item["word"] if item["text"] is None else _unescaped(item["text"]))
        place = item.end()
        if item["end"] == ")":
            return values, place


def _skip(text: str, place: int, signs: str) -> int:
    while place < len(text) and text[place] in signs:
        place += 1
    return place


def _unescaped(text: str) -> str:
    if "\\" not in text and "''" not in text:
        return text
    return _ESCAPE.sub(lambda it: "'" if it[1] is None else _MEANT.get(it[1], it[1]), text)


def _seconds(text: str) -> float | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()
