"""The bus with identities: what only the provisioner makes, what ends a service, whom a server
answers, and keys that change while all runs."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import nats.errors
import pytest
import structlog
from nats.aio.client import Client

from trialbus.adapters.nats_bus import NatsBus
from trialbus.contracts import subjects
from trialbus.contracts.nats_identities import (
    EXPERIMENT,
    GATEWAY,
    PROVISIONER,
    TRIAL_LAUNCHER,
    Identity,
    Role,
    outside,
)
from trialbus.contracts.queues import WEBHOOK_QUEUE
from trialbus.kernel.errors import NotPermitted, Transient
from trialbus.kernel.events import heard_by
from trialbus.local import nats_accounts
from trialbus.local.bus_connection import open_bus
from trialbus.local.hosting import host_service
from trialbus.local.provisioning import provision
from trialbus.ports.bus import Backlog, Request
from trialbus.testkit.bus_probes import event, first, partition_of, receive
from trialbus.testkit.secured_bus import SecuredBus, secured_bus, settled
from trialbus.testkit.waits import until

pytestmark = pytest.mark.servers

DEADLINE_S = 20.0
PIPE = outside(Role.PIPELINE, "pipe", ["red"])
STOP = subjects.command("red", "e", "stop")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SecuredBus]:
    async with secured_bus(tmp_path, [PIPE]) as bus:
        yield bus


@pytest.fixture
async def connections() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def opened(world: SecuredBus, stack: AsyncExitStack, name: str) -> NatsBus:
    """As a service does it."""
    bus = await open_bus(Identity(name=name, role=Role.SERVICE), world.settings(name))
    stack.push_async_callback(bus.close)
    return bus


async def provide(world: SecuredBus) -> None:
    await provision(world.settings(PROVISIONER), within_s=DEADLINE_S)


# Streams and durables --------------------------------------------------------------------------


async def test_services_wait_for_the_provisioner_and_make_nothing_themselves(
    world: SecuredBus, connections: AsyncExitStack
) -> None:
    bus = await opened(world, connections, EXPERIMENT)
    with pytest.raises(Transient, match="`trialbus provision` makes it"):
        await bus.provision()
    await provide(world)
    await bus.provision()
    said = [it.subject for it in await world.heard_so_far() if ".STREAM.CREATE." in it.subject]
    # Once each, by the provisioner.
    assert said == [
        "$JS.API.STREAM.CREATE.TRIALBUS_EVENTS",
        "$JS.API.STREAM.CREATE.TRIALBUS_DEAD_LETTERS",
    ]
    assert "Violation" not in world.logged()


async def test_events_go_from_one_identity_to_another_and_to_those_who_watch(
    world: SecuredBus, connections: AsyncExitStack
) -> None:
    await provide(world)
    sender = await opened(world, connections, EXPERIMENT)
    reader = await opened(world, connections, TRIAL_LAUNCHER)
    watcher = await opened(world, connections, GATEWAY)
    kind = heard_by(TRIAL_LAUNCHER)
    async with (
        reader.inbox(TRIAL_LAUNCHER, kind, partition_of("red")) as inbox,
        watcher.tail(subjects.events(namespace="red"), from_start=True) as tail,
    ):
        sent = [event("red", number, type_="trials.opened") for number in range(3)]
        await sender.publish(sent)
        got = await receive(inbox, 3)
        await got[0].ack()
        await got[1].bury("an example")
        await got[2].retry(0)
        assert [it.message.id for it in await receive(inbox, 1)] == [sent[2].id]
        assert [it.id for it in await first(tail, 3)] == [it.id for it in sent]
    assert "Violation" not in world.logged()


async def test_a_service_may_ask_how_far_behind_it_is(
    world: SecuredBus, connections: AsyncExitStack
) -> None:
    await provide(world)
    bus = await opened(world, connections, TRIAL_LAUNCHER)
    assert await bus.backlog(TRIAL_LAUNCHER) == Backlog(pending=0, in_hand=0)
    gateway = await opened(world, connections, GATEWAY)
    assert await gateway.backlog(WEBHOOK_QUEUE) == Backlog(pending=0, in_hand=0)
    assert "Violation" not in world.logged()


async def test_a_wiped_server_is_provided_anew_and_services_go_on(
    world: SecuredBus, connections: AsyncExitStack
) -> None:
    await provide(world)
    bus = await opened(world, connections, EXPERIMENT)
    kinds = heard_by(EXPERIMENT)
    reader = bus.inbox(EXPERIMENT, kinds, partition_of("red"))
    launcher = await opened(world, connections, TRIAL_LAUNCHER)
    async with reader as inbox:
        await world.server.stop()
        shutil.rmtree(world.spec.store_folder)
        world.server = await world.spec.start()
        await world.server.ready()
        await provide(world)
        await launcher.publish([event("red", type_="run.finished")])
        [delivery] = await receive(inbox, 1)
        await delivery.ack()
    assert delivery.message.subject == subjects.event("red", "e", "run.finished")


async def test_another_identity_cannot_provide(world: SecuredBus) -> None:
    settings = world.settings(GATEWAY)
    with pytest.raises(NotPermitted, match=r"(?i)violation.*_inbox_provisioner"):
        await provision(settings, within_s=DEADLINE_S)


async def test_a_server_that_is_away_is_said_in_time(world: SecuredBus) -> None:
    await world.server.stop()
    with pytest.raises(Transient, match="no connection"):
        await provision(world.settings(PROVISIONER), within_s=0.5)


# Violations ------------------------------------------------------------------------------------


async def test_a_service_with_the_key_of_another_ends_and_says_why(world: SecuredBus) -> None:
    await provide(world)
    settings = world.settings("early_stopping", mongo_url="mongodb://127.0.0.1:1/")
    with structlog.testing.capture_logs() as logs:
        async with asyncio.timeout(DEADLINE_S):
            with pytest.raises(NotPermitted, match=r"trialbus-suggestion: .*violation"):
                await host_service("suggestion", settings, asyncio.Event())
    [line] = [it for it in logs if it["event"] == "nats_permission_violation"][:1]
    assert (line["log_level"], line["identity"]) == ("error", "trialbus-suggestion")


async def test_a_key_that_is_not_known_is_waited_for_and_told(
    world: SecuredBus, connections: AsyncExitStack
) -> None:
    """The servers may get to know it a moment later."""
    late = outside(Role.PIPELINE, "late", ["red"])
    nats_accounts.make(world.folder, wanted=[late])
    bus = await open_bus(late, world.settings("late"), wait_s=0.3)
    connections.push_async_callback(bus.close)
    assert not bus.connected
    await until(lambda: "Authorization" in bus.last_error, "it is told", within_s=DEADLINE_S)
    world.change()
    await until(lambda: bus.connected, "it is let in", within_s=DEADLINE_S)


# Answers ---------------------------------------------------------------------------------------


async def echo(requests: Sequence[Request]) -> Sequence[bytes]:
    return [request.data for request in requests]


HOSTILE_REPLIES = [
    subjects.event("red", "e", "experiment.succeeded"),
    "trialbus.v1.cmd.blue.e.delete",
    "trialbus.v1.suggest",
    "$JS.API.STREAM.DELETE.TRIALBUS_EVENTS",
    "_INBOX_suggestion.1.r.1",
    "_INBOX_pipeline",
    "_INBOX_pipeline.pipe.>",
    "_INBOX_pipeline.*.1",
    "_INBOX.1",
]


async def test_a_server_answers_only_to_inboxes_of_those_who_may_ask(
    world: SecuredBus, connections: AsyncExitStack
) -> None:
    """And lives on: what it may not say, it does not try to say."""
    bus = await opened(world, connections, EXPERIMENT)
    denied = asyncio.ensure_future(bus.denied())
    serving = bus.serve(subjects.commands(), EXPERIMENT, echo, max_group=4)
    async with serving, world.identity("pipe") as (client, refused):
        for reply in HOSTILE_REPLIES:
            await client.publish(STOP, b"hostile", reply=reply)
        assert (await client.request(STOP, b"honest", timeout=DEADLINE_S)).data == b"honest"
        # The server itself takes no such reply of a client.
        await client.publish(STOP, b"hostile", reply="$JS.ACK.TRIALBUS_EVENTS.experiment-00.1")
        await settled(client)
        assert len(refused) == 1
    said = [it.subject for it in await world.heard_so_far() if it.data == b"hostile"]
    assert said == [STOP] * len(HOSTILE_REPLIES)
    assert not denied.done()
    denied.cancel()
    assert world.logged().count("Violation") == 1


# Keys that change ------------------------------------------------------------------------------


def seed_of(world: SecuredBus, name: str) -> str:
    return nats_accounts.seed_path(world.folder, name).read_text().strip()


async def _is_let_in(world: SecuredBus, seed: str) -> bool:
    async def quiet(_: Exception) -> None:
        return None

    try:
        client: Client = await nats.connect(
            world.server.url,
            nkeys_seed_str=seed,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            error_cb=quiet,
        )
    except (nats.errors.Error, OSError):
        return False
    await client.close()
    return True


async def test_a_rotated_key_ends_and_its_owner_comes_back_with_the_new_one(
    world: SecuredBus, connections: AsyncExitStack
) -> None:
    await provide(world)
    old = seed_of(world, EXPERIMENT)
    bus = await opened(world, connections, EXPERIMENT)
    await bus.publish([event("red", 1)])
    world.change(rotate=[EXPERIMENT])
    async with asyncio.timeout(DEADLINE_S):
        while await _is_let_in(world, old):
            await settled(world.admin)
        # The same process: the file is read at each connection.
        await bus.publish([event("red", 2)])
    assert bus.connected
    assert "Violation" not in world.logged()


async def test_a_revoked_key_ends_at_once(world: SecuredBus) -> None:
    async with world.identity("pipe") as (client, _):
        world.change(revoke=["pipe"])
        await until(lambda: client.is_closed, "it is put out", within_s=DEADLINE_S)
    assert not (world.folder / "pipe.seed").exists()
