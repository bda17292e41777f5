"""A service in a process of its own on real servers: its page of metrics, and its lag."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from trialbus.adapters.mongo_store import MongoSettings, MongoStore
from trialbus.adapters.nats_bus import ConnectionOptions, NatsBus
from trialbus.contracts.collections import HEARTBEATS
from trialbus.local import hosting
from trialbus.local.servers.ports import free_ports
from trialbus.ports.store import Query
from trialbus.runtime import metrics
from trialbus.runtime.clock import SystemClock
from trialbus.runtime.metric import Metric
from trialbus.runtime.settings import Settings
from trialbus.runtime.store_and_bus import ObservedBus
from trialbus.runtime.telemetry import Telemetry
from trialbus.runtime.watching import Watching
from trialbus.testkit.bus_probes import event, partition_of, receive, unique
from trialbus.testkit.told_metrics import told
from trialbus.testkit.waits import until

pytestmark = pytest.mark.servers


@asynccontextmanager
async def hosted(
    settings: Settings, name: str = "early_stopping"
) -> AsyncIterator[httpx.AsyncClient]:
    """The service, with a client of its health port."""
    stop = asyncio.Event()
    service = asyncio.create_task(hosting.host_service(name, settings, stop))
    base = f"http://127.0.0.1:{settings.health_port}"
    async with httpx.AsyncClient(base_url=base) as client:

        async def is_ready() -> bool:
            if service.done():
                service.result()
            with suppress(httpx.TransportError):
                return (await client.get("/readyz")).status_code == 200
            return False

        try:
            await until(is_ready, "ready", within_s=30.0)
            yield client
        finally:
            stop.set()
            await service


@pytest.fixture
def settings(mongo_url: str, nats_url: str, tmp_path: Path) -> Settings:
    """Not async, because the servers' fixtures run an event loop."""
    return Settings.model_validate(
        {
            "mongo_url": mongo_url,
            "mongo_database": unique("t"),
            "nats_url": nats_url,
            "data_dir": tmp_path,
            "health_port": next(free_ports(1)),
        }
    )


async def value(client: httpx.AsyncClient, metric: Metric, suffix: str = "") -> float:
    """The sum over its labels."""
    page = (await client.get("/metrics")).raise_for_status().text
    found = [
        sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == metric.name + suffix
    ]
    assert found, f"{metric.name} is not told"
    return sum(found)


async def test_a_hosted_service_watches_itself_and_its_process(settings: Settings) -> None:
    async with hosted(settings) as client:
        assert await value(client, metrics.READY) == 1.0
        assert await value(client, metrics.BUILD_INFO) == 1.0
        assert await value(client, metrics.STORE, "_count") > 0

        async def is_watched() -> bool:
            return await value(client, metrics.LOOP_DELAY, "_count") > 0

        await until(is_watched, "the event loop is watched")
        page = (await client.get("/metrics")).text
        assert "process_cpu_seconds_total" in page
        assert "process_resident_memory_bytes" in page


async def test_a_hosted_launcher_shows_that_it_lives_and_whose_runs_it_follows(
    settings: Settings,
) -> None:
    store = MongoStore(MongoSettings(url=settings.mongo_url, database=settings.mongo_database))
    try:
        async with hosted(settings, "trial_launcher"):

            async def beats() -> list[str]:
                return [str(it["_id"]) for it in await store.find(HEARTBEATS.name, Query())]

            await until(beats, "a heartbeat")
            host = (settings.data_dir / "runs/host-id").read_text()
            assert await beats() == [f"trial_launcher@{host}"]
    finally:
        await store.close()


async def test_metrics_that_are_switched_off_leave_the_service_as_it_is(settings: Settings) -> None:
    async with hosted(settings.model_copy(update={"metrics": False})) as client:
        page = await client.get("/metrics")
        assert (page.status_code, "TRIALBUS_METRICS" in page.text) == (404, True)


async def test_the_lag_of_a_service_is_what_its_durables_say(nats_url: str) -> None:
    telemetry, clock = Telemetry("experiment"), SystemClock()
    bus = await NatsBus.open(ConnectionOptions(servers=[nats_url], name="lag"))
    try:
        await bus.provision()
        seen, service, namespace = ObservedBus(bus, telemetry, clock), unique("s"), unique("n")
        watching = Watching(seen, telemetry, clock, lambda: bus.reconnects)
        async with seen.inbox(service, ["trial.created"], partition_of(namespace)) as inbox:
            # What other tests have sent to this partition.
            while others := await inbox.fetch(max_messages=1, timeout_s=0.1):
                for delivery in others:
                    await delivery.ack()
            await seen.publish([event(namespace, number) for number in range(5)])
            held = await receive(inbox, 1)

            # The server counts what it has stored a moment after it has said so.
            await until(lambda: _lag_is(watching, telemetry, (4.0, 1.0)), "four wait")
            held += await receive(inbox, 4)
            await until(lambda: _lag_is(watching, telemetry, (0.0, 5.0)), "all are in hand")
            for delivery in held:
                await delivery.ack()
            await until(lambda: _lag_is(watching, telemetry, (0.0, 0.0)), "all are done")
        assert told(telemetry, metrics.RECONNECTS) == 0.0
    finally:
        await bus.close()


async def _lag_is(watching: Watching, telemetry: Telemetry, wanted: tuple[float, float]) -> bool:
    await watching.look_at_bus()
    pending, in_hand = metrics.CONSUMER_PENDING, metrics.CONSUMER_IN_HAND
    return (told(telemetry, pending), told(telemetry, in_hand)) == wanted
