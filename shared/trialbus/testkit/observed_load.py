"""A load on a stack with all that can go wrong in it, so that there is something to be seen."""

import asyncio
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import grpc
import nats

from trialbus.cli.api import Api, experiment_path
from trialbus.contracts.collections import EXPERIMENTS
from trialbus.contracts.katib.annotations import TRIALS_BY
from trialbus.ports.store import Write
from trialbus.runtime import metrics
from trialbus.testkit.real_stack import NAMESPACE, RealStack, experiment_object
from trialbus.testkit.waits import until

# The first three are good; each later one is worse than they, and would go on for ever.
_WORSE = """
for good in 1 2 3; do
    if mkdir "$1.$good" 2>/dev/null; then echo loss=0.1; echo loss=0.1; exit 0; fi
done
while :; do echo loss=9; sleep 0.05; done
"""
_MEDIAN = {
    "algorithmName": "medianstop",
    "algorithmSettings": [
        {"name": "min_trials_required", "value": "3"},
        {"name": "start_step", "value": "2"},
    ],
}
# What a failing trial takes.
FAILS_AFTER_S = 0.4
LEASE_S = 1.0
_LONG_S = 60.0


@dataclass(slots=True)
class Load:
    """stack: with the parts of `misbehaving_parts` installed. token: of an admin. ended: how many
    trials ended how, as the load made them end."""

    stack: RealStack
    token: str
    ended: dict[str, int] = field(default_factory=dict)

    async def run(self) -> None:
        """All at once, to the end of every experiment but the broken one's."""
        await self._garbage()
        await asyncio.gather(
            self._experiment("good", _says("echo loss={x}; sleep 0.3; echo loss={x}"), 6),
            self._experiment("modelled", _says("echo loss={x}"), 8, algorithm="tpe"),
            self._experiment("slow", _says("echo loss={x}"), 4, algorithm="slow"),
            self._experiment("failing", _says(f"sleep {FAILS_AFTER_S}; exit 3"), 3, ends="Failed"),
            self._experiment("silent", _says("echo nothing"), 2, ends="MetricsUnavailable"),
            self._unjudged(),
            self._stopped_early(),
            self._without_points(),
            self._asked(),
            self._killed_launcher(),
            asyncio.to_thread(self._callers),
        )
        await self._outage()
        # What has labels of its own is seen from its first value on, and grows from the second.
        await asyncio.gather(
            self._experiment("again", _says("echo loss={x}"), 2),
            self._experiment("modelled-again", _says("echo loss={x}"), 2, algorithm="tpe"),
            asyncio.to_thread(self._callers),
        )

    async def _outage(self) -> None:
        """Both servers are killed beside a trial that reports."""
        marks = self.stack.folder
        command = _says(
            'touch "$1"; while [ ! -e "$2" ]; do echo loss={x}; sleep 0.1; done',
            str(marks / "reporting"),
            str(marks / "over"),
        )
        await asyncio.to_thread(
            self.stack.apply, experiment_object("outage", command, trials=2, parallel=2)
        )
        await until((marks / "reporting").exists, "a trial runs", within_s=_LONG_S)
        killed = {name: self.stack.kill(name) for name in ("nats-server", "mongod")}
        for name, pid in killed.items():
            await self.stack.returned(name, pid)
        (marks / "over").touch()
        await self._ended("outage", ["Succeeded"] * 2)

    async def _experiment(
        self,
        name: str,
        command: list[str],
        trials: int,
        *,
        algorithm: str = "random",
        ends: str = "Succeeded",
    ) -> None:
        wanted = experiment_object(name, command, trials=trials, parallel=2)
        wanted["spec"]["algorithm"]["algorithmName"] = algorithm
        await asyncio.to_thread(self.stack.apply, wanted)
        await self._ended(name, [ends] * trials)

    async def _ended(self, name: str, expected: list[str]) -> None:
        stories = await self.stack.ended(name, within_s=_LONG_S)
        states = sorted(it["state"] for it in stories)
        assert states == sorted(expected), f"{name}: {states}"
        for state in states:
            self.ended[state] = self.ended.get(state, 0) + 1

    async def _stopped_early(self) -> None:
        command = _says(_WORSE, str(self.stack.folder / "good"))
        wanted = experiment_object("stopped", command, trials=4, goal=0.0, stopping=_MEDIAN)
        await asyncio.to_thread(self.stack.apply, wanted)
        await self._ended("stopped", ["Succeeded"] * 3 + ["EarlyStopped"])

    async def _unjudged(self) -> None:
        """It reports until its rule has failed, and ends as if it had none."""
        mark = self.stack.folder / "judged"
        command = _says('until [ -e "$1" ]; do echo loss={x}; sleep 0.1; done', str(mark))
        stopping = {"algorithmName": "broken-rule"}
        wanted = experiment_object("unjudged", command, stopping=stopping)
        await asyncio.to_thread(self.stack.apply, wanted)
        failed = f'{metrics.RULE_FAILURES.name}{{rule="broken-rule"}}'
        await self._counted("early_stopping", failed)
        mark.touch()
        await self._ended("unjudged", ["Succeeded"])

    async def _counted(self, service: str, series: str) -> None:
        """Until a service tells of a series above zero."""
        told = re.compile(rf"^{re.escape(series)} [1-9]", re.MULTILINE)
        await until(
            lambda: told.search(_metrics(self.stack, service)), f"{series} > 0", within_s=_LONG_S
        )

    async def _without_points(self) -> None:
        wanted = experiment_object("pointless", _says("echo loss={x}"))
        wanted["spec"]["algorithm"]["algorithmName"] = "broken"
        await asyncio.to_thread(self.stack.apply, wanted)
        await self._ended("pointless", [])

    async def _asked(self) -> None:
        """The first worker asks and is never heard of again."""
        wanted = experiment_object("asked", [], trials=2)
        del wanted["spec"]["trialTemplate"]
        wanted["metadata"]["annotations"] = {TRIALS_BY: "workers"}
        await asyncio.to_thread(self.stack.apply, wanted)
        await asyncio.to_thread(self._work)
        await self._ended("asked", ["Succeeded"] * 2)

    def _work(self) -> None:
        api = self.stack.api()
        for number in range(3):
            held = _ask(api, number)
            if number > 0:
                result = {"trial": held["trial"], "attempt": held["attempt"]}
                told = {"results": [result | {"metrics": {"loss": 0.5}}]}
                api.call("POST", experiment_path(NAMESPACE, "asked", "tell"), told)
        api.close()

    async def _killed_launcher(self) -> None:
        """It is killed beside a running trial, which its successor takes over."""
        folder = self.stack.folder
        command = _says(
            'touch "$1"; while [ ! -e "$2" ]; do sleep 0.05; done; echo loss=1',
            str(folder / "survivor"),
            str(folder / "go"),
        )
        await asyncio.to_thread(self.stack.apply, experiment_object("adopted", command))
        await until((folder / "survivor").exists, "a trial runs", within_s=_LONG_S)
        killed = self.stack.kill("trial_launcher")
        await self.stack.returned("trial_launcher", killed)
        await self._counted("trial_launcher", f'{metrics.ADOPTIONS.name}{{place="process"}}')
        (folder / "go").touch()
        await self._ended("adopted", ["Succeeded"])

    def _callers(self) -> None:
        """Wrong ones, too; and one who follows events for as long as the load lasts."""
        status = self.stack.status
        for token in ("", "wrong"):
            assert _status(f"{status.http}/v1/experiments", token) == 401
        assert _status(f"{status.http}/v1/experiments", self.token) == 200
        assert _status(f"{status.http}/no/such/path", self.token) == 404
        bearer = [("authorization", f"Bearer {self.token}")]
        with grpc.insecure_channel(status.grpc) as channel:
            for method in ("/grpc.health.v1.Health/Check", "/api.v1.beta1.DBManager/NoSuchCall"):
                call = channel.unary_unary(method)
                with suppress(grpc.RpcError):  # one of the two is no method
                    call(b"", timeout=_LONG_S, metadata=bearer)

    async def _garbage(self) -> None:
        """An event and an experiment that nobody can read."""
        unreadable = {
            "_id": "unreadable",
            "version": 1,
            "phase": "Running",
            "active": True,
            # What others than its owner look at.
            "spec": {"early_stopping": None},
        }
        async with self.stack.store() as store:
            await store.commit(EXPERIMENTS.name, [Write(base=None, document=unreadable)])
        connection = await nats.connect(self.stack.status.nats)
        subject = f"trialbus.v1.evt.{NAMESPACE}.nobody.experiment.created"
        await connection.jetstream().publish(subject, b"no event at all")
        await connection.close()


def _says(program: str, *arguments: str) -> list[str]:
    """A command of sh; `{x}` in the program stands for the parameter's value."""
    return ["/bin/sh", "-c", program, "{x}", *arguments]


def _metrics(stack: RealStack, service: str) -> str:
    """What a service serves to Prometheus."""
    with urllib.request.urlopen(f"{stack.process(service).health}/metrics") as response:
        return str(response.read(), "utf-8")


def _ask(api: Api, number: int) -> Mapping[str, Any]:
    """One trial, as soon as there is one."""
    body = {"id": f"ask-{number}", "lease": LEASE_S, "wait": 10}
    deadline = time.monotonic() + _LONG_S
    while time.monotonic() < deadline:
        answer = api.call("POST", experiment_path(NAMESPACE, "asked", "ask"), body)
        if answer["trials"]:
            return dict(answer["trials"][0])
    raise AssertionError("no trial was given to a worker")


def _status(url: str, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as response:
            json.load(response)
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
