"""Events on their way to webhooks: a gateway with bus and store in memory, and a real receiver."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from trialbus.contracts.collections import COLLECTIONS, DELIVERIES, EXPERIMENTS
from trialbus.contracts.documents import EXPERIMENT, Document
from trialbus.ports.store import Write
from trialbus.runtime import metrics
from trialbus.runtime.clock import SystemClock
from trialbus.testkit.told_metrics import told
from trialbus.testkit.waits import until
from trialbus.testkit.webhook_receiver import HANG, Receiver, receiving
from trialbus.testkit.webhook_world import SECRET, WebhookWorld, ended, one
from trialbus_gateway.adapters.rest.webhooks import WebhookList
from trialbus_gateway.app import webhook_queue, webhook_sending, webhooks
from trialbus_gateway.app.webhook_documents import DELIVERY, Delivery, order_at
from trialbus_gateway.app.webhooks import Webhooks
from trialbus_gateway.core import webhook_retries
from trialbus_gateway.core.webhook_signatures import message_id, signature

ENDS = ["experiment.succeeded", "experiment.failed", "experiment.deleted"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds of the product are hundredths here."""
    for module, name, seconds in [
        (webhook_queue, "_GRACE_S", 0.3),
        (webhook_sending, "POLL_S", 0.05),
        (webhook_sending, "GATHER_S", 0.02),
        (webhook_sending, "SWEEP_S", 0.1),
        (webhook_sending, "HELD_S", 0.6),
        (webhooks, "RELOAD_S", 0.05),
        (webhook_retries, "FIRST_DELAY_S", 0.02),
        (webhook_retries, "LAST_DELAY_S", 0.1),
    ]:
        monkeypatch.setattr(module, name, seconds)


@pytest.fixture
async def world(tmp_path: Path) -> WebhookWorld:
    world = WebhookWorld(tmp_path)
    await world.store.client("tests").prepare(COLLECTIONS)
    return world


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


async def test_an_event_arrives_signed_as_a_cloud_event(
    world: WebhookWorld, receiver: Receiver
) -> None:
    world.write({"name": "chat", "url": receiver.url})
    async with world.ready() as gateway:
        event = await world.say("experiment.succeeded")
        await until(lambda: receiver.taken, "it arrives")
        [got] = receiver.received
        assert got.headers["content-type"].startswith("application/cloudevents+json")
        assert got.event["id"] == event.id
        assert got.event["type"] == "io.trialbus.experiment.succeeded.v1"
        assert got.event["data"]["reason"] == "Because"
        name, at = got.headers["webhook-id"], int(got.headers["webhook-timestamp"])
        assert name == message_id(event.id)
        assert got.headers["webhook-signature"] == signature(SECRET, name, at, got.body)
        await until(lambda: _delivered(gateway, 1), "it is counted")
        shown = await one(gateway)
        assert (shown["state"], shown["waiting"], shown["lagSeconds"]) == ("active", 0, 0.0)
        WebhookList.model_validate(await gateway.shown())
        assert shown["lastFailure"] is None


async def _delivered(gateway: Webhooks, count: int) -> bool:
    return int((await one(gateway))["delivered"]) == count


async def test_only_what_a_webhook_wants_is_sent(world: WebhookWorld, receiver: Receiver) -> None:
    world.write({"name": "chat", "url": receiver.url, "experiments": "tune*", "types": ENDS})
    async with world.ready():
        await world.say("experiment.started", "tune-1")
        await world.say("experiment.failed", "other")
        await world.say("experiment.failed", "tune-1")
        await until(lambda: receiver.taken, "it arrives")
        assert [(it["experiment"], it["id"]) for it in receiver.taken] == [
            ("tune-1", "u-tune-1@3.experiment.failed")
        ]


