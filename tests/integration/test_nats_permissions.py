"""Every identity by every subject, on a real nats-server: what a table written by hand allows goes
through, what it does not is refused, logged, and heard by nobody."""

import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import nats
import nkeys  # type: ignore[import-untyped]
import pytest
import yaml

from trialbus.contracts.nats_identities import Role, outside
from trialbus.local import nats_accounts
from trialbus.testkit.secured_bus import SecuredBus, secured_bus, settled

pytestmark = pytest.mark.servers

TABLE = yaml.safe_load(
    (Path(__file__).resolve().parents[1] / "data/nats/permissions.yaml").read_text()
)
IDENTITIES: list[str] = [*TABLE["identities"]["ours"], *TABLE["identities"]["others"]]
GUESTS = (
    outside(Role.PIPELINE, "pipe", ["red"]),
    outside(Role.WORKER, "hand", ["red"]),
    outside(Role.TRIAL, "probe", ["red/e1/t1"]),
)


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[SecuredBus]:
    async with secured_bus(tmp_path, GUESTS) as bus:
        yield bus


def _refusals(refused: list[str], kind: str) -> set[str]:
    """The library tells subjects in lower case; subscriptions with their queue."""
    pattern = rf'permissions violation for {kind} (?:to )?"([^"]*)"(?: using queue "([^"]*)")?'
    found = [re.search(pattern, text) for text in refused]
    return {" ".join(filter(None, it.groups())) for it in found if it is not None}


async def _published(bus: SecuredBus, name: str) -> dict[str, bool]:
    """Subject -> whether it went through. What did not was refused in words."""
    async with bus.identity(name) as (client, refused):
        for subject in TABLE["publish"]:
            await client.publish(subject, f"{name} {subject}".encode())
        await settled(client)
        heard = {it.data.decode() for it in await bus.heard_so_far()}
    through = {subject: f"{name} {subject}" in heard for subject in TABLE["publish"]}
    assert _refusals(refused, "publish") == {
        subject.lower() for subject, went in through.items() if not went
    }
    return through


async def _subscribed(bus: SecuredBus, name: str) -> dict[str, bool]:
    """Pattern -> whether a message that it fits was heard, once."""
    async with bus.identity(name) as (client, refused):
        subscriptions = {}
        for pattern in TABLE["subscribe"]:
            subject, _, queue = pattern.partition(" ")
            subscriptions[pattern] = await client.subscribe(subject, queue=queue)
        await settled(client)
        for sample in {sample for sample, _ in TABLE["subscribe"].values()}:
            await bus.admin.publish(sample, sample.encode())
        await settled(bus.admin)
        await settled(client)
        heard = {
            pattern: [(await it.next_msg(1)).subject for _ in range(it.pending_msgs)]
            for pattern, it in subscriptions.items()
        }
        await bus.heard_so_far()
    denied = {pattern for pattern, subjects in heard.items() if not subjects}
    assert _refusals(refused, "subscription") == {pattern.lower() for pattern in denied}
    assert all(
        TABLE["subscribe"][pattern][0] in subjects
        for pattern, subjects in heard.items()
        if subjects
    )
    return {pattern: bool(subjects) for pattern, subjects in heard.items()}


def _differences(
    found: Mapping[str, Mapping[str, bool]], allowed: Mapping[str, list[str]]
) -> list[str]:
    return [
        f"{name} {'may' if may else 'may not'} {subject}"
        for name, cells in found.items()
        for subject, may in cells.items()
        if may != (name in allowed[subject])
    ]


async def test_every_identity_says_what_the_table_allows_and_nothing_else(bus: SecuredBus) -> None:
    found = {name: await _published(bus, name) for name in IDENTITIES}
    assert sum(map(len, found.values())) >= 900
    assert _differences(found, TABLE["publish"]) == []
    keys = {it.identity.name: it.key for it in nats_accounts.read(bus.folder)}
    logged = set(re.findall(r'nkey:(\w+)" - Publish Violation - Subject "([^"]*)"', bus.logged()))
    denied = {
        (keys[name], subject)
        for name, cells in found.items()
        for subject, may in cells.items()
        if not may
    }
    assert logged == denied


async def test_every_identity_hears_what_the_table_allows_and_nothing_else(bus: SecuredBus) -> None:
    found = {name: await _subscribed(bus, name) for name in IDENTITIES}
    assert sum(map(len, found.values())) >= 400
    allowed = {pattern: names for pattern, (_, names) in TABLE["subscribe"].items()}
    assert _differences(found, allowed) == []
    assert bus.logged().count("Subscription Violation") == sum(
        not may for cells in found.values() for may in cells.values()
    )


@pytest.mark.parametrize(
    "credentials",
    [
        {},
        {"user": "gateway", "password": "gateway"},
        {"token": "gateway"},
        {"nkeys_seed_str": nkeys.encode_seed(b"\1" * 32, nkeys.PREFIX_BYTE_USER).decode()},
    ],
    ids=["nobody", "password", "token", "another key"],
)
async def test_nobody_comes_in_without_a_key_of_the_file(
    bus: SecuredBus, credentials: dict[str, Any]
) -> None:
    async def quiet(_: Exception) -> None:
        return None

    with pytest.raises(nats.errors.Error, match="Authorization Violation"):
        await nats.connect(
            bus.server.url,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            error_cb=quiet,
            **credentials,
        )
    assert "authentication error" in bus.logged()
