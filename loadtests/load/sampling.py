"""What services and the system say while people call: /metrics and /proc, every few seconds."""

import asyncio
import math
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import nats
import nats.errors
import psutil
from nats.aio.client import Client
from prometheus_client.parser import text_string_to_metric_families

from trialbus.contracts import subjects
from trialbus.runtime import metrics
from trialbus.runtime.metric import Metric

SCRAPE_TIMEOUT_S = 10.0
# nats-server tells of so many at a time.
CONSUMERS_PAGE = 256
SUGGESTION = "suggestion"
ALGORITHMS = "suggestion's algorithms"
SUPERVISOR = "supervisor"

# Summed over services: each tells of its own outbox.
SUMMED: tuple[Metric, ...] = (
    metrics.OUTBOX_EVENTS,
    metrics.CONFLICTS,
    metrics.DEAD_LETTERS,
    metrics.REDELIVERIES,
    metrics.SWEEP_REPAIRS,
    metrics.FAILURES,
    metrics.METRIC_POINTS,
)
# Read as quantiles of the whole run.
HOPS: Mapping[str, Metric] = {
    "asked to proposed": metrics.SUGGESTED,
    "opened to launched": metrics.LAUNCHED,
    "reported to stored": metrics.REPORT_STORED,
    "ended to next opened": metrics.NEXT_START,
}
_HOPS_BY_NAME = {metric.name: hop for hop, metric in HOPS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Of one process or a few, MB and seconds. own: memory that it shares with none."""

    own_mb: float
    pss_mb: float
    processor_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """at: seconds since the beginning. lag: messages that services' consumers were not given yet or
    have not acknowledged; NaN if nats-server did not answer. sums: by name of the metric; those
    that no service told are missing. usage: by name of the process. silent: services that did not
    answer."""

    at: float
    lag: float
    sums: Mapping[str, float]
    usage: Mapping[str, Usage]
    silent: tuple[str, ...] = ()


@dataclass(slots=True)
class Scraped:
    """Of all services together. hops: upper bound -> count, by name of the hop. errors: answers
    of the gateway with a status of 500 or more."""

    sums: dict[str, float] = field(default_factory=dict)
    hops: dict[str, dict[float, float]] = field(default_factory=dict)
    errors: float = 0.0

    def add(self, text: str) -> None:
        """The answer of one service's /metrics."""
        wanted = {metric.name for metric in SUMMED}
        for found in _samples(text):
            name, labels, value = found.name, found.labels, found.value
            if name in wanted:
                self.sums[name] = self.sums.get(name, 0.0) + value
            elif labels.get("place") == "worker":
                continue  # it waited for a worker who asks
            elif (hop := _HOPS_BY_NAME.get(name.removesuffix("_bucket"))) and "le" in labels:
                buckets = self.hops.setdefault(hop, defaultdict(float))
                buckets[float(labels["le"])] += value
            elif name == f"{metrics.HTTP.name}_count" and labels["code"].startswith("5"):
                self.errors += value


def _samples(text: str) -> Iterable[Any]:
    """Only lines that are looked at are parsed: the whole text takes milliseconds."""
    names = (*(metric.name for metric in SUMMED), *_HOPS_BY_NAME, metrics.HTTP.name)
    lines = [line for line in text.splitlines() if line.startswith(names)]
    for family in text_string_to_metric_families("\n".join(lines) + "\n"):
        yield from family.samples


class Sampler:
    """Of a running stack, as its status tells it."""

    def __init__(self, status: Mapping[str, Any]) -> None:
        self._health = {name: it["health"] for name, it in status["services"].items()}
        self._processes = {
            name: psutil.Process(it["pid"])
            for name, it in {**status["services"], **status["servers"]}.items()
        }
        self._processes[SUPERVISOR] = psutil.Process(status["pid"])
        self._nats_url = status["nats"]
        self._bus: Client | None = None
        self._began = time.monotonic()
        self.samples: list[Sample] = []
        self.last = Scraped()

    @property
    def pids(self) -> Mapping[str, int]:
        """Of the services, by name."""
        return {name: self._processes[name].pid for name in self._health}

    @property
    def now(self) -> float:
        return time.monotonic() - self._began

    async def watch(self, every_s: float) -> None:
        """For ever."""
        while True:
            begun = self.now
            await self.sample()
            await asyncio.sleep(max(0.1, every_s - (self.now - begun)))

    async def sample(self) -> Sample:
        scraped, silent = Scraped(), []
        async with httpx.AsyncClient(timeout=SCRAPE_TIMEOUT_S) as client:
            for name, base in self._health.items():
                try:
                    answer = await client.get(f"{base}/metrics")
                    scraped.add(answer.raise_for_status().text)
                except httpx.HTTPError:
                    silent.append(name)
        usage = await asyncio.to_thread(self._usage)
        lag = await self._lag()
        found = Sample(at=self.now, lag=lag, sums=scraped.sums, usage=usage, silent=tuple(silent))
        self.samples.append(found)
        self.last = scraped
        return found

    async def close(self) -> None:
        if self._bus is not None:
            await self._bus.close()

    async def _lag(self) -> float:
        """Asked of nats-server itself: what services tell of it may be ten seconds old."""
        try:
            if self._bus is None:
                self._bus = await nats.connect(self._nats_url, name="loadtests")
            js = self._bus.jetstream()
            found = await js.consumers_info(subjects.EVENT_STREAM)
            while len(found) % CONSUMERS_PAGE == 0 and found:
                page = await js.consumers_info(subjects.EVENT_STREAM, offset=len(found))
                if not page:
                    break
                found += page
        except (nats.errors.Error, OSError, TimeoutError):
            return math.nan
        # Those of followers come and go; nobody waits for them.
        lasting = [it for it in found if it.config.durable_name]
        return float(sum((it.num_pending or 0) + (it.num_ack_pending or 0) for it in lasting))

    def _usage(self) -> dict[str, Usage]:
        """Trials' own processes are not ours."""
        groups = {name: [process] for name, process in self._processes.items()}
        if SUGGESTION in groups:
            groups[ALGORITHMS] = _children(groups[SUGGESTION][0])
        # A proxy before mongod has it as a child.
        groups["mongod"] += _children(groups["mongod"][0])
        return {
            name: usage
            for name, processes in groups.items()
            if (usage := _usage_of(processes)) is not None
        }


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children()
    except psutil.NoSuchProcess:
        return []


def _usage_of(processes: list[psutil.Process]) -> Usage | None:
    """None without a living one."""
    found = []
    for process in processes:
        try:
            memory, times = process.memory_full_info(), process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        found.append((memory.uss / 1e6, memory.pss / 1e6, times.user + times.system))
    if not found:
        return None
    own, pss, seconds = (sum(column) for column in zip(*found, strict=True))
    return Usage(own_mb=own, pss_mb=pss, processor_s=seconds)