@pytest.mark.parametrize("failure", [500, 503, 429, 408, 302, HANG])
async def test_what_fails_is_sent_again_in_order_and_does_not_keep_up_other_experiments(
    world: WebhookWorld, receiver: Receiver, failure: int
) -> None:
    world.write({"name": "chat", "url": receiver.url, "timeout": 1 if failure == HANG else 10})
    receiver.refusing["bad"] = failure
    receiver.extra = {"location": receiver.url.replace("/hook", "/elsewhere")}
    async with world.ready() as gateway:
        await world.say("experiment.started", "bad")
        await world.say("experiment.succeeded", "bad")
        await world.say("experiment.started", "good")
        await until(lambda: receiver.types("good") == ["experiment.started"], "the good one")
        await until(lambda: len(receiver.received) >= 4, "it is tried again")
        await until(lambda: _waits(gateway, 2), "the good one is counted")
        tried = [it.event["type"] for it in receiver.received if it.event["experiment"] == "bad"]
        assert set(tried) == {"io.trialbus.experiment.started.v1"}
        await until(lambda: told(world.telemetry, metrics.WEBHOOK_WAITING) == 2, "both are told")
        assert told(world.telemetry, metrics.WEBHOOK_ATTEMPTS, outcome="failed") >= 1
        receiver.refusing.clear()
        await until(lambda: len(receiver.types("bad")) == 2, "both arrive")
        assert receiver.types("bad") == ["experiment.started", "experiment.succeeded"]
        await until(lambda: told(world.telemetry, metrics.WEBHOOK_WAITING) == 0, "none waits")
        delivered = told(world.telemetry, metrics.WEBHOOK_ATTEMPTS, outcome="delivered")
        assert delivered == 3
        assert told(world.telemetry, metrics.WEBHOOK_ATTEMPTS, outcome="given_up") == 0
    assert {it.path for it in receiver.received} == {"/hook"}


async def test_what_the_receiver_refuses_is_given_up_and_counted(
    world: WebhookWorld, receiver: Receiver
) -> None:
    world.write({"name": "chat", "url": receiver.url})
    receiver.answers.append(422)
    async with world.ready() as gateway:
        await world.say("experiment.started")
        await world.say("experiment.succeeded")
        await until(lambda: receiver.types() == ["experiment.succeeded"], "the next arrives")
        await until(lambda: _delivered(gateway, 1), "it is counted")
        shown = await one(gateway)
        assert (shown["givenUp"], shown["waiting"]) == (1, 0)
        for outcome, count in {"delivered": 1, "failed": 1, "given_up": 1}.items():
            assert told(world.telemetry, metrics.WEBHOOK_ATTEMPTS, outcome=outcome) == count
        assert shown["lastError"] == "answered 422"


async def test_a_webhook_that_hangs_does_not_keep_up_another(
    world: WebhookWorld, receiver: Receiver
) -> None:
    async with receiving() as other:
        other.status = HANG
        world.write(
            {"name": "slow", "url": other.url, "timeout": 30},
            {"name": "quick", "url": receiver.url},
        )
        async with world.ready():
            for _ in range(5):
                await world.say("experiment.edited")
            await until(lambda: len(receiver.taken) == 5, "the quick one has all")
            assert len(other.received) == 1


async def test_a_webhook_that_fails_for_long_is_paused_and_resumes_where_it_was(
    world: WebhookWorld, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_retries, "PAUSED_AFTER_S", 0.3)
    monkeypatch.setattr(webhook_retries, "PROBE_INTERVAL_S", 0.5)
    world.write({"name": "chat", "url": receiver.url})
    receiver.status = 500
    async with world.ready() as gateway:
        for name in ("one", "two", "three"):
            await world.say("experiment.started", name)
        await until(lambda: _has_state(gateway, "paused"), "it is paused")
        shown = await one(gateway)
        assert shown["waiting"] == 3
        assert shown["lastError"] == "answered 500"
        assert shown["lagSeconds"] > 0.2
        assert shown["failingSince"] is not None
        # One event after the other, in long intervals.
        before = len(receiver.received)
        await until(lambda: len(receiver.received) >= before + 2, "it is still tried")
        receiver.status = 204
        await until(lambda: len(receiver.taken) == 3, "all arrive")
        await until(lambda: _has_state(gateway, "active"), "it is active again")


