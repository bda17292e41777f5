"""A stack of its own for a measurement: started by the command line, read through the store."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from trialbus.adapters.mongo_store import MongoSettings, MongoStore
from trialbus.contracts.collections import EXPERIMENTS
from trialbus.ports.store import Document, Query

_POLL_S = 0.5
NAMESPACE = "bench"
TRIALBUS = (sys.executable, "-m", "trialbus.cli.main")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A running stack: its addresses and its store, for reading."""

    folder: Path
    status: Mapping[str, Any]
    store: MongoStore

    async def apply(
        self, experiment: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> str:
        """Post it; its uid."""
        name = experiment["metadata"]["name"]
        url = f"{self.status['http']}/v1/namespaces/{NAMESPACE}/experiments/{name}"
        body = {"id": str(uuid.uuid4()), "object": experiment, "workingDir": str(self.folder)}
        async with httpx.AsyncClient(timeout=30, headers=headers) as client:
            reply = await client.put(url, json=body)
        reply.raise_for_status()
        return str(reply.json()["uid"])

    async def delete(self, name: str) -> None:
        url = f"{self.status['http']}/v1/namespaces/{NAMESPACE}/experiments/{name}"
        async with httpx.AsyncClient(timeout=30) as client:
            (await client.delete(url)).raise_for_status()

    async def ended(self, uid: str, *, within_s: float) -> Document:
        """The experiment's document once it has ended. Raises TimeoutError."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            document = (await self.store.get_many(EXPERIMENTS.name, [uid]))[uid]
            if document["phase"] in ("Succeeded", "Failed"):
                return document
            await asyncio.sleep(_POLL_S)
        raise TimeoutError(f"{uid} has not ended within {within_s:g} s")

    async def of(self, collection: str, uid: str, *fields: str) -> list[Document]:
        """Documents of one experiment, by the beginning of their keys."""
        return await self.store.find(collection, Query(prefix=f"{uid}.", fields=fields))

    def pss_mb(self) -> float:
        """Proportional set size of all its processes, in MB."""
        supervisor = psutil.Process(self.status["pid"])
        family = [supervisor, *supervisor.children(recursive=True)]
        return float(sum(process.memory_full_info().pss for process in family)) / 1e6


@asynccontextmanager
async def running_stack(
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Stack]:
    """Up in a new folder, and down at the end. environment: variables beside our own."""
    with tempfile.TemporaryDirectory(prefix="trialbus-bench-") as folder:
        data_dir = Path(folder)
        await command("up", "--data-dir", str(data_dir), environment=environment)
        try:
            status = json.loads(await command("status", "--json", "--data-dir", str(data_dir)))
            store = MongoStore(MongoSettings(url=status["mongo"], app_name="loadtests"))
            try:
                yield Stack(folder=data_dir, status=status, store=store)
            finally:
                await store.close()
        finally:
            await command("down", "--data-dir", str(data_dir))


async def command(*words: str, environment: Mapping[str, str] | None = None) -> str:
    """Run a trialbus command to its end; what it wrote. Raises CalledProcessError."""
    return await asyncio.to_thread(_run, words, {**os.environ, **(environment or {})})


def _run(words: Sequence[str], environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        [*TRIALBUS, *words], capture_output=True, text=True, check=False, env=environment
    )
    try:
        done.check_returncode()
    except subprocess.CalledProcessError as error:
        error.add_note(done.stderr)
        raise
    return done.stdout


def experiment(
    name: str,
    argv: Sequence[str],
    *,
    trials: int,
    parallel: int,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Random search over one double, `x`, with a process per trial."""
    container = {"name": "trial", "image": "none", "command": list(argv)}
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"namespace": NAMESPACE, "name": name},
        "spec": {
            "parallelTrialCount": parallel,
            "maxTrialCount": trials,
            "objective": {"type": "minimize", "objectiveMetricName": "loss"},
            "algorithm": {"algorithmName": "random"},
            "parameters": [
                {
                    "name": "x",
                    "parameterType": "double",
                    "feasibleSpace": {"min": "0", "max": "1"},
                }
            ],
            "trialTemplate": {
                "primaryContainerName": "trial",
                "trialParameters": [{"name": "x", "reference": "x"}],
                "trialSpec": {
                    "apiVersion": "batch/v1",
                    "kind": "Job",
                    "spec": {
                        "template": {"spec": {"restartPolicy": "Never", "containers": [container]}}
                    },
                },
            },
            **(settings or {}),
        },
    }
