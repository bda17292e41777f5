"""`trialbus up --secure`: an experiment runs to its end with a key for each service, and no secret
of the whole stack is found anywhere but where it belongs."""

import asyncio
import base64
import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import nats
import pytest
from pymongo import AsyncMongoClient

from trialbus.cli.api import experiment_path
from trialbus.contracts import subjects
from trialbus.contracts.katib.annotations import TRIALS_BY
from trialbus.local.bus_guard import BusGuard
from trialbus.testkit.programs import REPOSITORY, TRIALBUS
from trialbus.testkit.real_stack import MARK, NAMESPACE, RealStack, experiment_object
from trialbus.testkit.run_probes import marked_processes
from trialbus.testkit.waits import until

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]

DEADLINE_S = 90.0
QUICK_START = REPOSITORY / "examples/quick-start.yaml"
EVENT = REPOSITORY / "proto/events/examples/create-experiment.json"
PAGE = (REPOSITORY / "docs/how-to/secure-the-bus.md").read_text()
SEEDS = {
    "gateway",
    "experiment",
    "suggestion",
    "trial_launcher",
    "metrics_collector",
    "early_stopping",
    "provisioner",
    "pipeline",
    "worker",
}
# Tells what it was given, and stays until the test has looked around.
TRIAL = """
import os, pathlib, sys, time
folder, loss = pathlib.Path(sys.argv[1]), sys.argv[2]
own = folder / f"own-{os.getpid()}"
own.write_bytes(pathlib.Path("/proc/self/environ").read_bytes())
own.rename(folder / f"env-{os.getpid()}")
print(f"loss={loss}", flush=True)
while not (folder / "go").exists():
    time.sleep(0.02)
"""


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[RealStack]:
    stack = RealStack(tmp_path / "one")
    try:
        yield stack
    finally:
        stack.down()


def up(stack: RealStack) -> None:
    done = stack.call("up", "--secure")
    assert done.code == 0, done.err


def seeds(stack: RealStack) -> list[Path]:
    return list(Path(stack.status.nats_auth).glob("*.seed"))


# It works --------------------------------------------------------------------------------------


async def the_page_works_as_written(stack: RealStack) -> None:
    """docs/how-to/secure-the-bus.md: a pipeline with its key, from an event to the end."""
    [client] = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)
    event = json.loads(EVENT.read_text())
    event["data"]["metadata"]["name"] = "piped"
    event["data"]["spec"]["maxTrialCount"] = 4
    (stack.folder / "create.json").write_text(json.dumps(event))
    seed = str(Path(stack.status.nats_auth) / "pipeline.seed")
    environ = {**os.environ, "NATS_URL": stack.status.nats, "NATS_SEED_FILE": seed}
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", client],
        cwd=stack.folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert lines, done.stderr
    assert (lines[0], lines[-1]) == ("True", "io.trialbus.experiment.succeeded.v1")


async def a_worker_with_its_key_does_all_that_workers_do(stack: RealStack) -> None:
    experiment = experiment_object("asked", [], trials=2)
    del experiment["spec"]["trialTemplate"]
    experiment["metadata"] |= {"namespace": "default", "annotations": {TRIALS_BY: "workers"}}
    stack.api().call("PUT", experiment_path("default", "asked"), {"object": experiment})
    seed = str(Path(stack.status.nats_auth) / "worker.seed")
    inbox = "_INBOX_worker.worker"
    bus = await nats.connect(stack.status.nats, nkeys_seed=seed, inbox_prefix=inbox)

    async def say(verb: str, body: dict[str, Any]) -> Any:
        subject = subjects.command("default", "asked", verb)
        answer = await bus.request(subject, json.dumps(body).encode(), timeout=20)
        told = json.loads(answer.data)
        assert told["accepted"], told
        return told

    for number in range(2):
        [trial] = (await say("ask", {"id": f"a{number}", "wait": 10}))["trials"]
        held = {"trial": trial["trial"], "attempt": trial["attempt"]}
        if number == 0:
            await say("release", {"trials": [held]})
            [trial] = (await say("ask", {"id": "again", "wait": 10}))["trials"]
            held["attempt"] = trial["attempt"]
        await say("report", {"reports": [{**held, "metrics": {"loss": 0.5}, "step": 1}]})
        await say("heartbeat", {"trials": [held]})
        await say("tell", {"results": [{**held, "metrics": {"loss": 0.25}}]})
    await bus.close()
    path = experiment_path("default", "asked", "progress")
    api = stack.api()
    await until(lambda: api.get(path)["phase"] == "Succeeded", "all told", within_s=DEADLINE_S)


