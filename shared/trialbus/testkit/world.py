"""All services in one process, on the in-memory bus, store and launcher, in virtual time.

A seed decides everything: what goes wrong, when, and what trials do. A service crashes at an
await of one of its calls into the world, before or after the call's effect; its memory is gone,
the world stays, and after a while it is started again.

A service may have replicas: `experiment` and `experiment/2` are two processes of one service.
"""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from prometheus_client import CollectorRegistry

from trialbus.contracts.messages import Message, Request
from trialbus.kernel.errors import InvariantBroken, Transient
from trialbus.ports.bus import Bus
from trialbus.ports.store import Store
from trialbus.ports.tracing import Tracing
from trialbus.runtime.outbox import Outbox
from trialbus.runtime.parts import Parts, ServiceDefinition
from trialbus.runtime.service import RunningService
from trialbus.runtime.settings import Settings
from trialbus.runtime.store_and_bus import ObservedBus, ObservedStore
from trialbus.runtime.telemetry import Telemetry
from trialbus.testkit.memory_bus import Fate, Faults, MemoryBus
from trialbus.testkit.memory_bus import MemoryClient as BusClient
from trialbus.testkit.memory_store import MemoryClient as StoreClient
from trialbus.testkit.memory_store import MemoryStore, StoreCall

_EPOCH = 1_700_000_000.0
STORE_LATENCY_S = 0.004
_ACK_WAIT_S = 5.0
# What a killed process awaits is cancelled again and again; nothing may resist this often.
_BURIAL_ROUNDS = 200


class LoopClock:
    """The loop's virtual time as the world's time."""

    def now(self) -> float:
        return round(_EPOCH + asyncio.get_running_loop().time(), 3)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, delay_s: float) -> None:
        """Nobody waits: the loop's time jumps."""
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(delay_s, _wake, woken)
        try:
            await woken
        finally:
            timer.cancel()


def _wake(sleeper: asyncio.Future[None]) -> None:
    if not sleeper.done():
        sleeper.set_result(None)


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


@dataclass(slots=True, eq=False)
class Life:
    """One process of one service, from its start to its end. tasks: all that it has running, in the
    order of their making (a dict is a set that keeps its order)."""

    key: str
    bus: BusClient
    store: StoreClient
    parts: Parts
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: dict[asyncio.Task[Any], None] = field(default_factory=dict)
    gone: bool = False

    def vanish(self) -> None:
        """As kill -9: nothing that it awaits from now on ever returns."""
        self.gone = True
        self.bus.vanish()
        self.store.cut()


# Whose code runs: a task belongs to the process whose code made it.
_OWNER: contextvars.ContextVar[Life | None] = contextvars.ContextVar("owner", default=None)


def _owned_task(
    loop: asyncio.AbstractEventLoop,
    coro: Coroutine[Any, Any, Any],
    *,
    context: contextvars.Context | None = None,
) -> asyncio.Task[Any]:
    task = asyncio.Task(coro, loop=loop, context=context)
    owner = _OWNER.get() if context is None else context.get(_OWNER)
    if owner is not None:
        owner.tasks[task] = None
        task.add_done_callback(lambda done: owner.tasks.pop(done, None))
    return task


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
        await self._world.clock.sleep(self._world.rng.expovariate(1 / self._world.latency_s))
        await self._world.passing(call.client)

    async def after(self, call: StoreCall) -> None:
        await self._world.passing(call.client)


def _settings() -> Settings:
    return Settings()  # type: ignore[call-arg]


