"""PrometheusMetric: a run's endpoint, asked again and again while it lives."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from prometheus_client.parser import text_string_to_metric_families

from trialbus.kernel.errors import Transient
from trialbus.kernel.line_streams import LineReader
from trialbus.kernel.spec import MetricsEndpoint
from trialbus.kernel.timestamps import epoch_seconds
from trialbus.ports.clock import Clock
from trialbus.ports.launcher import RunStatus
from trialbus_trial_launcher.app.sources.source import Watched, told
from trialbus_trial_launcher.app.sources.spooling import Spool
from trialbus_trial_launcher.core.scrapes import Sample, Unusable, WhyNone, news
from trialbus_trial_launcher.core.spool import MAX_LINE_POINTS, SpoolReader, spool_line

# Beside the run: the port that it was given.
PORT_FILE = "metrics-port.txt"
PORT_VARIABLE = "TRIALBUS_METRICS_PORT"
_LOOPBACK = "127.0.0.1"
_PORT_CHARS = 8

# The body of the answer to a GET with these headers. Raises Transient with the reason when there is
# none, Unusable when there was an answer.
Get = Callable[[str, Sequence[tuple[str, str]]], Awaitable[bytes]]


class ScrapeSource:
    """Spools what has changed since the last scrape, with the time of the scrape.

    own_port: the run's template says where it listens, so its endpoint is at the port that it was
    given; else it is at the one of the spec."""

    is_live = True
    missing = ""

    def __init__(
        self,
        watched: Watched,
        endpoint: MetricsEndpoint,
        *,
        own_port: bool,
        get: Get,
        clock: Clock,
        interval_s: float,
    ) -> None:
        self._watched = watched
        self._endpoint = endpoint
        self._own_port = own_port
        self._get = get
        self._clock = clock
        self._interval_s = interval_s
        self._spool = Spool(watched.launcher, watched.run_id)
        self._next_at = 0.0
        self._url = ""
        self._why_none = WhyNone()
        self._seen: list[str] = []
        self._last: dict[str, tuple[float, float | None]] = {}
        self._is_recovered = False

    def reader(self, start: int) -> LineReader:
        return SpoolReader(start=start)

    async def read(self, from_byte: int, max_bytes: int, /) -> bytes:
        return await self._spool.read(from_byte, max_bytes)

    async def gather(self) -> None:
        if not self._is_recovered:
            await self._recover()
        if self._clock.monotonic() < self._next_at:
            return
        try:
            body = await self._get(await self._address(), self._endpoint.headers)
            samples = await asyncio.to_thread(samples_in, body)
        except Transient as error:
            self._why_none.failed(error)
        else:
            self._why_none.came(samples)
            await self._take(samples, self._clock.now())
        self._next_at = self._clock.monotonic() + self._interval_s

    async def finish(self, _status: RunStatus, /) -> int:
        if not self._is_recovered:
            await self._recover()
        return self._spool.size_bytes

    async def abandon(self) -> None:
        """Nothing goes with it."""

    async def looked(self) -> str:
        metric = self._watched.metric
        looked = f"asked {await self._address()} for samples named {metric!r}"
        if self._seen:
            return f"{looked}{told(self._seen, self._watched.metrics)}"
        if why_none := self._why_none.text:
            return f"{looked}; it gave none: {why_none}"
        return f"{looked}; it ended before it answered"

    async def _recover(self) -> None:
        """What the last launcher saw last."""
        self._last, self._seen = {}, []
        async for record in self._spool.records():
            match record:
                case {"samples": [*entries]}:
                    for entry in entries:
                        match entry:
                            case [str(key), float(value), float() | None as at]:
                                self._last[key] = (value, at)
                case {"seen": [*names]}:
                    self._seen = list(map(str, names))
        self._is_recovered = True

    async def _address(self) -> str:
        if not self._url:
            endpoint = self._endpoint
            port = str(endpoint.port)
            if self._own_port:
                data = await self._watched.launcher.read_kept(
                    self._watched.run_id, PORT_FILE, 0, _PORT_CHARS
                )
                port = data.decode("ascii", "replace").strip() or port
            host = endpoint.host or _LOOPBACK
            path = endpoint.path.lstrip("/")
            self._url = f"{endpoint.scheme.lower()}://{host}:{port}/{path}"
        return self._url

    async def _take(self, samples: Sequence[Sample], now: float) -> None:
        fresh = news(samples, self._watched.metrics, self._last)
        lines = [
            spool_line(
                [(sample.name, sample.value) for sample in group],
                at=now if at is None else at,
                samples=[(sample.key, sample.value, sample.at) for sample in group],
            )
            for at, group in _lines_of(fresh)
        ]
        if not self._seen and (names := _names(samples)):
            self._seen = names
            lines.append(spool_line(seen=names))
        self._is_recovered = False
        await self._spool.append(lines)
        self._is_recovered = True
        self._last |= {sample.key: (sample.value, sample.at) for sample in fresh}


def _lines_of(samples: Sequence[Sample]) -> list[tuple[float | None, list[Sample]]]:
    """Together what has one time, in order."""
    lines: list[tuple[float | None, list[Sample]]] = []
    for sample in samples:
        if lines and lines[-1][0] == sample.at and len(lines[-1][1]) < MAX_LINE_POINTS:
            lines[-1][1].append(sample)
        else:
            lines.append((sample.at, [sample]))
    return lines


def _names(samples: Sequence[Sample]) -> list[str]:
    """The trial's own first: every Python client also tells of its process."""
    names = dict.fromkeys(sample.name for sample in samples)
    return sorted(names, key=lambda name: name.startswith(("python_", "process_")))[
        :MAX_LINE_POINTS
    ]


def samples_in(body: bytes) -> list[Sample]:
    """In a text of Prometheus's format. Raises Unusable: the next answer may be whole."""
    try:
        return [
            Sample(
                sample.name,
                tuple(sorted(sample.labels.items())),
                float(sample.value),
                epoch_seconds(None if sample.timestamp is None else float(sample.timestamp)),
            )
            for family in text_string_to_metric_families(body.decode())
            for sample in family.samples
        ]
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise Unusable(f"its answer is no text of Prometheus: {error}") from error
