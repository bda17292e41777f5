"""Runs that a launcher takes over: what it cannot find out yet is neither lost nor forgotten."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.cluster.cluster_worlds import NAMESPACE, ClusterWorld, cluster_world, job, wanted
from tests.cluster.double.faults import Fault
from tests.cluster.double.outcomes import RUNS_ON, Outcome
from tests.cluster.double.server import Double

from trialbus.adapters.kubernetes_api import open_cluster
from trialbus.contracts.cluster_names import RUN_LABEL, run_labels
from trialbus.contracts.katib.defaults import JOB_FAILURE, JOB_SUCCESS
from trialbus.kernel import limits
from trialbus.kernel.ids import RunKey
from trialbus.ports.launcher import ObjectPlan, RunState
from trialbus.runtime.clock import SystemClock
from trialbus.runtime.settings import Settings
from trialbus.runtime.telemetry import Telemetry
from trialbus.testkit.waits import until
from trialbus_trial_launcher.adapters.kubernetes import ClusterLauncher, Leftovers

Object = dict[str, Any]
LAUNCHER = "trialbus_trial_launcher.adapters.kubernetes.launcher"


class LateClock(SystemClock):
    """As if so much later."""

    def __init__(self, late_s: float) -> None:
        self._late_s = late_s

    def now(self) -> float:
        return super().now() + self._late_s


async def running(cluster: ClusterWorld, count: int) -> None:
    def run() -> bool:
        pods = cluster.objects("pods")
        return [(it.get("status") or {}).get("phase") for it in pods] == ["Running"] * count

    await until(run, f"{count} running pods")


async def test_what_another_launcher_is_about_to_create_is_not_lost(double: Double) -> None:
    starts: Counter[str] = Counter()

    def run(pod: Object) -> Outcome:
        starts[pod["metadata"]["labels"][RUN_LABEL]] += 1
        return Outcome(log=b"loss=0.5\n")

    # Its creator is told to wait; one that comes now looks for it meanwhile.
    slow = double.faults.add(
        Fault(kind="status", verb="create", resource="jobs", code=429, retry_after_s=1, times=1)
    )
    async with cluster_world(double, run=run) as cluster:
        await cluster.apply(wanted("late", job()))
        await until(lambda: slow.struck == 1, "a creation that has to wait")
        cluster.world.start("trial_launcher/2")
        await cluster.ended("late")
        assert [(it.attempt, it.exit_code) for it in cluster.runs()] == [(1, 0)]
        assert list(starts.values()) == [1]


@pytest.mark.parametrize(
    ("verb", "resource", "code"),
    [("get", "jobs", 403), ("list", "pods", 403), ("list", "pods", 500)],
)
async def test_a_run_that_may_not_be_looked_at_is_not_lost(
    double: Double, verb: str, resource: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{LAUNCHER}._UNSEEN_S", 0.1)
    async with cluster_world(double, run=lambda _: RUNS_ON) as cluster:
        await cluster.apply(wanted("held", job()))
        await running(cluster, 1)
        fault = double.faults.add(
            Fault(kind="status", verb=verb, resource=resource, code=code, times=1)
        )
        cluster.world.crash("trial_launcher", away_s=0.05)
        await until(lambda: fault.struck == 1, "the fault")
        [pod] = cluster.objects("pods")
        double.pods.finish("default", pod["metadata"]["name"], Outcome(log=b"loss=0.5\n"))
        await cluster.ended("held")
        assert [(it.attempt, it.exit_code) for it in cluster.runs()] == [(1, 0)]


def plan(name: str, *, shipped: bool = False) -> ObjectPlan:
    body = job()
    body["spec"]["template"]["spec"]["restartPolicy"] = "Never"
    run = RunKey(f"uid-{name}", 0, 1)
    labels = run_labels("trialbus", "direct", name, run)
    body["spec"]["template"]["metadata"] = {"labels": labels}
    metadata = {"name": name, "namespace": NAMESPACE, "labels": labels}
    return ObjectPlan(
        run_id=labels[RUN_LABEL],
        body={**body, "metadata": metadata},
        created_at=SystemClock().now(),
        success=JOB_SUCCESS,
        failure=JOB_FAILURE,
        container="main",
        pod_labels={},
        pods_by="",
        shipped=shipped,
        follows=False,
        retain=False,
    )


@asynccontextmanager
async def direct(double: Double) -> AsyncIterator[ClusterLauncher]:
    double.pods.run = lambda _: RUNS_ON
    given: Object = {"place": "kubernetes", "kubeconfig": str(double.kubeconfig)}
    api = await open_cluster(Settings(**given))
    log = Telemetry("launcher").log
    launcher = ClusterLauncher(api, SystemClock(), log, instance="trialbus", namespaces=(None,))
    try:
        yield launcher
    finally:
        await launcher.close()


@pytest.mark.parametrize(("shipped", "state"), [(False, RunState.RUNNING), (True, RunState.ABSENT)])
async def test_a_young_run_that_is_not_there_is_only_lost_where_a_claim_guards_it(
    double: Double, shipped: bool, state: RunState
) -> None:
    young = plan("young", shipped=shipped)
    async with direct(double) as launcher:
        await launcher.take_over([young])
        assert (await launcher.status([young.run_id]))[young.run_id].state is state


@pytest.mark.parametrize("stopped", [False, True])
async def test_pods_whose_object_was_deleted_meanwhile_are_waited_for(
    double: Double, stopped: bool
) -> None:
    """A launcher that begins again must not give their attempt up for lost, nor begin it anew."""
    held = plan("held", shipped=True)
    async with direct(double) as first:
        await first.start([held])
        await until(lambda: len(double.list("pods", NAMESPACE)) == 1, "its pod")
        double.delete("jobs", NAMESPACE, "held", policy="Orphan")
        await until(lambda: not double.list("jobs", NAMESPACE), "no Job")
    async with direct(double) as second:
        await second.take_over([held])

        async def state() -> RunState:
            return (await second.status([held.run_id]))[held.run_id].state

        assert await state() is RunState.RUNNING
        if stopped:
            await second.stop(held.run_id, reason="Deleted", grace_s=1.0)
        [pod] = double.list("pods", NAMESPACE)
        assert await state() is RunState.RUNNING
        double.delete("pods", NAMESPACE, pod["metadata"]["name"])
        wanted = RunState.FINISHED if stopped else RunState.LOST

        async def is_over() -> bool:
            return await state() is wanted

        await until(is_over, "its end")


async def test_what_the_view_has_shown_before_it_was_taken_over_is_not_asked_for_again(
    double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans = [plan(f"p{number}") for number in range(3)]
    keys = [it.run_id for it in plans]
    async with direct(double) as first:
        await first.start(plans)
        await until(lambda: len(double.list("pods", NAMESPACE)) == 3, "three pods")
    async with direct(double) as second:
        await second.take_over(plans[:1])
        await until(lambda: second.record(keys[0]).seen, "the view")
        await second.take_over(plans[1:])
        monkeypatch.setattr(f"{LAUNCHER}._UNSEEN_S", -1.0)
        never = double.faults.add(Fault(kind="status", verb="get", resource="jobs", code=500))
        await second.status(keys)
        await until(lambda: all(second.record(key).seen for key in keys), "all of them")
        assert never.struck == 0


async def test_an_object_that_may_not_be_deleted_keeps_no_other_one(double: Double) -> None:
    plans = [plan("kept"), plan("goes")]
    async with direct(double) as launcher:
        await launcher.start(plans)
        await until(lambda: len(double.list("pods", NAMESPACE)) == 2, "two pods")
        double.faults.add(
            Fault(kind="status", verb="delete", resource="jobs", name="kept", code=403, times=None)
        )
        async with asyncio.timeout(5.0):
            await launcher.tidy([plans[0].run_id])
            await launcher.forget([plans[1].run_id])

        def left() -> list[str]:
            return [it["metadata"]["name"] for it in double.list("jobs", NAMESPACE)]

        await until(lambda: left() == ["kept"], "only the one that may not go")


async def test_what_is_forgotten_while_it_is_being_created_does_not_stay(double: Double) -> None:
    late = plan("late")
    slow = double.faults.add(
        Fault(kind="status", verb="create", resource="jobs", code=500, moment="after")
    )
    slow.retry_after_s = 1
    async with direct(double) as launcher:
        await launcher.start([late])
        await until(lambda: slow.struck == 1, "a creation whose answer waits")
        await launcher.forget([late.run_id])
        await until(lambda: not double.list("jobs", NAMESPACE), "no Job")
        assert len(launcher) == 0


async def test_what_was_made_without_an_answer_goes_when_its_run_is_stopped(
    double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CLUSTER_BACKOFF_S", 0.5)
    killed = plan("killed")
    lost = double.faults.add(
        Fault(kind="status", verb="create", resource="jobs", code=500, moment="after")
    )
    async with direct(double) as launcher:
        await launcher.start([killed])
        await until(lambda: lost.struck == 1, "a creation whose answer is lost")
        await launcher.stop(killed.run_id, reason="Killed", grace_s=0.0)
        await until(lambda: launcher.record(killed.run_id).end is not None, "its end")
        assert (await launcher.status([killed.run_id]))[killed.run_id].stop_reason == "Killed"
        assert double.list("jobs", NAMESPACE) == []


@pytest.mark.parametrize(("verb", "code"), [("list", 403), ("list", 500), ("delete", 403)])
async def test_what_cannot_be_swept_keeps_no_other_leftover(
    double: Double, verb: str, code: int
) -> None:
    double.make_namespace("other")
    for name, namespace in (("a", NAMESPACE), ("b", NAMESPACE), ("c", "other")):
        body = dict(plan(name).body)
        body["metadata"] = {**body["metadata"], "namespace": namespace}
        double.create(body, namespace)
    double.faults.add(Fault(kind="status", verb=verb, resource="jobs", code=code, times=1))

    async def kinds() -> list[tuple[str, str]]:
        return []

    async def ended(keys: Collection[str]) -> dict[str, bool]:
        return dict.fromkeys(keys, True)

    given: Object = {"place": "kubernetes", "kubeconfig": str(double.kubeconfig)}
    api = await open_cluster(Settings(**given))
    log = Telemetry("launcher").log
    late = LateClock(limits.CLUSTER_ORPHANS_S + 1)
    namespaces = (NAMESPACE, "other")
    leftovers = Leftovers(api, late, log, "trialbus", namespaces, kinds, ended)
    # The first that is refused is left: one object, or all of its namespace.
    assert await leftovers.sweep() == (2 if verb == "delete" else 1)
    assert await leftovers.sweep() == (1 if verb == "delete" else 2)
    await api.close()
