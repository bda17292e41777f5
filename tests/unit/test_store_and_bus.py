"""The bus and the store as a service sees them: timed, counted, and otherwise as they are."""

import asyncio
from collections.abc import Sequence

import pytest

from trialbus.contracts import subjects
from trialbus.contracts.collections import EXPERIMENTS
from trialbus.contracts.documents import EXPERIMENT
from trialbus.contracts.messages import Request
from trialbus.kernel.errors import Transient
from trialbus.ports.bus import Answer
from trialbus.ports.store import Outcome, Query, Unstorable, Write
from trialbus.runtime import metrics
from trialbus.runtime.store_and_bus import ObservedBus, ObservedStore, kind_of
from trialbus.runtime.telemetry import Telemetry
from trialbus.testkit.bus_probes import event, partition_of, receive
from trialbus.testkit.still_world import StillClock, StillWorld, experiment
from trialbus.testkit.told_metrics import told, told_seconds

STATE = experiment(1)
DOCUMENT = EXPERIMENT.encode(STATE)


class TickingClock(StillClock):
    """Every look at it is a quarter of a second later."""

    def monotonic(self) -> float:
        self.time += 0.25
        return self.time


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry("experiment")


@pytest.fixture
async def world() -> StillWorld:
    world = StillWorld()
    await world.prepare()
    return world


def store_of(world: StillWorld, telemetry: Telemetry) -> ObservedStore:
    return ObservedStore(world.store.client("seen"), telemetry, TickingClock())


def bus_of(world: StillWorld, telemetry: Telemetry) -> ObservedBus:
    return ObservedBus(world.bus.client("seen"), telemetry, TickingClock())


async def test_every_call_of_the_store_is_timed_by_its_operation(
    world: StillWorld, telemetry: Telemetry
) -> None:
    store = store_of(world, telemetry)
    assert await store.commit(EXPERIMENTS.name, [Write(base=None, document=DOCUMENT)]) == [
        Outcome.DONE
    ]
    assert await store.get_many(EXPERIMENTS.name, [STATE.id]) == {STATE.id: DOCUMENT}
    assert len(await store.find(EXPERIMENTS.name, Query())) == 1
    assert await store.count(EXPERIMENTS.name, Query()) == 1
    await store.clear_outbox(EXPERIMENTS.name, {STATE.id: ["none"]})
    assert await store.delete(EXPERIMENTS.name, Query()) == 1
    for operation in ("commit", "get", "find", "count", "clear_outbox", "delete"):
        assert told(telemetry, metrics.STORE, operation=operation) == 1.0
        assert told_seconds(telemetry, metrics.STORE, operation=operation) == 0.25


async def test_documents_are_counted_by_collection_and_nothing_is_no_call(
    world: StillWorld, telemetry: Telemetry
) -> None:
    store = store_of(world, telemetry)
    second = EXPERIMENT.encode(experiment(uid="22222222-2222-4222-8222-222222222222"))
    writes = [Write(base=None, document=it) for it in (DOCUMENT, second)]
    await store.commit(EXPERIMENTS.name, writes)
    assert told(telemetry, metrics.STORE_WRITES, collection=EXPERIMENTS.name) == 2.0
    assert await store.commit(EXPERIMENTS.name, []) == []
    assert await store.get_many(EXPERIMENTS.name, []) == {}
    assert told(telemetry, metrics.STORE) == 1.0


async def test_only_what_was_written_is_counted_as_written(
    world: StillWorld, telemetry: Telemetry
) -> None:
    store = store_of(world, telemetry)
    second = EXPERIMENT.encode(experiment(uid="22222222-2222-4222-8222-222222222222"))
    write = Write(base=None, document=DOCUMENT)
    await store.commit(EXPERIMENTS.name, [write])
    assert await store.commit(EXPERIMENTS.name, [write]) == [Outcome.CONFLICT]
    assert told(telemetry, metrics.STORE_WRITES) == 1.0
    broken = {**DOCUMENT, "_id": "broken", "seed": 2**70}
    with pytest.raises(Unstorable):
        await store.commit(
            EXPERIMENTS.name, [Write(base=None, document=it) for it in (broken, second)]
        )
    assert told(telemetry, metrics.STORE_WRITES) == 2.0


