"""Trials as objects of a cluster: what a launcher costs, against the double of an API server in a
process of its own. `make bench-cluster`; the figures are on docs/benchmarks/cluster.md.

The launcher is measured alone, through its port: plans in, ends out, objects deleted.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from trialbus.adapters.kubernetes_api import open_cluster
from trialbus.contracts.cluster_names import run_labels
from trialbus.kernel.ids import RunKey
from trialbus.ports.cluster import ClusterApi
from trialbus.ports.launcher import ObjectPlan, RunState
from trialbus.runtime.clock import SystemClock
from trialbus.runtime.settings import Settings
from trialbus.runtime.telemetry import Telemetry
from trialbus.testkit.waits import until
from trialbus_trial_launcher.adapters.kubernetes import ClusterLauncher

_UID = "0b2f7a52-5d0e-4f5e-9a42-b0f0c1a1e001"
_SUCCESS = 'status.conditions.#(type=="Complete")#|#(status=="True")#'
_FAILURE = 'status.conditions.#(type=="Failed")#|#(status=="True")#'
_CEILING_S = 5.0
_CEILING_CLIENTS = 16

# The double's own process: tells its kubeconfig, then its statistics whenever it is asked.
_SERVER = """
import json, sys
from pathlib import Path
from tests.cluster.double.outcomes import Outcome
from tests.cluster.double.server import running_double
after_s = None if sys.argv[2] == "never" else float(sys.argv[2])
with running_double(Path(sys.argv[1])) as double:
    double.pods.run = lambda pod: Outcome(log=b"loss=0.5\\n", after_s=after_s)
    print(double.kubeconfig, flush=True)
    for line in sys.stdin:
        requests = {f"{verb} {what}": n for (verb, what), n in double.stats.requests.items()}
        print(json.dumps({"requests": requests, "maxima": dict(double.maxima)}), flush=True)
"""


class DoubleProcess:
    def __init__(self, process: "subprocess.Popen[str]", kubeconfig: str) -> None:
        self._process = process
        self.kubeconfig = kubeconfig

    def stats(self) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("stats\n")
        self._process.stdin.flush()
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found


@contextmanager
def running(after_s: float | None) -> Iterator[DoubleProcess]:
    with tempfile.TemporaryDirectory() as folder:
        told = "never" if after_s is None else str(after_s)
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVER, folder, told],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
        )
        try:
            assert process.stdout is not None
            yield DoubleProcess(process, process.stdout.readline().strip())
        finally:
            process.terminate()
            process.wait()


def plan(number: int) -> ObjectPlan:
    run, name = RunKey(_UID, number, 1), f"bench-{number}"
    labels = run_labels("trialbus", "bench", name, run)
    container = {
        "name": "main",
        "image": "trainer:1",
        "command": ["train", f"--lr={number}"],
        "env": [{"name": f"TRIALBUS_{i}", "value": "x" * 40} for i in range(15)],
    }
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [container], "restartPolicy": "Never"},
    }
    body = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {"backoffLimit": 0, "template": template},
    }
    return ObjectPlan(
        run_id=str(run),
        body=body,
        created_at=time.time(),
        success=_SUCCESS,
        failure=_FAILURE,
        container="main",
        shipped=True,
    )


async def launcher_on(double: DoubleProcess) -> ClusterLauncher:
    settings = Settings.model_validate({"kubeconfig": double.kubeconfig})
    return ClusterLauncher(
        await open_cluster(settings, requests_per_second=10_000),
        SystemClock(),
        Telemetry("bench").log,
        instance="trialbus",
        namespaces=(None,),
    )


async def throughput(trials: int, parallel: int) -> dict[str, float]:
    """Create, run, finish, read the end of the log, delete; `parallel` at a time."""
    with running(0.0) as double:
        launcher = await launcher_on(double)
        begun, ended, began_at = 0, 0, time.monotonic()
        memory = psutil.Process().memory_info
        warm = 0
        while ended < trials:
            room = min(parallel - (begun - ended), trials - begun)
            await launcher.start([plan(begun + i) for i in range(room)])
            begun += room
            over = await launcher.ended(timeout_s=5.0)
            for run_id in over:
                status = (await launcher.status([run_id]))[run_id]
                assert status.state is RunState.FINISHED, status
            await asyncio.gather(*(launcher.tail(run_id, 4096) for run_id in over))
            await launcher.tidy(over)
            ended += len(over)
            warm = warm or (memory().rss if ended > trials // 4 else 0)
        seconds = time.monotonic() - began_at
        stats = double.stats()
        grown = memory().rss - warm
        await launcher.close()
    requests = stats["requests"]
    lists = sum(n for what, n in requests.items() if what.startswith("list "))
    return {
        "trials a second": trials / seconds,
        "requests for a trial": sum(requests.values()) / trials,
        "lists in all": float(lists),
        "most Jobs at once": float(stats["maxima"]["jobs"]),
        "bytes that stay for each ended trial": grown / (trials * 3 / 4),
    }


async def in_flight(trials: int) -> dict[str, float]:
    """Memory of runs that live, beside what the first hundred needed."""
    with running(None) as double:
        launcher = await launcher_on(double)
        process, ids = psutil.Process(), [plan(i).run_id for i in range(trials)]
        await _begin(launcher, 0, 100)
        before = process.memory_info().rss
        await _begin(launcher, 100, trials)
        grown = process.memory_info().rss - before
        began = time.monotonic()
        for _ in range(10):
            await launcher.status(ids)
        seconds = (time.monotonic() - began) / 10
        await launcher.close()
    return {
        "bytes for each trial in flight": grown / (trials - 100),
        "seconds of a look at all": seconds,
    }


async def _begin(launcher: ClusterLauncher, first: int, last: int) -> None:
    ids = [plan(i).run_id for i in range(first, last)]
    for start in range(first, last, 200):
        await launcher.start([plan(i) for i in range(start, min(start + 200, last))])

    def all_run() -> bool:
        primaries = [launcher.record(run_id).primary for run_id in ids]
        return all(it is not None and it.started_at is not None for it in primaries)

    await until(all_run, "all pods to run", within_s=300.0)


async def ceiling() -> float:
    """Requests a second that the double answers to this client: dry-run creations of Jobs."""
    with running(None) as double:
        api: ClusterApi = await open_cluster(
            Settings.model_validate({"kubeconfig": double.kubeconfig}), requests_per_second=100_000
        )
        jobs = await api.resource("batch/v1", "Job")
        until, count = time.monotonic() + _CEILING_S, 0

        async def ask() -> None:
            nonlocal count
            while time.monotonic() < until:
                await api.create(jobs, "default", dict(plan(count).body), dry_run=True)
                count += 1

        await asyncio.gather(*(ask() for _ in range(_CEILING_CLIENTS)))
        await api.close()
    return count / _CEILING_S


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=20_000)
    parser.add_argument("--parallel", type=int, default=200)
    parser.add_argument("--in-flight", type=int, default=3_000)
    given = parser.parse_args()
    print(f"the double's own ceiling: {await ceiling():.0f} requests a second")
    for what, value in (await in_flight(given.in_flight)).items():
        print(f"{given.in_flight} in flight: {what}: {value:.4g}")
    for what, value in (await throughput(given.trials, given.parallel)).items():
        print(f"{given.trials} trials, {given.parallel} at a time: {what}: {value:.4g}")


if __name__ == "__main__":
    asyncio.run(main())
