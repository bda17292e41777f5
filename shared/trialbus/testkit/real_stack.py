"""A whole stack of real processes, driven by the command line and harmed by signals."""

import asyncio
import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trialbus.adapters.mongo_store import MongoSettings, MongoStore
from trialbus.cli.api import Api, experiment_path, path_of
from trialbus.contracts.collections import EXPERIMENTS
from trialbus.contracts.documents import EXPERIMENT
from trialbus.kernel.errors import Transient
from trialbus.kernel.experiment import Experiment
from trialbus.local import stack_file
from trialbus.local.stack_file import ProcessStatus, StackStatus
from trialbus.ports.store import Query
from trialbus.testkit.programs import TRIALBUS, program_environ
from trialbus.testkit.run_probes import is_alive, marked_processes
from trialbus.testkit.waits import until

# Every process of a stack carries its folder under this name, trials too.
MARK = "STACK_UNDER_TEST"
NAMESPACE = "tests"
# Generous: two busy cores and a cold disk.
COMMAND_DEADLINE_S = 90.0
RECOVERY_DEADLINE_S = 45.0

Story = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A command that has ended."""

    code: int
    out: str
    err: str
    took_s: float


class RealStack:
    """One data folder below `folder`, and commands on it.

    settings: of the services, by their names in the environment without the prefix.
    """

    def __init__(self, folder: Path, **settings: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.data = folder / "data"
        own = {f"TRIALBUS_{name.upper()}": text for name, text in settings.items()}
        self._environ = program_environ(folder / "lib") | own | {MARK: str(folder)}

    # Commands ----------------------------------------------------------------------------------

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """A command in a process group of its own, as in a terminal."""
        return subprocess.Popen(
            [*TRIALBUS, *arguments, "--data-dir", str(self.data)],
            cwd=self.folder,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def call(self, *arguments: str, within_s: float = COMMAND_DEADLINE_S) -> Finished:
        """A command to its end; AssertionError, with all that it has said, after `within_s`."""
        began = time.monotonic()
        process = self.start(*arguments)
        try:
            out, err = process.communicate(timeout=within_s)
        except subprocess.TimeoutExpired as error:
            process.kill()
            out, err = process.communicate()
            told = f"{' '.join(arguments)}: no end within {within_s:g} s\n{out}{err}"
            raise AssertionError(told) from error
        took_s = time.monotonic() - began
        return Finished(code=process.returncode, out=out, err=err, took_s=took_s)

    async def cli(self, *arguments: str, within_s: float = COMMAND_DEADLINE_S) -> Finished:
        return await asyncio.to_thread(self.call, *arguments, within_s=within_s)

    def up(self) -> None:
        done = self.call("up")
        assert done.code == 0, done.err

    def down(self) -> None:
        """Also of a stack that a failed test has left in any state."""
        try:
            self.call("down")
        finally:
            self.kill_the_rest()

    def write(self, experiment: dict[str, Any]) -> str:
        """The experiment's file (JSON is YAML)."""
        path = self.folder / f"{experiment['metadata']['name']}.yaml"
        path.write_text(json.dumps(experiment, indent=2))
        return str(path)

    # The gateway -------------------------------------------------------------------------------

    def apply(self, experiment: dict[str, Any]) -> None:
        name = experiment["metadata"]["name"]
        body = {"id": str(uuid.uuid4()), "object": experiment, "workingDir": str(self.folder)}
        self.api().call("PUT", experiment_path(NAMESPACE, name), body)

    def api(self) -> Api:
        """One for each question: nothing of it is kept open."""
        return Api(self.status.http, remedy="")

    async def ended(self, name: str, *, within_s: float = COMMAND_DEADLINE_S) -> list[Story]:
        """How each trial of an experiment is explained once it has ended, in the order of their
        opening."""
        api = self.api()
        path = experiment_path(NAMESPACE, name, "progress")
        await until(
            lambda: api.get(path)["phase"] in ("Succeeded", "Failed"),
            f"{name} has ended",
            within_s=within_s,
        )
        items = api.items(path_of("trials"), namespace=NAMESPACE, experiment=name)
        names = [trial["metadata"]["name"] for trial in items]
        stories = [api.get(path_of("trials", trial, "explain")) for trial in names]
        api.close()
        return stories

    # Processes ---------------------------------------------------------------------------------

    @property
    def status(self) -> StackStatus:
        found = stack_file.read_running(self.data)
        assert found is not None, f"no stack runs on {self.data}"
        return found

    def process(self, name: str) -> ProcessStatus:
        status = self.status
        return (status.services | status.servers)[name]

    def kill(self, name: str) -> int:
        """SIGKILL to a service or server of this name; its pid."""
        pid = self.process(name).pid
        assert pid is not None, f"{name} does not run"
        os.kill(pid, signal.SIGKILL)
        return pid

    async def returned(self, name: str, killed: int) -> float:
        """How long until another process of this name is ready."""
        began = time.monotonic()

        def is_back() -> bool:
            process = self.process(name)
            return process.state == "ready" and process.pid not in (None, killed)

        await until(is_back, f"{name} is back", within_s=RECOVERY_DEADLINE_S)
        return time.monotonic() - began

    def processes(self) -> dict[int, str]:
        """Command lines of all that live and began below a command of this stack, trials too."""
        found = {}
        for pid in marked_processes(f"{MARK}={self.folder}\0"):
            with suppress(OSError):  # it has just ended
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if is_alive(pid):
                    found[pid] = b" ".join(words).decode(errors="replace")[:200]
        return found

    async def until_nothing_runs(self, within_s: float = COMMAND_DEADLINE_S) -> None:
        await until(lambda: not self.processes(), "none of its processes", within_s=within_s)

    def kill_the_rest(self) -> None:
        for pid in self.processes():
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(pid, signal.SIGKILL)

    # What is stored ----------------------------------------------------------------------------

    @asynccontextmanager
    async def store(self) -> AsyncIterator[MongoStore]:
        store = MongoStore(MongoSettings(url=self.status.mongo, app_name="tests"))
        try:
            yield store
        finally:
            await store.close()