@dataclass(slots=True)
class World:
    """The servers, and whichever services live now. faults: how many have happened. latency_s: of
    a call to the store in the mean; single calls overtake each other. tracing: of a process by its
    name; None: nothing is traced."""

    definitions: Mapping[str, ServiceDefinition]
    rng: Random
    weather: Weather = field(default_factory=Weather)
    settings: Settings = field(default_factory=_settings)
    faults: int = 0
    latency_s: float = STORE_LATENCY_S
    tracing: Callable[[str], Tracing] | None = None
    store: MemoryStore = field(init=False)
    bus: MemoryBus = field(init=False)
    clock: LoopClock = field(default_factory=LoopClock)
    failures: list[BaseException] = field(default_factory=list)
    # Whatever was handed to the bus, even if the weather or a wipe took it.
    published: list[Message] = field(default_factory=list)
    # What every process that ever lived has counted.
    registries: list[CollectorRegistry] = field(default_factory=list)
    _lives: dict[str, Life] = field(default_factory=dict)
    # process -> calls into the world until it crashes, and how long it stays away
    _doomed: dict[str, tuple[int, float]] = field(default_factory=dict)
    _closing: bool = False

    def __post_init__(self) -> None:
        self.store = MemoryStore(faults=_StoreFaults(self))
        self.bus = MemoryBus(faults=_MessageFaults(self), ack_wait_s=_ACK_WAIT_S)

    @property
    def processes(self) -> list[str]:
        """Those that live now."""
        return sorted(self._lives)

    def life(self, key: str) -> Life:
        """The process of this name as it lives now."""
        return self._lives[key]

    def start_all(self) -> None:
        for name in self.definitions:
            self.start(name)

    def start(self, key: str) -> None:
        """A process of the service that its name begins with."""
        loop = asyncio.get_running_loop()
        loop.set_task_factory(_owned_task)  # type: ignore[arg-type]
        life = self._new_life(key)
        service = RunningService(self.definitions[key.partition("/")[0]], life.parts)
        context = contextvars.copy_context()
        context.run(_OWNER.set, life)
        task = loop.create_task(service.run(life.stop), context=context)
        task.add_done_callback(lambda ended: self._ended(life, ended))
        self._lives[key] = life

    def _new_life(self, key: str) -> Life:
        bus, store = self.bus.client(key), self.store.client(key)
        telemetry = Telemetry(key, None if self.tracing is None else self.tracing(key))
        telemetry.log = SilentLog()
        self.registries.append(telemetry.registry)
        used_bus: Bus = bus
        used_store: Store = store
        if self.tracing is not None:
            used_bus = ObservedBus(bus, telemetry, self.clock)
            used_store = ObservedStore(store, telemetry, self.clock)
        parts = Parts(
            bus=used_bus,
            store=used_store,
            clock=self.clock,
            ids=CountingIds(key),
            settings=self.settings,
            outbox=Outbox(used_bus, used_store, self.clock, telemetry),
            telemetry=telemetry,
        )
        return Life(key=key, bus=bus, store=store, parts=parts)

    def crash(self, key: str, *, away_s: float) -> bool:
        """As kill -9: nothing that it awaits returns, nothing that it remembers survives."""
        life = self._lives.pop(key, None)
        if life is None:
            return False
        self.faults += 1
        self._end(life)
        asyncio.get_running_loop().call_later(away_s, self._revive, key)
        return True

    def retire(self, key: str, *, away_s: float) -> bool:
        """As SIGTERM: it drains, leaves, and is started again."""
        life = self._lives.get(key)
        if life is None or life.stop.is_set():
            return False
        self.faults += 1
        life.stop.set()
        main = asyncio.ensure_future(self._until_left(life))
        main.add_done_callback(lambda _: self._replace(life, away_s))
        return True

    async def _until_left(self, life: Life) -> None:
        while life.tasks:
            await asyncio.wait(list(life.tasks))

    def _replace(self, life: Life, away_s: float) -> None:
        if self._lives.get(life.key) is life:
            del self._lives[life.key]
            self._end(life)
            asyncio.get_running_loop().call_later(away_s, self._revive, life.key)

    def doom(self, key: str, *, calls: int, away_s: float) -> None:
        """The process will crash at one of its next calls into the world."""
        self._doomed[key] = (calls, away_s)

    async def passing(self, key: str) -> None:
        """A process is at an await: does it live on?"""
        doom = self._doomed.get(key)
        if doom is None:
            return
        calls, away_s = doom
        if calls > 0:
            self._doomed[key] = (calls - 1, away_s)
            return
        del self._doomed[key]
        self.crash(key, away_s=away_s)
        await never()

    def _end(self, life: Life) -> None:
        life.vanish()
        self._bury(life, _BURIAL_ROUNDS)

    def _bury(self, life: Life, rounds: int) -> None:
        """Its tasks await what never comes: end them, without effects on the world."""
        left = list(life.tasks)
        if not left:
            return
        if rounds == 0:
            self.failures.append(InvariantBroken(f"{life.key} goes on after its end: {left}"))
            return
        for task in left:
            task.cancel()
        asyncio.get_running_loop().call_soon(self._bury, life, rounds - 1)

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

    def cut_bus(self, key: str, *, for_s: float) -> bool:
        life = self._lives.get(key)
        if life is None:
            return False
        self.faults += 1
        life.bus.cut()
        asyncio.get_running_loop().call_later(for_s, life.bus.mend)
        return True

    def wipe_bus(self) -> None:
        """All that the bus kept is lost."""
        self.faults += 1
        self.bus.wipe()

    def take_store_away(self, *, for_s: float) -> None:
        self.faults += 1
        self.store.available = False
        asyncio.get_running_loop().call_later(for_s, self._bring_store_back)

    def calm_down(self) -> None:
        """From now on nothing goes wrong any more; who is away still comes back in his time."""
        self.weather = Weather()
        self._doomed.clear()
        self._bring_store_back()
        for life in self._lives.values():
            life.bus.mend()

    def _bring_store_back(self) -> None:
        self.store.available = True

    def _revive(self, key: str) -> None:
        if not self._closing and key not in self._lives:
            self.start(key)

    def _ended(self, life: Life, task: asyncio.Task[None]) -> None:
        if task.cancelled() or life.gone:
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
                await self.clock.sleep(0.5)

    async def close(self) -> None:
        """End every process, however long what it awaits would take."""
        self._closing = True
        lives = list(self._lives.values())
        for life in lives:
            self._end(life)
        for _ in range(_BURIAL_ROUNDS):
            if not any(life.tasks for life in lives):
                break
            await asyncio.sleep(0)


async def never() -> None:
    """What a process that is no more waits for."""
    await asyncio.get_running_loop().create_future()


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
