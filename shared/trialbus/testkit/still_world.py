"""One service's world for unit tests: in-memory bus and store, and a clock that a test moves.

world = StillWorld()
await world.prepare(experiment(1))
behaviour = await service.build(world.parts("replica"))
"""

import asyncio
from dataclasses import dataclass, field, replace

from trialbus.contracts.collections import COLLECTIONS, EXPERIMENTS
from trialbus.contracts.documents import EXPERIMENT, Document
from trialbus.contracts.envelope import decode_event
from trialbus.kernel.events import Event
from trialbus.kernel.experiment import Experiment, ExperimentPhase, OpenState, OpenTrial
from trialbus.kernel.objective import Objective, ObjectiveType
from trialbus.kernel.spec import AlgorithmSpec, ExperimentSpec
from trialbus.ports.store import Write
from trialbus.runtime.outbox import Outbox
from trialbus.runtime.parts import Parts
from trialbus.runtime.settings import Settings
from trialbus.runtime.telemetry import Telemetry
from trialbus.testkit.memory_bus import MemoryBus
from trialbus.testkit.memory_store import MemoryStore
from trialbus.testkit.waits import until

UID = "11111111-1111-4111-8111-111111111111"


class StillClock:
    """Time stands until a test moves it; who waits for it waits for ever."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, delay_s: float) -> None:
        if delay_s > 0:
            await asyncio.get_running_loop().create_future()


class HastyClock(StillClock):
    """Who waits has waited."""

    async def sleep(self, delay_s: float) -> None:
        self.time += delay_s
        await asyncio.sleep(0)


class WokenClock(StillClock):
    """Who sleeps is woken by the test, one sleep at a time; the time stands still meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    async def sleep(self, delay_s: float) -> None:
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((delay_s, sleeper))
        await sleeper

    @property
    def asleep(self) -> int:
        """How many sleep now."""
        return len(self._sleepers)

    async def wake(self, late_s: float = 0.0) -> float:
        """The oldest sleeper wakes, so much late; how long it wanted to sleep."""
        await until(lambda: bool(self._sleepers), "somebody sleeps")
        delay_s, sleeper = self._sleepers.pop(0)
        self.time += delay_s + late_s
        sleeper.set_result(None)
        return delay_s


class NoIds:
    """For services whose documents have keys of their own."""

    def new_id(self) -> str:
        raise AssertionError("nothing here needs a new id")


@dataclass
class StillWorld:
    store: MemoryStore = field(default_factory=MemoryStore)
    bus: MemoryBus = field(default_factory=MemoryBus)
    clock: StillClock = field(default_factory=StillClock)

    async def prepare(self, *experiments: Experiment) -> None:
        """Collections with their indexes, and these experiments."""
        await self.store.client("test").prepare(COLLECTIONS)
        for each in experiments:
            await self.put(each)

    async def put(self, state: Experiment) -> None:
        """As the next version, whatever is there."""
        client = self.store.client("test")
        base = (await client.get_many(EXPERIMENTS.name, [state.id])).get(state.id)
        version = 1 if base is None else base["version"] + 1
        document = EXPERIMENT.encode(replace(state, version=version))
        await client.commit(EXPERIMENTS.name, [Write(base=base, document=document)])

    async def insert(self, collection: str, document: Document) -> None:
        await self.store.client("test").commit(collection, [Write(base=None, document=document)])

    def parts(self, replica: str = "replica") -> Parts:
        """Of one process: its own connections, counters and outbox."""
        bus, store = self.bus.client(replica), self.store.client(replica)
        telemetry = Telemetry(replica)
        return Parts(
            bus=bus,
            store=store,
            clock=self.clock,
            ids=NoIds(),
            settings=Settings.model_validate({}),
            outbox=Outbox(bus, store, self.clock, telemetry),
            telemetry=telemetry,
        )

    @property
    def events(self) -> list[Event]:
        """All that the bus has."""
        return [decode_event(message) for message in self.bus.events]


def experiment(
    *open_attempts: int,
    uid: str = UID,
    rule: AlgorithmSpec | None = None,
    phase: ExperimentPhase = ExperimentPhase.RUNNING,
) -> Experiment:
    """`team/tune`, which minimises `loss`. open_attempts: of trial 0, 1, ..."""
    return Experiment(
        id=uid,
        version=1,
        namespace="team",
        name="tune",
        spec=ExperimentSpec(
            parameters=(),
            objective=Objective(type=ObjectiveType.MINIMIZE, metric="loss"),
            algorithm=AlgorithmSpec(name="random"),
            early_stopping=rule,
        ),
        source={},
        seed=1,
        phase=phase,
        created_at=0.0,
        alive_name=None,
        open={str(index): opened(attempt) for index, attempt in enumerate(open_attempts)},
        completed_at=1000.0 if phase is ExperimentPhase.DELETED else None,
    )


def opened(attempt: int) -> OpenTrial:
    return OpenTrial(attempt=attempt, state=OpenState.ACTIVE, request=1, opened_at=0.0)


def deleted(state: Experiment) -> Experiment:
    """Its tombstone, of time 1000."""
    return replace(state, phase=ExperimentPhase.DELETED, active=False, open={}, completed_at=1000.0)