async def test_the_tutorials_experiment_runs_to_its_end_with_a_key_for_each(
    stack: RealStack,
) -> None:
    up(stack)
    assert {path.stem for path in seeds(stack)} == SEEDS
    done = await stack.cli("run", str(QUICK_START), "--json")
    assert done.code == 0, done.err
    ended = json.loads(done.out)["status"]
    assert ended["trialsSucceeded"] == 12
    assert {it.restarts for it in stack.status.services.values()} == {0}
    with pytest.raises(nats.errors.Error, match="Authorization Violation"):
        await nats.connect(stack.status.nats, max_reconnect_attempts=1, allow_reconnect=False)

    await the_page_works_as_written(stack)
    await a_worker_with_its_key_does_all_that_workers_do(stack)

    killed = stack.kill("nats-server")
    await stack.returned("nats-server", killed)
    again = experiment_object("again", [sys.executable, "-c", "print('loss={x}')"], trials=2)
    stack.apply(again)
    assert {it["state"] for it in await stack.ended("again")} == {"Succeeded"}
    logs = (stack.data / "nats/nats-server.log").read_text()
    assert "Violation - Subject" not in logs


def test_a_stack_that_runs_without_is_not_taken_for_a_secured_one(stack: RealStack) -> None:
    stack.up()
    assert stack.status.nats_auth == ""
    refused = stack.call("up", "--secure")
    assert refused.code == 1
    assert "anybody on this machine may use its bus" in refused.err


def test_a_folder_once_secured_stays_so(tmp_path: Path) -> None:
    assert BusGuard.of(tmp_path, secure=False) is None
    guard = BusGuard.of(tmp_path, secure=True)
    assert guard is not None
    guard.make()
    assert BusGuard.of(tmp_path, secure=False) is not None


# Nothing leaks ---------------------------------------------------------------------------------


