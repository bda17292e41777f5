"""What a gateway tells of the events that wait for its webhooks, and what it does not ask for."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from trialbus.contracts.collections import COLLECTIONS, WEBHOOKS
from trialbus.runtime import metrics
from trialbus.testkit.told_metrics import told
from trialbus.testkit.waits import until
from trialbus.testkit.webhook_receiver import Receiver, receiving
from trialbus.testkit.webhook_world import WebhookWorld
from trialbus_gateway.app import webhook_sending, webhooks
from trialbus_gateway.app.webhook_documents import WebhookDocuments

HELD_S = 0.6


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds of the product are hundredths here."""
    monkeypatch.setattr(webhook_sending, "HELD_S", HELD_S)
    monkeypatch.setattr(webhook_sending, "POLL_S", 0.05)
    monkeypatch.setattr(webhooks, "RELOAD_S", 0.05)


@pytest.fixture
async def world(tmp_path: Path) -> WebhookWorld:
    world = WebhookWorld(tmp_path)
    await world.store.client("tests").prepare(COLLECTIONS)
    return world


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


async def test_a_gateway_that_is_cut_off_does_not_tell_what_another_may_deliver(
    world: WebhookWorld, receiver: Receiver
) -> None:
    world.write({"name": "chat", "url": receiver.url, "timeout": 0.1})
    receiver.refusing["tune"] = 500
    waiting = metrics.WEBHOOK_WAITING
    async with world.ready():
        await world.say("experiment.started")
        await until(lambda: told(world.telemetry, waiting) == 1, "it is told")
        world.store.available = False
        await until(lambda: told(world.telemetry, waiting) == 0, "its time to deliver is over")
        world.store.available = True
        await until(lambda: told(world.telemetry, waiting) == 1, "it delivers again")


async def test_without_metrics_nobody_counts_what_waits(
    world: WebhookWorld, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.metrics = False
    world.write({"name": "chat", "url": receiver.url})
    counted: list[str] = []

    async def count_waiting(_: WebhookDocuments, name: str) -> int:
        counted.append(name)
        return 0

    def held_until() -> float:
        [webhook] = world.store.documents(WEBHOOKS.name)
        return float(webhook["held_until"])

    async with world.ready():
        monkeypatch.setattr(WebhookDocuments, "count_waiting", count_waiting)
        before = held_until()
        # Two looks after this one at least.
        await until(lambda: held_until() > before + HELD_S / 2, "it is held on")
    assert counted == []
