"""A gateway's webhooks over the bus and the store in memory, and what they send."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from trialbus.contracts.collections import EXPERIMENTS
from trialbus.contracts.documents import EXPERIMENT
from trialbus.contracts.envelope import encode_event
from trialbus.kernel.conditions import Condition
from trialbus.kernel.events import Event
from trialbus.kernel.experiment import Experiment, ExperimentPhase
from trialbus.ports.store import Write
from trialbus.runtime.telemetry import Telemetry
from trialbus.testkit.experiment_states import experiment
from trialbus.testkit.gateway_world import parts_of
from trialbus.testkit.memory_bus import MemoryBus
from trialbus.testkit.memory_store import MemoryStore
from trialbus.testkit.waits import until
from trialbus_gateway.adapters.webhook_posting import load_targets, posting
from trialbus_gateway.app.webhooks import Webhooks

SECRET = bytes(range(32))


@dataclass
class WebhookWorld:
    """folder: of the operator's file. metrics: whether gateways have any. telemetry: of the
    one that was started last."""

    folder: Path
    bus: MemoryBus = field(default_factory=MemoryBus)
    store: MemoryStore = field(default_factory=MemoryStore)
    said: int = 0
    metrics: bool = True
    telemetry: Telemetry = field(default_factory=lambda: Telemetry("gateway"))

    def write(self, *entries: dict[str, Any]) -> None:
        secret = "whsec_" + base64.b64encode(SECRET).decode()
        (self.folder / "hook.secret").write_text(secret)
        whole = [{"secret_file": "hook.secret", **it} for it in entries]
        (self.folder / "webhooks.yaml").write_text(json.dumps({"webhooks": whole}))

    @asynccontextmanager
    async def gateway(self, name: str = "gateway") -> AsyncIterator[Webhooks]:
        """Leaving it is a crash of the whole gateway when it is closed in a hurry."""
        parts = parts_of(self.bus.client(name), self.store.client(name), "gateway", self.folder)
        settings = parts.settings.model_copy(update={"metrics": self.metrics})
        parts = replace(parts, settings=settings)
        self.telemetry = parts.telemetry
        file = self.folder / "webhooks.yaml"
        async with posting() as post:
            made = Webhooks(parts, lambda: load_targets(file), post)
            task = asyncio.ensure_future(made.run())
            try:
                yield made
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    @asynccontextmanager
    async def ready(self, name: str = "gateway") -> AsyncIterator[Webhooks]:
        """With its webhooks known to the store."""
        async with self.gateway(name) as made:
            await until(lambda: _is_held(made), "a gateway delivers")
            yield made

    async def say(self, event_type: str, experiment_: str = "tune", **changes: Any) -> Event:
        self.said += 1
        made = Event(
            id=f"u-{experiment_}@{self.said}.{event_type}",
            type=event_type,
            uid=f"u-{experiment_}",
            namespace="lab",
            experiment=experiment_,
            at=2e9 + self.said,
            reason="Because",
        )
        made = replace(made, **changes)
        await self.bus.client("services").publish([encode_event(made)])
        return made

    async def put(self, state: Experiment) -> None:
        write = Write(base=None, document=EXPERIMENT.encode(state))
        await self.store.client("tests").commit(EXPERIMENTS.name, [write])


async def _is_held(gateway: Webhooks) -> bool:
    items = (await gateway.shown())["items"]
    return bool(items) and all(it["state"] != "waiting" for it in items)


async def one(gateway: Webhooks) -> dict[str, Any]:
    [shown] = (await gateway.shown())["items"]
    return dict(shown)


def ended(name: str, *, at: float) -> Experiment:
    """As the experiment service leaves it."""
    verdict = Condition(
        type="Succeeded",
        status=True,
        reason="ExperimentGoalReached",
        message="Reached",
        updated_at=at,
        transitioned_at=at,
    )
    return replace(
        experiment(),
        id=f"u-{name}",
        name=name,
        namespace="lab",
        phase=ExperimentPhase.SUCCEEDED,
        version=7,
        alive_name=f"lab/{name}",
        completed_at=at,
        conditions=(verdict,),
        outbox=(),
        outbox_at=None,
    )
