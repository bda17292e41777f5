"""An experiment through everything that goes wrong between a launcher and an API server.

`make test-cluster-faults` runs 500 trials; the suite a few. A seed draws the faults.
"""

import asyncio
import os
from collections import Counter
from contextlib import suppress
from random import Random
from typing import Any

import pytest
from tests.cluster.cluster_worlds import ClusterWorld, cluster_world, job, wanted
from tests.cluster.double.errors import ApiError
from tests.cluster.double.faults import Fault, bad_weather
from tests.cluster.double.outcomes import Outcome
from tests.cluster.double.server import Double

from trialbus.adapters.kubernetes_api.reflector import Reflector
from trialbus.contracts.cluster_names import RUN_LABEL
from trialbus.kernel.trial import TrialPhase
from trialbus.testkit.waits import until

Object = dict[str, Any]
TRIALS = int(os.environ.get("CLUSTER_FAULT_TRIALS", "30"))
PARALLEL = 10
WITHIN_S = 60.0 + TRIALS
# Of calls. A trial makes about six, so with 14 faults most trials meet one or more.
RATE = 0.02


class Chaos:
    """Takes pods and jobs, and kills launchers, while an experiment runs."""

    def __init__(self, cluster: ClusterWorld, seed: int) -> None:
        self._cluster = cluster
        self._rng = Random(seed)
        self.deeds: Counter[str] = Counter()

    async def run(self) -> None:
        never = asyncio.Event()
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(never.wait(), self._rng.uniform(0.05, 0.3))
            deed = self._rng.choice(["evict", "preempt", "delete pod", "delete job", "crash"])
            # What it would take has gone by itself.
            with suppress(KeyError, IndexError, ApiError):
                self._do(deed)
                self.deeds[deed] += 1

    def _do(self, deed: str) -> None:
        double, rng = self._cluster.double, self._rng
        if deed == "crash":
            self._cluster.world.crash("trial_launcher", away_s=0.05)
            return
        kind = "jobs" if deed == "delete job" else "pods"
        name = rng.choice(self._cluster.objects(kind))["metadata"]["name"]
        match deed:
            case "evict":
                double.pods.evict("default", name)
            case "preempt":
                double.pods.preempt("default", name)
            case "delete pod":
                double.delete("pods", "default", name)
            case "delete job":
                double.delete("jobs", "default", name)


@pytest.mark.parametrize("seed", [1])
async def test_no_fault_of_the_api_server_runs_an_attempt_twice_or_loses_one(
    double: Double, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The short waits of a test; what they protect from is as quick here.
    monkeypatch.setattr("trialbus.kernel.limits.CLUSTER_LOST_AFTER_S", 4.0)
    monkeypatch.setattr("trialbus.kernel.limits.CLUSTER_FIRST_CREATE_S", 2.0)
    monkeypatch.setattr("trialbus.kernel.limits.CLUSTER_WATCH_GRACE_S", 0.5)
    defaults = Reflector.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "watch_s", 2.0)
    starts: Counter[str] = Counter()
    rng = Random(seed)

    def run(pod: Object) -> Outcome:
        starts[pod["metadata"]["labels"][RUN_LABEL]] += 1
        return Outcome(log=b"loss=0.5\n", after_s=rng.uniform(0.0, 0.3))

    silent = Fault(kind="watch-silent", after_events=20, times=None, probability=0.05)
    double.faults.storm(seed, [*bad_weather(RATE), silent])
    async with cluster_world(double, run=run, launchers=2) as cluster:
        chaos = Chaos(cluster, seed)
        await cluster.apply(wanted("stormy", job(), trials=TRIALS, parallel=PARALLEL))
        doing = asyncio.create_task(chaos.run())
        try:
            state = await cluster.ended("stormy", timeout_s=WITHIN_S)
        finally:
            doing.cancel()
        double.faults.clear()
        trials, runs = cluster.trials(), cluster.runs()
        assert len(trials) == TRIALS == state.finished
        ended = {TrialPhase.SUCCEEDED, TrialPhase.FAILED}
        assert [it.conditions[-1] for it in trials if it.phase not in ended] == []
        # What failed did so because it was lost once more than is borne, and says how.
        failed = [it for it in trials if it.phase is TrialPhase.FAILED]
        assert {it.conditions[-1].reason for it in failed} <= {"TrialLost"}
        assert max(starts.values()) == 1, starts.most_common(3)
        assert all(it.ended and (it.phase == "Finished" or it.message) for it in runs)
        await until(lambda: not cluster.objects(), "no Job", within_s=WITHIN_S)
        print(
            f"{TRIALS} trials, {len(runs)} attempts, {len(failed)} given up, "
            f"{sum(double.faults.counts.values())} faults, deeds {dict(chaos.deeds)}, "
            f"most Jobs {double.maxima['jobs']}"
        )
