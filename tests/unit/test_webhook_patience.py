"""Hours of a webhook that fails, in virtual time."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from trialbus.contracts.collections import COLLECTIONS
from trialbus.contracts.envelope import encode_event
from trialbus.kernel.events import Event
from trialbus.runtime.parts import Parts
from trialbus.testkit.gateway_world import parts_of
from trialbus.testkit.memory_bus import MemoryBus
from trialbus.testkit.memory_store import MemoryStore
from trialbus.testkit.virtual_time import run_virtual
from trialbus.testkit.world import LoopClock
from trialbus_gateway.app import webhook_queue, webhook_sending, webhooks
from trialbus_gateway.app.webhook_sending import Target
from trialbus_gateway.app.webhooks import Webhooks
from trialbus_gateway.core.webhook_retries import Answer
from trialbus_gateway.core.webhook_settings import Subscription, WebhookSettings

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
TARGET = Target(
    settings=WebhookSettings(
        name="chat",
        url="http://receiver",
        secret_file="",
        wants=Subscription(types=("experiment.started", "experiment.succeeded")),
    ),
    secrets=(bytes(32),),
)


@pytest.fixture(autouse=True)
def rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks that find nothing cost real time."""
    for module, name, seconds in [
        (webhook_sending, "POLL_S", 10.0),
        (webhook_sending, "HELD_S", HOUR_S),
        (webhook_sending, "SWEEP_S", HOUR_S),
        (webhooks, "RELOAD_S", HOUR_S),
        (webhook_queue, "_FETCH_TIMEOUT_S", HOUR_S),
    ]:
        monkeypatch.setattr(module, name, seconds)


@dataclass
class Play:
    """answer: what an event of this experiment gets at this time, seconds from the beginning.
    attempts: (when, experiment), answered or not."""

    answer: Callable[[float, str], Answer]
    attempts: list[tuple[float, str]] = field(default_factory=list)

    async def post(
        self, _url: str, _headers: Mapping[str, str], body: bytes, _timeout_s: float
    ) -> Answer:
        now = asyncio.get_running_loop().time()
        name = next(it for it in ("one", "two") if f'"experiment": "{it}"'.encode() in body)
        self.attempts.append((now, name))
        return self.answer(now, name)

    def gaps(self) -> list[float]:
        times = [at for at, _ in self.attempts]
        return [later - earlier for earlier, later in itertools.pairwise(times)]


async def say(parts: Parts, experiment: str, type_: str = "experiment.started") -> None:
    event = Event(
        id=f"{experiment}.{type_}",
        type=type_,
        uid=f"u-{experiment}",
        namespace="lab",
        experiment=experiment,
        at=parts.clock.now(),
    )
    await parts.bus.publish([encode_event(event)])


async def staged(
    play: Play, folder: Path, act: Callable[[Parts, Webhooks], Awaitable[None]]
) -> None:
    bus, store = MemoryBus(), MemoryStore()
    await store.client("tests").prepare(COLLECTIONS)
    parts = parts_of(bus.client("gateway"), store.client("gateway"), "gateway", folder)
    parts = replace(parts, clock=LoopClock())

    async def load() -> list[Target]:
        return [TARGET]

    made = Webhooks(parts, load, play.post)
    running = asyncio.ensure_future(made.run())
    await parts.clock.sleep(10.0)
    await act(parts, made)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def state_of(made: Webhooks) -> tuple[str, int, int, int]:
    [it] = (await made.shown())["items"]
    return it["state"], it["waiting"], it["delivered"], it["givenUp"]


def test_it_is_tried_for_hours_less_and_less_often_and_then_gets_all(tmp_path: Path) -> None:
    back_at = 5 * HOUR_S
    play = Play(lambda now, _: Answer(status=503 if now < back_at else 204))

    async def act(parts: Parts, made: Webhooks) -> None:
        await say(parts, "one")
        await say(parts, "one", "experiment.succeeded")
        await say(parts, "two")
        await parts.clock.sleep(HOUR_S)
        assert await state_of(made) == ("paused", 3, 0, 0)
        await parts.clock.sleep(5 * HOUR_S)
        assert await state_of(made) == ("active", 0, 3, 0)

    run_virtual(staged(play, tmp_path, act), limit_s=DAY_S)
    failed = [at for at, _ in play.attempts if at < back_at]
    # Ten minutes with shorter and shorter patience, then one probe every five minutes or so.
    in_the_first_ten_minutes = [at for at in failed if at < 610]
    assert 2 * 7 <= len(in_the_first_ten_minutes) <= 2 * 14
    assert 40 <= len(failed) - len(in_the_first_ten_minutes) <= 60
    # Both experiments are tried in turn, and all come when the first succeeds.
    assert {name for at, name in play.attempts if 700 < at < back_at} == {"one", "two"}
    good = [at for at, _ in play.attempts if at >= back_at]
    assert len(good) == 3
    assert good[-1] - good[0] < 30.0


def test_one_event_that_is_refused_for_a_day_while_others_are_taken_is_given_up(
    tmp_path: Path,
) -> None:
    play = Play(lambda _now, name: Answer(status=500 if name == "one" else 204))

    async def act(parts: Parts, made: Webhooks) -> None:
        await say(parts, "one")
        for _ in range(26):
            await parts.clock.sleep(HOUR_S)
            await say(parts, "two", "experiment.started")
        await parts.clock.sleep(HOUR_S)
        _, waiting, _, given_up = await state_of(made)
        assert (waiting, given_up) == (0, 1)

    run_virtual(staged(play, tmp_path, act), limit_s=3 * DAY_S)
    last = max(at for at, name in play.attempts if name == "one")
    assert DAY_S < last < DAY_S + HOUR_S
    assert max(play.gaps()) < HOUR_S + 15


@pytest.mark.parametrize(("header", "at_least"), [("120", 120.0), ("999999", HOUR_S)])
def test_what_a_receiver_asks_for_is_kept_up_to_an_hour(
    tmp_path: Path, header: str, at_least: float
) -> None:
    play = Play(lambda _now, _name: Answer(status=204))
    first = [Answer(status=429, retry_after=header)]
    play.answer = lambda _now, _name: first.pop() if first else Answer(status=204)

    async def act(parts: Parts, _made: Webhooks) -> None:
        await say(parts, "one")
        await parts.clock.sleep(30.0)
        await say(parts, "two")
        await parts.clock.sleep(2 * HOUR_S)

    run_virtual(staged(play, tmp_path, act), limit_s=DAY_S)
    assert len(play.attempts) == 3
    assert at_least <= play.gaps()[0] < at_least + 15.0
