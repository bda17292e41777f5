"""All services in one process, on the in-memory bus, store and launcher, in virtual time.

A seed decides everything: what goes wrong, when, and what trials do. A service crashes at an
await of one of its calls into the world, before or after the call's effect; its memory is gone,
the world stays, and after a while it is started again.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from trialbus.contracts.messages import Message, Request
from trialbus.kernel.errors import Transient
from trialbus.runtime.outbox import Outbox
from trialbus.runtime.parts import Parts, ServiceDefinition
from trialbus.runtime.service import RunningService
from trialbus.runtime.settings import Settings
from trialbus.runtime.telemetry import Telemetry
from trialbus.testkit.memory_bus import Fate, Faults, MemoryBus
from trialbus.testkit.memory_bus import MemoryClient as BusClient
from trialbus.testkit.memory_store import MemoryClient as StoreClient
from trialbus.testkit.memory_store import MemoryStore, StoreCall

_EPOCH = 1_700_000_000.0
_STORE_LATENCY_S = 0.002
_ACK_WAIT_S = 5.0


class LoopClock:
    """The loop's virtual time as the world's time."""

    def now(self) -> float:
        return round(_EPOCH + asyncio.get_running_loop().time(), 3)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)


class CountingIds:
    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._count = 0

    def new_id(self) -> str:
        self._count += 1
        return f"{self._prefix}-{self._count}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """How likely single messages suffer. Probabilities."""

    drop: float = 0.0
    repeat: float = 0.0
    late: float = 0.0
    unconfirmed: float = 0.0
    late_s: float = 3.0


@dataclass(slots=True)
class _Instance:
    """One life of one service."""

    bus: BusClient
    store: StoreClient
    task: asyncio.Task[None]
    stop: asyncio.Event
    parts: Parts


class _MessageFaults(Faults):
    def __init__(self, world: "World") -> None:
        self._world = world

    def on_publish(self, message: Message) -> Fate:
        self._world.published.append(message)
        return self._world.fate()

    def on_request(self, request: Request) -> Fate:
        del request
        return self._world.fate()

    def on_reply(self, request: Request) -> Fate:
        del request
        return self._world.fate()


class _StoreFaults:
    def __init__(self, world: "World") -> None:
        self._world = world

    async def before(self, call: StoreCall) -> None:
        await self._world.passing(call.client)

    async def after(self, call: StoreCall) -> None:
        await self._world.passing(call.client)


def _settings() -> Settings:
    return Settings()  # type: ignore[call-arg]


@dataclass(slots=True)
class World:
    """The servers, and whichever services live now."""

    definitions: Mapping[str, ServiceDefinition]
    rng: Random
    weather: Weather = field(default_factory=Weather)
    settings: Settings = field(default_factory=_settings)
    crashes: int = 0
    store: MemoryStore = field(init=False)
    bus: MemoryBus = field(init=False)
    clock: LoopClock = field(default_factory=LoopClock)
    failures: list[BaseException] = field(default_factory=list)
    # Whatever was handed to the bus, even if the weather or a wipe took it.
    published: list[Message] = field(default_factory=list)
    _instances: dict[str, _Instance] = field(default_factory=dict)
    # service -> calls into the world until it crashes, and how long it stays away
    _doomed: dict[str, tuple[int, float]] = field(default_factory=dict)
    _closing: bool = False

    def __post_init__(self) -> None:
        self.store = MemoryStore(faults=_StoreFaults(self), latency_s=_STORE_LATENCY_S)
        self.bus = MemoryBus(faults=_MessageFaults(self), ack_wait_s=_ACK_WAIT_S)

    def start_all(self) -> None:
        for name in self.definitions:
            self.start(name)

    def start(self, name: str) -> None:
        bus = self.bus.client(name)
        store = self.store.client(name)
        telemetry = Telemetry(name)
        telemetry.log = SilentLog()
        parts = Parts(
            bus=bus,
            store=store,
            clock=self.clock,
            ids=CountingIds(name),
            settings=self.settings,
            outbox=Outbox(bus, store, self.clock, telemetry),
            telemetry=telemetry,
        )
        stop = asyncio.Event()
        service = RunningService(self.definitions[name], parts)
        task = asyncio.ensure_future(service.run(stop))
        task.add_done_callback(self._ended)
        self._instances[name] = _Instance(bus, store, task, stop, parts)

    def crash(self, name: str, *, away_s: float) -> None:
        """As kill -9: nothing that it awaits returns, nothing that it remembers survives."""
        instance = self._instances.pop(name, None)
        if instance is None:
            return
        self.crashes += 1
        instance.bus.vanish()
        instance.store.cut()
        instance.task.cancel()
        asyncio.get_running_loop().call_later(away_s, self._revive, name)

    def doom(self, name: str, *, calls: int, away_s: float) -> None:
        """The service will crash at one of its next awaits of the store."""
        self._doomed[name] = (calls, away_s)

    async def passing(self, name: str) -> None:
        """A service is at an await: does it live on?"""
        doom = self._doomed.get(name)
        if doom is None:
            return
        calls, away_s = doom
        if calls > 0:
            self._doomed[name] = (calls - 1, away_s)
            return
        del self._doomed[name]
        self.crash(name, away_s=away_s)
        await asyncio.get_running_loop().create_future()

    def fate(self) -> Fate:
        """What happens to one message in this weather."""
        draw = self.rng.random()
        weather = self.weather
        if draw < weather.drop:
            return Fate(delays_s=(), confirmed=self.rng.random() < 0.5)
        draw -= weather.drop
        if draw < weather.repeat:
            return Fate(delays_s=(0.0, self.rng.random() * weather.late_s))
        draw -= weather.repeat
        if draw < weather.late:
            return Fate(delays_s=(self.rng.random() * weather.late_s,))
        draw -= weather.late
        if draw < weather.unconfirmed:
            return Fate(confirmed=False)
        return Fate()

    def cut_bus(self, name: str, *, for_s: float) -> None:
        instance = self._instances.get(name)
        if instance is not None:
            instance.bus.cut()
            asyncio.get_running_loop().call_later(for_s, instance.bus.mend)

    def take_store_away(self, *, for_s: float) -> None:
        self.store.available = False
        asyncio.get_running_loop().call_later(for_s, self._bring_store_back)

    def _bring_store_back(self) -> None:
        self.store.available = True

    def _revive(self, name: str) -> None:
        if not self._closing and name not in self._instances:
            self.start(name)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or self._closing:
            return
        error = task.exception()
        if error is not None:
            self.failures.append(error)

    async def command(self, subject: str, data: bytes) -> bytes:
        """Ask as the gateway does: repeat until it is answered."""
        client = self.bus.client("outside")
        while True:
            try:
                return await client.request(Request(subject=subject, data=data), timeout_s=5.0)
            except Transient:
                await asyncio.sleep(0.5)

    async def close(self) -> None:
        self._closing = True
        for instance in self._instances.values():
            instance.task.cancel()
        # What awaits a connection that is gone never ends; it must not be waited for.
        await asyncio.sleep(0)


class SilentLog:
    """Simulations say nothing unless they fail."""

    def debug(self, event: str, **fields: object) -> None:
        """Nothing."""

    def info(self, event: str, **fields: object) -> None:
        """Nothing."""

    def warning(self, event: str, **fields: object) -> None:
        """Nothing."""

    def error(self, event: str, **fields: object) -> None:
        """Nothing."""
