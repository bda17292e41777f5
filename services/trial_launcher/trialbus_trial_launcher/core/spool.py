"""The spool of a run: what its metrics source found, as lines that are shipped like output.

For sources that are no one stream of bytes. A launcher adds lines beside the run and ships them
from where the collector's chain ends; one that is started again reads them, and its source goes on
from the places that they tell. Each line is whole in itself: its points, and the place after them.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from trialbus.kernel.json_metric_lines import JsonLineReader, Reading

SPOOL = "spool.jsonl"
# Of one line, so that it is one chunk.
MAX_LINE_POINTS = 100
# Beside its points a line has labels and tags, as long as a trial makes them in one scrape (1 MiB,
# and JSON may need six bytes for one).
MAX_SPOOL_LINE_BYTES = 8 * 1024**2

Json = Any
Pairs = Sequence[tuple[str, float]]


def spool_line(points: Pairs = (), *, at: float | None = None, **place: Json) -> bytes:
    """points: (metric, value). place: what the source wants to find again."""
    record = {"at": at, "points": [list(point) for point in points], **place}
    return f"{json.dumps(record)}\n".encode()


class SpoolReader(JsonLineReader):
    """The points of a spool."""

    __slots__ = ()

    def __init__(self, *, start: int = 0) -> None:
        super().__init__(points_of, start=start, line_bytes=MAX_SPOOL_LINE_BYTES)


def points_of(record: Mapping[str, Json]) -> Reading:
    """What is not as `spool_line` writes it holds none: the file lies where a trial could write."""
    at, points = record.get("at"), record.get("points")
    if not isinstance(points, list):
        return
    moment = at if isinstance(at, float) and math.isfinite(at) else None
    for point in points:
        match point:
            case [str(metric), float(value)]:
                yield metric, value, moment
