"""Runs one service in this process, from its settings to its drained end."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import structlog
import uvloop

from trialbus.adapters.http import health_app, serving
from trialbus.adapters.mongo_store import MongoSettings, MongoStore
from trialbus.adapters.nats_bus import NatsBus
from trialbus.adapters.opentelemetry import open_tracing
from trialbus.contracts.collections import EXPERIMENTS, HEARTBEATS
from trialbus.contracts.nats_identities import Identity, Role
from trialbus.kernel.errors import Transient
from trialbus.local.bus_connection import open_bus
from trialbus.local.definitions import load_definition
from trialbus.local.service_logs import log_as_json
from trialbus.runtime.beating import Beating
from trialbus.runtime.clock import RandomIds, SystemClock
from trialbus.runtime.outbox import Outbox
from trialbus.runtime.parts import Behaviour, Parts, ServiceDefinition
from trialbus.runtime.service import RunningService
from trialbus.runtime.settings import Settings
from trialbus.runtime.store_and_bus import ObservedBus, ObservedStore
from trialbus.runtime.telemetry import Telemetry, Unmeasured
from trialbus.runtime.watching import Watching

# Beyond the drain's own deadline: closing connections.
CLOSE_DEADLINE_S = 3.0
RETRY_PAUSE_S = 0.5


class ServiceEnded(RuntimeError):
    """A service came to its end although nobody had asked for that."""


def run_service(name: str, settings: Settings | None = None) -> int:
    """Host a service until SIGTERM or SIGINT; the exit code: 0 if it drained, 1 if it failed."""
    settings = settings or Settings()  # type: ignore[call-arg]
    log_as_json(settings.log_level)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_until_signalled(name, settings))
    except Exception:  # noqa: BLE001 - logged here, once, at the top; the exit code says it
        structlog.get_logger().exception("failed", service=name)
        return 1
    return 0


async def _until_signalled(name: str, settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await host_service(name, settings, stop)


async def host_service(name: str, settings: Settings, stop: asyncio.Event) -> None:
    """Until `stop` is set and the service has drained. Raises what it failed with, ServiceEnded
    when it ended by itself, UnknownService when it is not installed, NotPermitted when the bus does
    not let it do its work."""
    definition = load_definition(name)
    definition.check(settings)
    tracing = open_tracing(name, endpoint=settings.trace_endpoint, ratio=settings.trace_ratio)
    telemetry = (Telemetry if settings.metrics else Unmeasured)(name, tracing)
    telemetry.watch_process()
    running: list[RunningService] = []
    pages = health_app(
        lambda: any(service.ready for service in running),
        telemetry.registry if settings.metrics else None,
    )
    async with AsyncExitStack() as stack:
        stack.callback(tracing.close)
        # First of all, so that it is seen to be alive while it waits for a server.
        health = serving(pages, host=settings.host, port=settings.health_port)
        await stack.enter_async_context(health)
        parts, bus, watching = await _connect(stack, name, settings, telemetry)
        tasks = watching.tasks if settings.metrics else ()
        await _unless_denied(bus, _run(_with(definition, tasks), parts, running, stop))


async def _connect(
    stack: AsyncExitStack, name: str, settings: Settings, telemetry: Telemetry
) -> tuple[Parts, NatsBus, Watching]:
    client_name = f"trialbus-{name.replace('_', '-')}"
    store = MongoStore(
        MongoSettings(
            url=settings.mongo_url, database=settings.mongo_database, app_name=client_name
        )
    )
    stack.push_async_callback(store.close)
    bus = await open_bus(Identity(name=name, role=Role.SERVICE), settings)
    stack.push_async_callback(bus.close)
    clock = SystemClock()
    seen_bus = ObservedBus(bus, telemetry, clock)
    seen_store = ObservedStore(store, telemetry, clock)
    parts = Parts(
        bus=seen_bus,
        store=seen_store,
        clock=clock,
        ids=RandomIds(),
        settings=settings,
        outbox=Outbox(seen_bus, seen_store, clock, telemetry),
        telemetry=telemetry,
        serves_grpc=True,
    )
    return parts, bus, Watching(seen_bus, telemetry, clock, lambda: bus.reconnects)


def _with(
    definition: ServiceDefinition, tasks: tuple[Callable[[], Awaitable[None]], ...]
) -> ServiceDefinition:
    """These are done beside the service's own, and its heart beats."""

    async def build(parts: Parts) -> Behaviour:
        behaviour = await definition.build(parts)
        beating = Beating(parts, definition.name, behaviour.host)
        return replace(behaviour, tasks=(*behaviour.tasks, *tasks, beating.run))

    return replace(definition, build=build, owns=(*definition.owns, HEARTBEATS))


async def _unless_denied(bus: NatsBus, work: Coroutine[Any, Any, None]) -> None:
    """Raises NotPermitted as soon as the server has refused something: tried again it would be
    refused again, and look as if nobody answered."""
    working = asyncio.ensure_future(work)
    denied = asyncio.ensure_future(bus.denied())
    try:
        await asyncio.wait((working, denied), return_when=asyncio.FIRST_COMPLETED)
        if denied.done():
            raise denied.result()
        working.result()
    finally:
        for task in (working, denied):
            task.cancel()
        await asyncio.gather(working, denied, return_exceptions=True)


async def _run(
    definition: ServiceDefinition,
    parts: Parts,
    visible: list[RunningService],
    stop: asyncio.Event,
) -> None:
    built = asyncio.Event()
    service = RunningService(replace(definition, build=_noting(definition, built)), parts)
    visible.append(service)
    running = asyncio.ensure_future(service.run(stop))
    stopping = asyncio.ensure_future(stop.wait())
    reaching = asyncio.ensure_future(_reach(parts))
    try:
        await asyncio.wait((running, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            # What still waits for a server has nothing in hand.
            deadline = parts.settings.drain_deadline_s + CLOSE_DEADLINE_S
            await asyncio.wait((running,), timeout=deadline if built.is_set() else 0)
        if running.done():
            running.result()
        if not stop.is_set():
            raise ServiceEnded(f"{definition.name} ended without being asked to")
    finally:
        for task in (running, stopping, reaching):
            task.cancel()
        await asyncio.gather(running, stopping, reaching, return_exceptions=True)


async def _reach(parts: Parts) -> None:
    """Make the store connect, which it does at its first call: a service that owns nothing may
    make none for long, and would not be ready."""
    while not parts.store.connected:
        try:
            await parts.store.get_many(EXPERIMENTS.name, [""])
        except Transient:
            await parts.clock.sleep(RETRY_PAUSE_S)


def _noting(
    definition: ServiceDefinition, built: asyncio.Event
) -> Callable[[Parts], Awaitable[Behaviour]]:
    async def build(parts: Parts) -> Behaviour:
        built.set()
        return await definition.build(parts)

    return build