async def test_a_store_that_is_away_is_a_failure_and_still_timed(
    world: StillWorld, telemetry: Telemetry
) -> None:
    client = world.store.client("seen")
    store = ObservedStore(client, telemetry, TickingClock())
    client.reachable = False
    with pytest.raises(Transient):
        await store.count(EXPERIMENTS.name, Query())
    assert told(telemetry, metrics.STORE_FAILURES, operation="count") == 1.0
    assert told(telemetry, metrics.STORE_FAILURES) == 1.0
    assert told(telemetry, metrics.STORE, operation="count") == 1.0


async def test_requests_are_timed_by_kind_on_both_sides(
    world: StillWorld, telemetry: Telemetry
) -> None:
    bus, served = bus_of(world, telemetry), Telemetry("experiment")
    server = ObservedBus(world.bus.client("server"), served, TickingClock())

    async def respond(requests: Sequence[Request]) -> Sequence[Answer]:
        return [b"done" for _ in requests]

    request = Request(subject=subjects.command("team", "tune", "suspend"), data=b"?")
    async with server.serve(subjects.commands("suspend"), "experiment", respond, max_group=8):
        assert await bus.request(request, timeout_s=1.0) == b"done"
    assert told(telemetry, metrics.REQUESTS, kind="suspend") == 1.0
    assert told(served, metrics.SERVED, kind="suspend") == 1.0
    assert told(telemetry, metrics.REQUEST_FAILURES) == 0.0


async def test_a_request_that_nobody_answers_is_a_failure(
    world: StillWorld, telemetry: Telemetry
) -> None:
    bus = bus_of(world, telemetry)
    request = Request(subject=subjects.command("team", "tune", "edit"), data=b"?")
    with pytest.raises(Transient):
        await bus.request(request, timeout_s=1.0)
    assert told(telemetry, metrics.REQUEST_FAILURES, kind="edit") == 1.0
    assert told(telemetry, metrics.REQUESTS, kind="edit") == 1.0


async def test_a_responder_that_fails_is_timed_too(world: StillWorld, telemetry: Telemetry) -> None:
    bus = bus_of(world, telemetry)
    asked = asyncio.Event()

    async def respond(_: Sequence[Request]) -> Sequence[Answer]:
        asked.set()
        raise Transient("the store is away")

    request = Request(subject=subjects.command("team", "tune", "edit"), data=b"?")
    async with bus.serve(subjects.commands(), "experiment", respond, max_group=8):
        with pytest.raises(Transient):
            await bus.request(request, timeout_s=0.05)
    assert asked.is_set()
    assert told(telemetry, metrics.SERVED, kind="cmd") == 1.0


async def test_the_queues_that_a_process_reads_are_known_with_their_backlog(
    world: StillWorld, telemetry: Telemetry
) -> None:
    bus = bus_of(world, telemetry)
    assert bus.queues == set()
    async with bus.inbox("experiment", ["trial.created"], partition_of("team")) as inbox:
        await bus.publish([event("team", number) for number in range(3)])
        [held] = await receive(inbox, 1)
        backlog = await bus.backlog("experiment")
        assert (backlog.pending, backlog.in_hand) == (2, 1)
        await held.ack()
    assert bus.queues == {"experiment"}
    assert bus.connected
    await bus.close()
    assert not bus.connected


@pytest.mark.parametrize(
    ("subject", "kind"),
    [
        (subjects.command("team", "tune", "suspend"), "suspend"),
        (subjects.commands("suspend"), "suspend"),
        (subjects.commands(), "cmd"),
        (subjects.metrics(), "metric"),
        (subjects.claims(), "claim"),
        ("strange", "other"),
    ],
)
def test_the_kind_of_a_request_has_no_name_in_it(subject: str, kind: str) -> None:
    assert kind_of(subject) == kind
