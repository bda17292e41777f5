"""Metrics of runs on a cluster: shipped by a wrapper, read from logs, or asked of their pods."""

import asyncio
from collections.abc import Sequence

from trialbus.contracts import subjects
from trialbus.contracts.chunks import PushedPoint, PushReply, PushReport
from trialbus.contracts.shipping import MAX_PLACE
from trialbus.kernel.errors import Poison, Transient
from trialbus.kernel.limits import LOG_TAIL_BYTES, MAX_CHUNK_POINTS, REQUEST_TIMEOUT_S
from trialbus.kernel.metric_lines import described, names_in
from trialbus.kernel.run import Run
from trialbus.kernel.spec import MetricsEndpoint
from trialbus.ports.bus import Request
from trialbus.ports.launcher import RunStatus
from trialbus.runtime.parts import Parts
from trialbus_trial_launcher.app.sources.custom import PushSource
from trialbus_trial_launcher.app.sources.files import OutputSource
from trialbus_trial_launcher.app.sources.scraping import Get, samples_in
from trialbus_trial_launcher.app.sources.source import Watched, told
from trialbus_trial_launcher.core.scrapes import Sample, WhyNone, news


class ShippedSource(PushSource):
    """The wrapper in its pod ships it all; here only its end is told, at what is stored by then."""

    async def looked(self) -> str:
        collector, metric = self._watched.collector, self._watched.metric
        where = "its output" if collector.path is None else f"{collector.path.path}"
        wanted = described(collector.filters, metric)
        return f"looked in {where} for {wanted}, as the wrapper in its pod shipped it"


class PodCollectorSource(PushSource):
    """Custom: a container beside the trial reports, and ends with its pod."""

    async def looked(self) -> str:
        metric = self._watched.metric
        return f"waited for the custom collector in its pod to report {metric!r}"


class PodOutputSource(OutputSource):
    """StdOut without a wrapper: the log of its pod, which says itself where it ends."""

    def __init__(self, watched: Watched) -> None:
        super().__init__(watched)
        self.missing = ""

    async def finish(self, _status: RunStatus, /) -> int:
        return MAX_PLACE

    async def read(self, from_byte: int, max_bytes: int, /) -> bytes:
        data = await super().read(from_byte, max_bytes)
        if not data:
            run_id = self._watched.run_id
            self.missing = (await self._watched.launcher.status([run_id]))[run_id].missing
        return data

    async def looked(self) -> str:
        watched = self._watched
        names = names_in(await watched.launcher.tail(watched.run_id, LOG_TAIL_BYTES), self._filter)
        wanted = described(watched.collector.filters, watched.metric)
        return f"looked in its output for {wanted}{told(names, watched.metrics)}"


class PodScrapeSource(PushSource):
    """PrometheusMetric: the pod is asked, and what has changed since is pushed.

    A push is named by its time slot: of two launchers that follow one run, one is heard. A launcher
    that takes a run over tells the present values once more."""

    is_live = True

    def __init__(
        self, watched: Watched, run: Run, endpoint: MetricsEndpoint, get: Get, parts: Parts
    ) -> None:
        super().__init__(watched)
        self._run = run
        self._endpoint = endpoint
        self._get = get
        self._parts = parts
        self._interval_s = parts.settings.scrape_interval_s
        self._next_at = 0.0
        self._why_none = WhyNone()
        self._seen: list[str] = []
        self._last: dict[str, tuple[float, float | None]] = {}

    async def gather(self) -> None:
        clock = self._parts.clock
        if clock.monotonic() < self._next_at:
            return
        self._next_at = clock.monotonic() + self._interval_s
        try:
            samples = await self._scrape()
        except Transient as error:
            self._why_none.failed(error)
            return
        self._why_none.came(samples)
        self._seen = self._seen or sorted({sample.name for sample in samples})
        fresh = news(samples, self._watched.metrics, self._last)[:MAX_CHUNK_POINTS]
        if fresh:
            await self._push(fresh, clock.now())
            self._last |= {sample.key: (sample.value, sample.at) for sample in fresh}

    async def looked(self) -> str:
        metric, endpoint = self._watched.metric, self._endpoint
        asked = f"asked its pod at port {endpoint.port}{endpoint.path} for samples named {metric!r}"
        if self._seen:
            return f"{asked}{told(self._seen, self._watched.metrics)}"
        return f"{asked}; {self._why_none.text or 'it ended before it answered'}"

    async def _scrape(self) -> Sequence[Sample]:
        endpoint = self._endpoint
        host = endpoint.host or await self._watched.launcher.address(self._watched.run_id)
        if not host:
            raise Transient("its pod has no address yet")
        shown = f"[{host}]" if ":" in host else host
        path = endpoint.path.lstrip("/")
        url = f"{endpoint.scheme.lower()}://{shown}:{endpoint.port}/{path}"
        return await asyncio.to_thread(samples_in, await self._get(url, endpoint.headers))

    async def _push(self, samples: Sequence[Sample], now: float) -> None:
        """Raises Transient; then the same values are pushed at the next look."""
        run = self._run
        report = PushReport(
            id=f"scrape.{run.id}.{int(now / self._interval_s)}",
            points=tuple(
                PushedPoint(metric=it.name, value=it.value, at=now if it.at is None else it.at)
                for it in samples
            ),
            attempt=run.attempt,
            uid=run.uid,
        )
        subject = subjects.push(run.namespace, run.experiment, run.trial)
        request = Request(subject=subject, data=report.to_bytes())
        answer = await self._parts.bus.request(request, timeout_s=REQUEST_TIMEOUT_S)
        try:
            reply = PushReply.from_bytes(answer)
        except Poison as error:
            raise Transient(f"unreadable answer to a push: {error}") from error
        if not reply.accepted and reply.refused is None:
            raise Transient("the collector did not take what was scraped")
