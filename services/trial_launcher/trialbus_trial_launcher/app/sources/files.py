"""Streams that trials write themselves: their output, or a file of their own."""

import posixpath

from trialbus.kernel.json_metric_lines import JsonMetricReader, json_names_in
from trialbus.kernel.limits import NAMES_LOOK_BYTES
from trialbus.kernel.line_streams import LineReader
from trialbus.kernel.metric_lines import LineParser, MetricFilter, described, names_in
from trialbus.kernel.spec import MetricsFormat, MetricsPath
from trialbus.ports.launcher import PrivateFile, RunStatus
from trialbus_trial_launcher.app.plans import inside
from trialbus_trial_launcher.app.sources.source import Watched, told

_MAX_FILES_TOLD = 3


class OutputSource:
    """StdOut: what the run prints."""

    is_live = True
    missing = ""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._filter = MetricFilter.compile(watched.collector.filters)

    def reader(self, start: int) -> LineReader:
        return LineParser(self._filter, self._watched.metrics, start=start)

    async def gather(self) -> None:
        """The run itself writes the stream."""

    async def finish(self, status: RunStatus, /) -> int:
        return status.output_bytes

    async def abandon(self) -> None:
        """Nothing goes with it."""

    async def read(self, from_byte: int, max_bytes: int, /) -> bytes:
        return await self._watched.launcher.read(self._watched.run_id, from_byte, max_bytes)

    async def looked(self) -> str:
        watched = self._watched
        names = names_in(await self.read(0, NAMES_LOOK_BYTES), self._filter)
        wanted = described(watched.collector.filters, watched.metric)
        return f"looked in its output for {wanted}{told(names, watched.metrics)}"


class FileSource:
    """File: lines of text or of JSON in a private file, read as they come."""

    is_live = True
    missing = ""

    def __init__(self, watched: Watched, path: MetricsPath) -> None:
        self._watched = watched
        self._shown = path.path
        self._path = inside(path)
        self._filter = MetricFilter.compile(watched.collector.filters)
        self._is_json = path.format is MetricsFormat.JSON
        self._read_to = 0

    def reader(self, start: int) -> LineReader:
        if self._is_json:
            return JsonMetricReader(self._watched.metrics, start=start)
        return LineParser(self._filter, self._watched.metrics, start=start)

    async def gather(self) -> None:
        """The run itself writes the stream."""

    async def finish(self, _status: RunStatus, /) -> int:
        found = await self._find()
        return 0 if found is None else found.size_bytes

    async def abandon(self) -> None:
        """Nothing goes with it."""

    async def read(self, from_byte: int, max_bytes: int, /) -> bytes:
        watched = self._watched
        data = await watched.launcher.read_private(watched.run_id, self._path, from_byte, max_bytes)
        self._read_to = max(self._read_to, from_byte + len(data))
        return data

    async def looked(self) -> str:
        watched = self._watched
        wanted = (
            f'lines of JSON like {{"{watched.metric}": 0.9}}'
            if self._is_json
            else described(watched.collector.filters, watched.metric)
        )
        return f"looked in the file {self._shown} for {wanted}{await self._there()}"

    async def _there(self) -> str:
        found = await self._find()
        if found is None:
            return f"; there is no such file{await self._left()}"
        if found.size_bytes < self._read_to:
            return "; it was made shorter while it was followed, only add to it"
        data = await self._watched.launcher.read_private(
            self._watched.run_id, self._path, 0, NAMES_LOOK_BYTES
        )
        if not data:
            return "; it is empty"
        if not self._is_json and self._watched.metric in json_names_in(data):
            return "; its lines are JSON, which is told by format: JSON of its fileSystemPath"
        names = json_names_in(data) if self._is_json else names_in(data, self._filter)
        return told(names, self._watched.metrics) or f"; there is none in {found.size_bytes} bytes"

    async def _find(self) -> PrivateFile | None:
        folder, name = posixpath.split(self._path)
        files = await self._watched.launcher.private_files(self._watched.run_id, folder)
        return next((file for file in files if file.path == name), None)

    async def _left(self) -> str:
        files = await self._watched.launcher.private_files(self._watched.run_id, "")
        names = [f"/{file.path}" for file in files[:_MAX_FILES_TOLD]]
        return f", it wrote {', '.join(names)}" if names else ""
