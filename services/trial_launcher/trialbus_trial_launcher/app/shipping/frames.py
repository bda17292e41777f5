"""Points out of shipped event records: frames, each with one record of one event file."""

import importlib
import posixpath
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from trialbus.contracts.shipping import FRAME_WORD
from trialbus.kernel.line_streams import LineReader, Point
from trialbus_trial_launcher.app.sources.events import Decode, Scalars
from trialbus_trial_launcher.core.event_records import frames
from trialbus_trial_launcher.core.event_tags import TagMetrics, best, metrics_of
from trialbus_trial_launcher.core.shipped_notes import Note

_HEAD = re.compile(rb"%s ([12]) (\d{1,7}) ([A-Za-z0-9/._%%-]{0,4096})\n" % FRAME_WORD.encode())
# A longer tag is nobody's metric.
_MAX_TAG_CHARS = 256


class FrameReader(LineReader):
    """`note` is what is known of tags, before and after. Bytes that begin no frame are malformed:
    nothing after them is read."""

    __slots__ = ("_decode", "_folder", "_known", "_metrics", "_rest", "broken", "note")

    def __init__(
        self,
        metrics: Sequence[str],
        folder: str,
        note: Note,
        *,
        start: int = 0,
        decode: Decode | None = None,
    ) -> None:
        super().__init__(start=start)
        self._metrics = tuple(metrics)
        self._folder = folder
        self._decode = decode or _decode
        self._known: dict[tuple[str, str], TagMetrics] = {}
        self._rest = b""
        self.broken = False
        self.note = note

    def feed(self, data: bytes, now: float) -> list[Point]:
        """The points of the frames that `data` completes."""
        points: list[Point] = []
        data, at = self._rest + data, 0
        while at < len(data) and not self.broken:
            head = _HEAD.match(data, at)
            if head is None:
                self.broken = b"\n" in data[at:] or len(data) - at > _HEAD_BYTES
                self.malformed_lines += self.broken
                break
            end = head.end() + int(head[2])
            if end > len(data):
                break
            self.consumed += end - at
            path = unquote(head[3].decode())
            points += self._points(data[head.end() : end], path, head[1] == b"2", now)
            at = end
        self._rest = data[at:]
        return points

    def finish(self, now: float) -> list[Point]:
        """A frame that is not whole is none."""
        del now
        self.malformed_lines += bool(self._rest)
        self.consumed += len(self._rest)
        self._rest = b""
        return []

    def _scan_stretch(
        self, lines: bytes, start: int, stop: int, now: float, points: list[Point]
    ) -> None:
        """There are no lines."""

    def _points(self, data: bytes, path: str, again: bool, now: float) -> list[Point]:
        points: list[Point] = []
        for record in frames(data, 0).records:
            event = None if record.data is None else self._decode(record.data)
            if event is None:
                self.malformed_lines += 1
                continue
            at = now if event[0] is None else event[0]
            for metric, value in self._values(event, posixpath.dirname(path), again):
                points.append(Point(metric, value, at, self.consumed))
        return points

    def _values(self, event: Scalars, folder: str, again: bool) -> list[tuple[str, float]]:
        found: list[tuple[str, float]] = []
        for tag, value in event[1]:
            if len(tag) > _MAX_TAG_CHARS:
                continue
            metrics = self._metrics_of(tag, folder)
            if again:
                missing = self.note.missing
                found += [
                    (metric, value)
                    for metric in metrics.maybe
                    if missing.get(self._metrics.index(metric)) == tag
                ]
            elif metrics.exact or metrics.maybe:
                found += [(metric, value) for metric in metrics.exact]
                self._learn(tag, metrics)
        return found

    def _learn(self, tag: str, metrics: TagMetrics) -> None:
        exact = self.note.exact.union(map(self._metrics.index, metrics.exact))
        longer = dict(self.note.longer)
        for metric in metrics.maybe:
            place = self._metrics.index(metric)
            longer[place] = best([tag, longer.get(place, tag)])
        if exact != self.note.exact or longer != self.note.longer:
            self.note = replace(self.note, exact=exact, longer=longer)

    def _metrics_of(self, tag: str, folder: str) -> TagMetrics:
        key = (folder, tag)
        if key not in self._known:
            parts = [part for part in f"{self._folder}/{folder}".split("/") if part]
            self._known[key] = metrics_of(tag, parts, self._metrics)
        return self._known[key]


# Of a frame's first line.
_HEAD_BYTES = len(FRAME_WORD) + 4096 + 16


def _decode(data: bytes) -> Scalars | None:
    """TensorFlow's messages load slowly, and only few experiments need them."""
    module: Any = importlib.import_module("trialbus_trial_launcher.app.sources.event_scalars")
    decoded: Scalars | None = module.scalars_of(data)
    return decoded
