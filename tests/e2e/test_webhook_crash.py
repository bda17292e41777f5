"""Webhooks over a gateway that is killed and a receiver that is away, with real servers."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from trialbus.testkit.real_stack import RealStack, experiment_object
from trialbus.testkit.waits import until
from trialbus.testkit.webhook_receiver import Receiver, receiving

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]

NAMES = ("first", "second", "third")
TRIALS = 3


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def stack(tmp_path: Path, receiver: Receiver) -> AsyncIterator[RealStack]:
    file = tmp_path / "webhooks.yaml"
    (tmp_path / "all.secret").write_text("whsec_" + base64.b64encode(bytes(32)).decode())
    types = ["experiment.*", "trial.succeeded"]
    entry = {"name": "all", "url": receiver.url, "secret_file": "all.secret", "types": types}
    file.write_text(json.dumps({"webhooks": [entry]}))
    stack = RealStack(tmp_path / "one", webhooks_file=str(file))
    try:
        stack.up()
        yield stack
    finally:
        stack.down()


def is_complete(receiver: Receiver, name: str) -> bool:
    """Whether all of its events were taken."""
    taken = {it["id"]: it["type"] for it in receiver.taken if it["experiment"] == name}
    types = sorted(it.removeprefix("io.trialbus.").removesuffix(".v1") for it in taken.values())
    life = ["experiment.created", "experiment.ending", "experiment.started", "experiment.succeeded"]
    return types == [*life, *["trial.succeeded"] * TRIALS]


async def test_a_killed_gateway_and_a_receiver_that_is_away_lose_no_event(
    stack: RealStack, receiver: Receiver
) -> None:
    def shown() -> dict[str, object]:
        items = stack.api().get("/v1/webhooks")["items"]
        return dict(items[0]) if items else {"state": "unknown"}

    await until(lambda: shown()["state"] == "active", "the webhook is delivered to", within_s=30)
    receiver.status = 503
    command = ["sh", "-c", "echo loss={x}"]
    for name in NAMES:
        stack.apply(experiment_object(name, command, trials=TRIALS))
        await stack.returned("gateway", stack.kill("gateway"))
    for name in NAMES:
        await stack.ended(name)
    assert receiver.taken == []
    receiver.status = 204
    # What a killed gateway had in hand, the bus gives out again after its wait.
    await until(
        lambda: all(is_complete(receiver, name) for name in NAMES), "all events", within_s=90
    )
    await until(lambda: shown()["waiting"] == 0, "nothing waits", within_s=30)