async def _has_state(gateway: Webhooks, state: str) -> bool:
    return str((await one(gateway))["state"]) == state


async def test_after_retry_after_nothing_is_sent_for_as_long(
    world: WebhookWorld, receiver: Receiver
) -> None:
    world.write({"name": "chat", "url": receiver.url})
    receiver.answers.append(429)
    receiver.extra = {"retry-after": "1"}
    async with world.ready():
        began = asyncio.get_running_loop().time()
        await world.say("experiment.started", "one")
        await until(lambda: receiver.received, "it is asked to wait")
        await world.say("experiment.started", "two")
        await until(lambda: len(receiver.taken) == 2, "both arrive")
        assert asyncio.get_running_loop().time() - began >= 1.0
        assert len(receiver.received) == 3


async def test_two_gateways_deliver_everything_once(
    world: WebhookWorld, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Neither takes over what the other is at.
    monkeypatch.setattr(webhook_sending, "HELD_S", 15.0)
    world.write({"name": "chat", "url": receiver.url})
    async with world.ready("one"), world.ready("two"):
        for number in range(40):
            await world.say("experiment.started", f"tune-{number}")
        await until(lambda: len(receiver.taken) >= 40, "all arrive")
    assert len({it["id"] for it in receiver.taken}) == len(receiver.received) == 40


async def test_what_a_gateway_left_another_delivers(
    world: WebhookWorld, receiver: Receiver
) -> None:
    world.write({"name": "chat", "url": receiver.url})
    receiver.status = 500
    async with world.ready("one") as gateway:
        await world.say("experiment.succeeded")
        await until(lambda: _waits(gateway, 1), "it is queued")
    receiver.status = 204
    async with world.ready("two"):
        await until(lambda: receiver.taken, "it arrives")


async def _waits(gateway: Webhooks, count: int) -> bool:
    return int((await one(gateway))["waiting"]) == count


async def test_what_comes_while_the_store_is_away_arrives_when_it_is_back(
    world: WebhookWorld, receiver: Receiver
) -> None:
    world.write({"name": "chat", "url": receiver.url})
    async with world.ready():
        world.store.available = False
        await world.say("experiment.started")
        await world.say("experiment.succeeded")
        before = world.store.calls["webhooks", "find"]
        await until(lambda: world.store.calls["webhooks", "find"] > before, "it is tried")
        world.store.available = True
        await until(lambda: len(receiver.taken) == 2, "both arrive", within_s=20.0)
        assert receiver.types() == ["experiment.started", "experiment.succeeded"]


@pytest.mark.parametrize("apart_s", [0.0, 0.001])
async def test_more_ends_than_are_read_at_once_are_all_found(
    world: WebhookWorld, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, apart_s: float
) -> None:
    monkeypatch.setattr(webhook_queue, "_SWEPT", 3)
    world.write({"name": "chat", "url": receiver.url, "types": ENDS})
    async with world.ready():
        pass
    now = SystemClock().now()
    for number in range(10):
        await world.put(ended(f"tune-{number}", at=now + number * apart_s))
    unreadable = EXPERIMENT.encode(ended("broken", at=now)) | {"counts": "none"}
    await world.store.client("tests").commit(
        EXPERIMENTS.name, [Write(base=None, document=unreadable)]
    )
    async with world.ready("late"):
        await until(lambda: len(receiver.taken) == 10, "all are found")
    assert len({it["experiment"] for it in receiver.taken}) == 10


async def test_ends_arrive_although_the_stream_never_told_of_them_and_only_once(
    world: WebhookWorld, receiver: Receiver
) -> None:
    world.write({"name": "chat", "url": receiver.url, "types": ENDS})
    async with world.ready():
        pass
    now = SystemClock().now()
    await world.put(ended("tune", at=now))
    async with world.ready("late") as gateway:
        # Not before the stream had its chance.
        await until(lambda: receiver.taken, "its end is found")
        [got] = receiver.taken
        assert got["id"] == "u-tune@7.experiment.succeeded"
        assert got["data"]["reason"] == "ExperimentGoalReached"
        assert told(world.telemetry, metrics.SWEEP_REPAIRS, what="webhook") == 1.0
        # The event itself, which was only late; the document has been written again since.
        await world.say("experiment.succeeded", "tune", id="u-tune@6.experiment.succeeded", at=now)
        await world.say("experiment.failed", "next")
        await until(lambda: receiver.types("next"), "the next arrives")
        assert len(receiver.types("tune")) == 1
        await until(lambda: _waits(gateway, 0), "nothing waits")


async def test_a_changed_file_is_read_and_a_wrong_one_leaves_the_last_good_one(
    world: WebhookWorld, receiver: Receiver
) -> None:
    world.write({"name": "chat", "url": receiver.url})
    async with receiving() as other, world.ready() as gateway:
        (world.folder / "webhooks.yaml").write_text("webhooks: [{name: 7}]")
        await until(lambda: _has_problems(gateway), "the problem is told")
        await world.say("experiment.started")
        await until(lambda: receiver.taken, "it arrives as before")
        world.write({"name": "chat", "url": other.url})
        await until(lambda: _has_url(gateway, other.url), "the new one is known")
        await world.say("experiment.succeeded")
        await until(lambda: other.types() == ["experiment.succeeded"], "it arrives elsewhere")
        assert not await _has_problems(gateway)


async def _has_problems(gateway: Webhooks) -> bool:
    return bool((await gateway.shown())["problems"])


async def _has_url(gateway: Webhooks, url: str) -> bool:
    return str((await one(gateway))["url"]) == url


async def test_a_new_webhook_gets_nothing_of_the_past(
    world: WebhookWorld, receiver: Receiver
) -> None:
    await world.say("experiment.started", "old", at=1000.0)
    world.write({"name": "chat", "url": receiver.url})
    async with world.ready():
        await world.say("experiment.started", "new")
        await until(lambda: receiver.taken, "it arrives")
        assert [it["experiment"] for it in receiver.taken] == ["new"]


async def test_the_secret_is_nowhere_to_be_seen(
    world: WebhookWorld, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    world.write({"name": "chat", "url": f"{receiver.url}?token=hush"})
    receiver.answers.append(500)
    async with world.ready() as gateway:
        await world.say("experiment.succeeded")
        await until(lambda: receiver.taken, "it arrives")
        told = json.dumps(await gateway.shown())
    stored = repr([world.store.documents(it.name) for it in COLLECTIONS])
    written = capsys.readouterr()
    for text in (told, stored, written.out + written.err):
        assert base64.b64encode(SECRET).decode() not in text
        assert "hush" not in text


async def test_what_waits_too_long_for_a_webhook_that_takes_nothing_does_not_stay_for_ever(
    world: WebhookWorld, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_retries, "PAUSED_AFTER_S", 0.0)
    world.write({"name": "chat", "url": receiver.url})
    receiver.status = 500
    async with world.ready() as gateway:
        now = time.time()
        ages = [*(webhook_retries.KEPT_S + 60.0 + i for i in range(20)), 3600.0]
        writes = [Write(base=None, document=_waiting(f"u-{age:g}", now - age)) for age in ages]
        await world.store.client("tests").commit(DELIVERIES.name, writes)
        await until(lambda: _waits(gateway, 1), "what is too old is gone")
        await until(lambda: _gave_up(gateway, 20), "it is counted")


def _waiting(uid: str, at: float) -> Document:
    return DELIVERY.encode(
        Delivery(
            id=f"chat/{uid}",
            version=1,
            waiting="chat",
            uid=uid,
            type="experiment.started",
            event_id=uid,
            order=order_at(at),
            queued_at=at,
            body="{}",
        )
    )


async def _gave_up(gateway: Webhooks, count: int) -> bool:
    return bool((await one(gateway))["givenUp"] == count)
