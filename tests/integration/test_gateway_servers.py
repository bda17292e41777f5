"""The gateway as a service over the real nats-server and mongod."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from trialbus.adapters.mongo_store import MongoSettings, MongoStore
from trialbus.adapters.nats_bus import ConnectionOptions, NatsBus
from trialbus.contracts import subjects
from trialbus.contracts.collections import COLLECTIONS, TRIALS
from trialbus.contracts.documents import EXPERIMENT, TRIAL
from trialbus.contracts.envelope import encode_event
from trialbus.kernel.events import Event
from trialbus.ports.store import Query, Write
from trialbus.runtime.parts import Parts
from trialbus.runtime.service import RunningService
from trialbus.runtime.telemetry import Telemetry
from trialbus.testkit.gateway_world import CATALOGUE, katib, parts_of, trial_of
from trialbus.testkit.waits import until
from trialbus_experiment.app.commanding import Commanding
from trialbus_gateway.main import service


@pytest.fixture
async def parts(nats_url: str, mongo_url: str, tmp_path: Path) -> AsyncIterator[Parts]:
    database = f"gateway_{uuid.uuid4().hex[:12]}"
    store = MongoStore(MongoSettings(url=mongo_url, database=database, app_name="tests"))
    bus = await NatsBus.open(ConnectionOptions(servers=[nats_url], name="tests"))
    await bus.provision()
    await store.prepare(COLLECTIONS)
    yield parts_of(bus, store, "gateway", tmp_path)
    await bus.close()
    await store.close()


@asynccontextmanager
async def served(parts: Parts) -> AsyncIterator[httpx.AsyncClient]:
    """The gateway, with an experiment service that takes commands."""
    stop = asyncio.Event()
    running = asyncio.create_task(RunningService(service, parts).run(stop))
    told = parts.settings.data_dir / "run" / "gateway.json"
    # Its metrics are its own; its events go out with the gateway's.
    own = replace(parts, telemetry=Telemetry("experiment"))
    respond = Commanding(own, CATALOGUE).respond
    async with parts.bus.serve(subjects.commands(), "experiment", respond, max_group=8):
        await until(lambda: told.exists() or running.done(), "it listens")
        async with httpx.AsyncClient(base_url=json.loads(told.read_text())["http"]) as client:
            yield client
        stop.set()
        await asyncio.wait_for(running, 10)


async def test_commands_pages_and_events_over_the_real_servers(parts: Parts) -> None:
    namespace = f"n{uuid.uuid4().hex[:12]}"
    async with served(parts) as client:
        names = [f"e{number}" for number in range(5)]
        for name in names:
            path = f"/v1/namespaces/{namespace}/experiments/{name}"
            answer = await client.put(path, json={"object": katib(name, namespace)})
            assert answer.status_code == 201, answer.text
        await _let_them_share_a_time(parts)
        for query in ("", f"namespace={namespace}&"):
            found, after = [], ""
            while True:
                page = (await client.get(f"/v1/experiments?{query}limit=2{after}")).json()
                found += [item["metadata"]["name"] for item in page["items"]]
                if page["next"] is None:
                    break
                after = f"&after={page['next']}"
            assert sorted(found) == names
        uid = answer.json()["uid"]
        events = [_event(uid, namespace, number) for number in range(500)]
        await parts.bus.publish([encode_event(event) for event in events])
        stream = (await client.get(f"{path}/events")).text
        heard = [line for line in stream.splitlines() if line.startswith("id: ")]
        assert f"id: {uid}@1.experiment.created" in heard
        assert [line for line in heard if "." not in line] == [f"id: {it.id}" for it in events]


async def test_trials_are_found_by_name_and_in_pages_on_the_real_store(parts: Parts) -> None:
    async with served(parts) as client:
        path = "/v1/namespaces/lab/experiments/tune"
        await client.put(path, json={"object": katib()})
        [document] = await parts.store.find("experiments", Query(equals={"alive_name": "lab/tune"}))
        state = EXPERIMENT.decode(document)
        trials = [trial_of(state, index) for index in range(7)]
        await parts.store.commit(
            TRIALS.name, [Write(base=None, document=TRIAL.encode(trial)) for trial in trials]
        )
        page = (await client.get("/v1/trials?namespace=lab&experiment=tune&limit=5")).json()
        rest = (await client.get(f"/v1/trials?limit=5&after={page['next']}")).json()
        found = [it["metadata"]["name"] for it in [*page["items"], *rest["items"]]]
        assert found == [trial.name for trial in trials]
        one = await client.get(f"/v1/trials/{trials[3].name}/explain")
        assert one.json()["state"] == "Created"
        assert (await client.get(f"/v1/trials/{trials[3].name}/metrics")).json()["metrics"] == []
        shown = (await client.get(f"{path}/suggestion")).json()
        assert len(shown["status"]["suggestions"]) == 7


async def _let_them_share_a_time(parts: Parts) -> None:
    """The hard case for pages: the store's order is no order."""
    found = [EXPERIMENT.decode(it) for it in await parts.store.find("experiments", Query())]
    writes = [
        Write(
            base=EXPERIMENT.encode(state),
            document=EXPERIMENT.encode(replace(state, version=state.version + 1, created_at=1.5)),
        )
        for state in found
    ]
    await parts.store.commit("experiments", writes)


def _event(uid: str, namespace: str, number: int) -> Event:
    return Event(
        id=f"{uid}@{number}",
        type="trial.created",
        uid=uid,
        namespace=namespace,
        experiment="e4",
        at=1.0,
        trial="e4-bcdfghjk",
    )