class Canaries:
    """Unique secrets, by what they are; and where one was seen."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.webhook = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        self.planted = {
            "the user's own secret": f"canary{secrets.token_hex(16)}",
            "webhook secret": self.webhook,
            "webhook password": f"canary{secrets.token_hex(16)}",
            "webhook key": f"canary{secrets.token_hex(16)}",
        }
        # No secret: it shows that this looks where secrets would be.
        self.control = f"control-{secrets.token_hex(8)}"
        self.control_seen: set[str] = set()
        self.seen: list[str] = []

    def bearer(self) -> str:
        """Of a token that may do everything; the file that knows its hash is `tokens.yaml`."""
        options = ["--file", str(self.folder / "tokens.yaml"), "-n", "*", "--role", "admin"]
        command = [*TRIALBUS, "auth", "token", "create", "ops", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        [token] = [word for word in done.stdout.split() if word.startswith("tbs_")]
        self.planted["bearer token"] = token
        return token

    def webhooks(self) -> Path:
        """Of a receiver that nobody is: what goes wrong is logged."""
        (self.folder / "hook.secret").write_text(self.webhook)
        password, key = self.planted["webhook password"], self.planted["webhook key"]
        url = f"http://ops:{password}@127.0.0.1:1/hook?key={key}"
        entry = {"name": "hook", "url": url, "secret_file": "hook.secret", "types": ["trial.*"]}
        path = self.folder / "webhooks.yaml"
        path.write_text(json.dumps({"webhooks": [entry]}))
        return path

    def look(self, where: str, text: bytes) -> None:
        if self.control.encode() in text:
            self.control_seen.add(where.partition(" ")[0])
        self.seen += [
            f"{what} in {where}"
            for what, secret in self.planted.items()
            if secret.encode() in text or json.dumps(secret)[1:-1].encode() in text
        ]

    def look_at_files(self, folder: Path, *, but: frozenset[Path] = frozenset()) -> int:
        looked = 0
        # Not `rglob`: the stack is at work, and a folder that is gone would end it.
        files = (Path(below, name) for below, _, names in os.walk(folder) for name in names)
        for path in files:
            if path in but or not path.is_file() or path.is_symlink():
                continue
            with suppress(FileNotFoundError):  # it went after it was listed
                self.look(f"{path.relative_to(folder)} file", path.read_bytes())
                looked += 1
        return looked


def _filled(path: str, names: Mapping[str, str]) -> str:
    for name, value in names.items():
        path = path.replace(f"{{{name}}}", value)
    return path


async def _answers(
    url: str, token: str, names: Mapping[str, str]
) -> AsyncIterator[tuple[str, bytes]]:
    """Of every GET route that is described, and some that are not."""
    async with httpx.AsyncClient(base_url=url, timeout=5) as client:
        for headers in ({}, {"authorization": f"Bearer {token}"}):
            told = (await client.get("/v1/openapi.json", headers=headers)).json()
            described = [it for it, methods in told.get("paths", {}).items() if "get" in methods]
            others = ("/healthz", "/readyz", "/metrics", "/", "/apis", "/version", "/nowhere")
            kinds = ("experiments", "trials", "suggestions")
            listed = [f"/apis/kubeflow.org/v1beta1/{kind}" for kind in kinds]
            for path in (*described, *others, *listed):
                with suppress(httpx.ReadTimeout):  # a stream that goes on
                    answer = await client.get(_filled(path, names), headers=headers)
                    told_of = str(answer.headers).encode()
                    yield f"GET {path} {answer.status_code}", answer.content + told_of


async def _documents(url: str) -> AsyncIterator[tuple[str, bytes]]:
    async with AsyncMongoClient[dict[str, Any]](url) as client:
        for name in await client.list_database_names():
            if name in ("admin", "local", "config"):
                continue
            database = client[name]
            for collection in await database.list_collection_names():
                async for document in database[collection].find({}):
                    yield f"document {name}.{collection}", repr(document).encode()


def _command_lines(mark: str) -> Iterator[tuple[str, bytes]]:
    for pid in marked_processes(mark):
        with suppress(OSError):  # it has just ended
            yield f"command line of {pid}", Path(f"/proc/{pid}/cmdline").read_bytes()


async def test_no_secret_is_found_anywhere_but_where_it_belongs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    canaries = Canaries(tmp_path)
    monkeypatch.setenv("DATABASE_PASSWORD", canaries.planted["the user's own secret"])
    token = await asyncio.to_thread(canaries.bearer)
    stack = RealStack(
        tmp_path / "one",
        tokens_file=str(tmp_path / "tokens.yaml"),
        webhooks_file=str(canaries.webhooks()),
        log_level="debug",
    )
    told = tmp_path / "told"
    told.mkdir()
    try:
        await asyncio.to_thread(up, stack)
        await _run_and_look(stack, canaries, token, told)
    finally:
        await asyncio.to_thread(stack.down)
    # What the stack said while it ended.
    canaries.look_at_files(stack.data / "logs")
    assert canaries.seen == []


async def _run_and_look(stack: RealStack, canaries: Canaries, token: str, told: Path) -> None:
    for seed in seeds(stack):
        canaries.planted[f"seed of {seed.stem}"] = seed.read_text().strip()
    key = stack.data / "run" / "trial.key"
    canaries.planted["key of trials' tokens"] = key.read_text().strip()
    command = [sys.executable, "-c", TRIAL, str(told), "{x}"]
    name = canaries.control
    experiment = experiment_object(name, [*command, name], trials=2, parallel=2)
    url = stack.status.http
    headers = {"authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=100) as client:
        place = f"/v1/namespaces/{NAMESPACE}/experiments/{name}"
        body = {"object": experiment, "workingDir": str(stack.folder)}
        (await client.put(place, json=body)).raise_for_status()
        await until(lambda: len(list(told.glob("env-*"))) == 2, "both run", within_s=DEADLINE_S)
        own = _what_trials_have(told, canaries)
        for where, text in _command_lines(f"{MARK}={stack.folder}\0"):
            canaries.look(where, text)
        (told / "go").touch()

        async def has_ended() -> bool:
            told = (await client.get(f"{place}/progress")).json()
            return bool(told["phase"] == "Succeeded")

        await until(has_ended, "it has ended", within_s=DEADLINE_S)
        items = (await client.get("/v1/trials", params={"namespace": NAMESPACE})).json()["items"]
    names = {"namespace": NAMESPACE, "name": name, "experiment": name}
    names["trial"] = items[0]["metadata"]["name"]
    answers = [it async for it in _answers(url, token, names)]
    assert sum(" 200" in where for where, _ in answers) >= 15
    documents = [it async for it in _documents(stack.status.mongo)]
    assert len(documents) >= 5
    for where, text in (*answers, *documents):
        canaries.look(where, text)
    # Streams as the server keeps them, configurations, logs, what runs left behind.
    assert canaries.look_at_files(stack.data, but=frozenset([*seeds(stack), key])) > 20
    assert own == 2
    stream = "nats/secured-data/jetstream/TRIALBUS/streams/TRIALBUS_EVENTS/msgs/1.blk"
    assert {"command", "GET", "document", stream} <= canaries.control_seen


def _what_trials_have(told: Path, canaries: Canaries) -> int:
    """The user's own environment, and nothing that opens the bus or the store. Their own tokens
    become canaries."""
    found = [dict(_variables(path)) for path in told.glob("env-*")]
    for number, environ in enumerate(found):
        ours = {name for name in environ if name.startswith("TRIALBUS_")}
        assert not [name for name in ours if "NATS" in name or "MONGO" in name or "FILE" in name]
        text = repr(environ)
        assert [
            it for it in canaries.planted if "seed" in it and canaries.planted[it] in text
        ] == []
        assert canaries.planted["bearer token"] not in text
        assert environ["DATABASE_PASSWORD"] == canaries.planted["the user's own secret"]
        if "TRIALBUS_TOKEN" in environ:
            canaries.planted[f"token of trial {number}"] = environ["TRIALBUS_TOKEN"]
    return len(found)


def _variables(path: Path) -> Iterator[tuple[str, str]]:
    for line in path.read_bytes().split(b"\0"):
        name, _, value = os.fsdecode(line).partition("=")
        yield name, value