async def find_experiment(store: MongoStore, name: str) -> Experiment | None:
    """None: there is none yet, or the store is away."""
    try:
        found = await store.find(
            EXPERIMENTS.name, Query(equals={"alive_name": f"{NAMESPACE}/{name}"})
        )
    except Transient:
        return None
    return EXPERIMENT.decode(found[0]) if found else None


def experiment_object(
    name: str,
    command: Sequence[str],
    *,
    trials: int = 1,
    parallel: int = 1,
    goal: float | None = None,
    stopping: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Minimises `loss` over one parameter `x` in [0, 1]. command: of its trials, `{x}` stands for
    the parameter's value. It endures any number of failures."""
    words = [word.replace("{x}", "${trialParameters.x}") for word in command]
    job = {"containers": [{"name": "main", "image": "none", "command": words}]}
    objective: dict[str, Any] = {"type": "minimize", "objectiveMetricName": "loss"}
    if goal is not None:
        objective["goal"] = goal
    spec: dict[str, Any] = {
        "objective": objective,
        "algorithm": {"algorithmName": "random"},
        "parallelTrialCount": parallel,
        "maxTrialCount": trials,
        "maxFailedTrialCount": trials,
        "parameters": [
            {"name": "x", "parameterType": "double", "feasibleSpace": {"min": "0", "max": "1"}}
        ],
        "trialTemplate": {
            "primaryContainerName": "main",
            "trialParameters": [{"name": "x", "reference": "x"}],
            "trialSpec": {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "spec": {"template": {"spec": {**job, "restartPolicy": "Never"}}},
            },
        },
    }
    if stopping is not None:
        spec["earlyStopping"] = stopping
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    }
