"""TensorFlowEvent: scalars out of the event files below a private folder."""

import asyncio
import posixpath
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trialbus.kernel.limits import EVENT_BLOCK_BYTES, MAX_EVENT_BYTES, MAX_NAMES_SEEN
from trialbus.kernel.line_streams import LineReader
from trialbus.kernel.spec import MetricsPath
from trialbus.ports.launcher import PrivateFile, RunStatus
from trialbus_trial_launcher.app.plans import inside
from trialbus_trial_launcher.app.sources.source import Watched, told
from trialbus_trial_launcher.app.sources.spooling import Spool
from trialbus_trial_launcher.core.event_records import EventRecord, frames
from trialbus_trial_launcher.core.event_tags import TagMetrics, best, metrics_of
from trialbus_trial_launcher.core.spool import MAX_LINE_POINTS, SpoolReader, points_of, spool_line

# As TensorBoard knows them.
_IN_NAME = "tfevents"
# A longer tag is nobody's metric, and would make a line of the spool too long.
_MAX_TAG_CHARS = 256
# A trial may make up tags for ever.
_MAX_KNOWN_TAGS = 10_000

# The time of an event and its scalars, (tag, value); None: no event.
Scalars = tuple[float | None, Sequence[tuple[str, float]]]
Decode = Callable[[bytes], Scalars | None]
Json = Any


class EventsSource:
    """Spools the wanted scalars of each event, and how far each file is read."""

    is_live = True
    missing = ""

    def __init__(self, watched: Watched, path: MetricsPath, decode: Decode) -> None:
        self._watched = watched
        self._shown = path.path
        self._folder = inside(path)
        self._decode = decode
        self._spool = Spool(watched.launcher, watched.run_id)
        self._known: dict[tuple[str, str], TagMetrics] = {}
        self._broken: dict[str, int] = {}
        self._forget()

    def reader(self, start: int) -> LineReader:
        return SpoolReader(start=start)

    async def read(self, from_byte: int, max_bytes: int, /) -> bytes:
        return await self._spool.read(from_byte, max_bytes)

    async def gather(self) -> None:
        if not self._is_recovered:
            await self._recover()
        for file in await self._event_files():
            await self._read_file(file)

    async def finish(self, _status: RunStatus, /) -> int:
        await self.gather()
        await self._settle_for_longer_tags()
        return self._spool.size_bytes

    async def abandon(self) -> None:
        """Nothing goes with it."""

    async def looked(self) -> str:
        watched = self._watched
        looked = f"looked for scalars of the tag {watched.metric!r} in the event files below "
        files = await self._event_files()
        if not files:
            everything = await watched.launcher.private_files(watched.run_id, self._folder)
            there = f", only {everything[0].path!r}" if everything else ""
            return f"{looked}{self._shown}; there are none{there}"
        broken = "".join(f"; {path} is broken at byte {at}" for path, at in self._broken.items())
        found = told(list(self._seen), watched.metrics) or "; there are no scalars"
        return f"{looked}{self._shown}{found}{broken}"

    # The spool ---------------------------------------------------------------------------------

    def _forget(self) -> None:
        self._is_recovered = False
        self._read_to: dict[str, int] = {}
        self._exact: set[str] = set()
        # Metric -> longer tags that begin with its name.
        self._longer: dict[str, set[str]] = {}
        self._seen: dict[str, None] = {}

    async def _recover(self) -> None:
        """Where the last launcher stopped."""
        self._forget()
        async for record in self._spool.records():
            match record:
                case {"file": str(path), "to": float(end)}:
                    self._read_to[path] = int(end)
            self._exact.update(metric for metric, _, _ in points_of(record))
            for metric, tag, _ in _longer_of(record):
                self._longer.setdefault(metric, set()).add(tag)
            if isinstance(seen := record.get("seen"), list):
                self._seen |= dict.fromkeys(map(str, seen))
        self._is_recovered = True

    async def _append(self, lines: Sequence[bytes]) -> None:
        self._is_recovered = False
        await self._spool.append(lines)
        self._is_recovered = True

    # Reading -----------------------------------------------------------------------------------

    async def _event_files(self) -> list[PrivateFile]:
        files = await self._watched.launcher.private_files(self._watched.run_id, self._folder)
        return [file for file in files if _IN_NAME in posixpath.basename(file.path)]

    async def _read_file(self, file: PrivateFile) -> None:
        """All whole records that it has."""
        at = self._read_to.get(file.path, 0)
        wanted = EVENT_BLOCK_BYTES
        while at < file.size_bytes and file.path not in self._broken:
            asked = min(wanted, file.size_bytes - at)
            data = await self._read_block(file.path, at, asked)
            if len(data) < asked:
                return  # it was made shorter
            found = frames(data, at)
            if found.records:
                await self._take(file.path, found.records)
                at = found.records[-1].end
                wanted = EVENT_BLOCK_BYTES
            elif found.broken:
                self._broken[file.path] = at
            elif at + found.next_bytes > file.size_bytes:
                return  # it is being written
            elif found.next_bytes > MAX_EVENT_BYTES:
                at += found.next_bytes
            else:
                wanted = max(found.next_bytes, EVENT_BLOCK_BYTES)
            self._read_to[file.path] = at
            await asyncio.sleep(0)

    async def _read_block(self, path: str, at: int, size: int) -> bytes:
        watched = self._watched
        return await watched.launcher.read_private(
            watched.run_id, posixpath.join(self._folder, path), at, size
        )

    async def _take(self, path: str, records: Sequence[EventRecord]) -> None:
        lines = []
        for record in records:
            event = None if record.data is None else self._decode(record.data)
            if event is not None and (line := self._line(path, record.end, event)):
                lines.append(line)
        await self._append(lines)

    def _line(self, path: str, end: int, event: Scalars) -> bytes | None:
        """Of one event; None if it holds nothing of interest."""
        at, scalars = event
        points: list[tuple[str, float]] = []
        longer: list[tuple[str, str, float]] = []
        seen: list[str] = []
        for tag, value in scalars:
            if len(tag) > _MAX_TAG_CHARS:
                continue
            metrics = self._metrics_of(tag, posixpath.dirname(path))
            points += [(metric, value) for metric in metrics.exact]
            longer += [(it, tag, value) for it in metrics.maybe if it not in self._exact]
            if tag not in self._seen and len(self._seen) <= MAX_NAMES_SEEN:
                self._seen[tag] = None
                seen.append(tag)
        if not (points or longer or seen):
            return None
        self._exact.update(metric for metric, _ in points)
        for metric, tag, _ in longer:
            self._longer.setdefault(metric, set()).add(tag)
        place: dict[str, Json] = {"file": path, "to": float(end)}
        if longer:
            place["longer"] = longer[:MAX_LINE_POINTS]
        if seen:
            place["seen"] = seen
        return spool_line(points[:MAX_LINE_POINTS], at=at, **place)

    def _metrics_of(self, tag: str, folder: str) -> TagMetrics:
        key = (folder, tag)
        if key not in self._known:
            if len(self._known) > _MAX_KNOWN_TAGS:
                self._known.clear()
            parts = [part for part in f"{self._folder}/{folder}".split("/") if part]
            self._known[key] = metrics_of(tag, parts, self._watched.metrics)
        return self._known[key]

    async def _settle_for_longer_tags(self) -> None:
        """Of metrics without a tag of their own: all at once, so that it happens once."""
        missing = {
            metric: best(tags) for metric, tags in self._longer.items() if metric not in self._exact
        }
        if not missing:
            return
        lines = []
        async for record in self._spool.records():
            at = record.get("at")
            points = [
                (metric, value)
                for metric, tag, value in _longer_of(record)
                if missing.get(metric) == tag
            ]
            if points:
                lines.append(spool_line(points, at=at if isinstance(at, float) else None))
        self._exact.update(missing)
        await self._append(lines)


def _longer_of(record: Mapping[str, Json]) -> list[tuple[str, str, float]]:
    found: list[tuple[str, str, float]] = []
    if isinstance(entries := record.get("longer"), list):
        for entry in entries:
            match entry:
                case [str(metric), str(tag), float(value)]:
                    found.append((metric, tag, value))
    return found
