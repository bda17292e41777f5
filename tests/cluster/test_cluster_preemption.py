"""Runs that lose their node. One whose object is suspended while it runs, as Kueue preempts, is
lost at once, and the next attempt waits in the queue; one whose node is cut off is waited for."""

import copy
from dataclasses import replace
from typing import Any

import pytest
from tests.cluster.cluster_worlds import NAMESPACE, ClusterWorld, cluster_world, job, wanted
from tests.cluster.double.objects import Target
from tests.cluster.double.outcomes import RUNS_ON, Outcome
from tests.cluster.double.server import Double
from tests.cluster.test_cluster_takeovers import direct, plan

from trialbus.kernel.run import RunPhase
from trialbus.kernel.trial import TrialPhase
from trialbus.ports.launcher import RunState
from trialbus.testkit.waits import until

Object = dict[str, Any]
ENDS = "trialbus_trial_launcher.app.cluster.object_ends"
GOOD = Outcome(log=b"loss=0.5\n")


def queued(**spec: Any) -> Object:
    """As Kueue has them: it admits a Job by resuming it."""
    made = job(suspend=True, **spec)
    made["metadata"] = {"labels": {"kueue.x-k8s.io/queue-name": "team"}}
    return made


def suspend(double: Double, name: str, suspended: bool = True) -> None:
    kind = double._kind("jobs.batch")

    def write() -> None:
        obj = copy.deepcopy(double.state.get(kind.group, kind.plural, NAMESPACE, name))
        assert obj is not None, name
        obj["spec"]["suspend"] = suspended
        target = Target(
            kind=kind, version=kind.versions[kind.storage], namespace=NAMESPACE, name=name
        )
        double.objects.update(target, obj)

    double.do(write)


async def admitted(cluster: ClusterWorld, number: int = 1) -> str:
    """The Job of that attempt, which is let run."""
    names: list[str] = []

    def there() -> bool:
        ending = "" if number == 1 else f"-{number}"
        trials = {f"{it.trial}{ending}" for it in cluster.runs()}
        names[:] = [
            it["metadata"]["name"]
            for it in cluster.objects()
            if it["metadata"]["name"] in trials and it["spec"]["suspend"]
        ]
        return len(names) == 1

    await until(there, f"the Job of attempt {number}")
    suspend(cluster.double, names[0], False)
    return names[0]


async def running(cluster: ClusterWorld) -> str:
    def run() -> bool:
        pods = cluster.objects("pods")
        return [(it.get("status") or {}).get("phase") for it in pods] == ["Running"]

    await until(run, "a running pod")
    [pod] = cluster.objects("pods")
    return str(pod["metadata"]["name"])


async def until_begun(cluster: ClusterWorld) -> None:
    """The launcher has seen that its pod runs: it follows its output."""
    await running(cluster)
    asked = cluster.double.stats.requests
    await until(lambda: asked["get", "pods/log"] > 0, "the launcher has seen it")


@pytest.mark.parametrize("retain", [False, True])
async def test_a_preempted_run_is_lost_at_once_and_begins_anew_when_it_is_admitted(
    double: Double, retain: bool
) -> None:
    outcomes = [RUNS_ON, GOOD]
    async with cluster_world(double, run=lambda _: outcomes.pop(0)) as cluster:
        await cluster.apply(wanted("taken", queued(), template={"retain": retain}))
        first = await admitted(cluster)
        await until_begun(cluster)
        suspend(double, first)
        await until(lambda: len(cluster.runs()) == 2, "the next attempt, before it is admitted")
        lost = next(it for it in cluster.runs() if it.attempt == 1)
        assert lost.phase is RunPhase.LOST
        assert lost.message == (
            f"Job default/{first} was suspended while it ran: preempted in Kueue's queue 'team'"
        )
        # Or it would be admitted, and run again.
        await until(
            lambda: first not in [it["metadata"]["name"] for it in cluster.objects()], "no first"
        )
        await admitted(cluster, 2)
        await cluster.ended("taken")
        [trial] = cluster.trials()
        assert (trial.phase, trial.value) == (TrialPhase.SUCCEEDED, 0.5)
        assert sorted((it.attempt, it.phase) for it in cluster.runs()) == [
            (1, RunPhase.LOST),
            (2, RunPhase.FINISHED),
        ]
        assert outcomes == []


async def test_a_preempted_run_is_not_begun_anew_beside_its_old_pod(double: Double) -> None:
    outcomes = [replace(RUNS_ON, stubborn=True), GOOD]
    slow = queued()
    slow["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 2
    async with cluster_world(double, run=lambda _: outcomes.pop(0)) as cluster:
        await cluster.apply(wanted("slow", slow))
        first = await admitted(cluster)
        await until_begun(cluster)
        suspend(double, first)

        def terminating() -> bool:
            return any(it["metadata"].get("deletionTimestamp") for it in cluster.objects("pods"))

        await until(terminating, "its pod has to go")
        # It is let run again before that: the attempt is lost all the same.
        suspend(double, first, False)

        def has_gone() -> bool:
            attempts, left = len(cluster.runs()), terminating()
            assert attempts == 1 or not left
            return not left

        await until(has_gone, "its pod has gone")
        await until(lambda: len(cluster.runs()) == 2, "the next attempt")


@pytest.mark.parametrize("retain", [False, True])
async def test_a_run_whose_node_answers_no_more_is_lost_and_begins_anew_on_another(
    double: Double, retain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{ENDS}.CLUSTER_STOP_DEADLINE_S", 1.0)
    outcomes = [RUNS_ON, GOOD]
    brief = job()
    brief["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 1
    async with cluster_world(double, run=lambda _: outcomes.pop(0)) as cluster:
        await cluster.apply(wanted("cut", brief, template={"retain": retain}))
        pod = await running(cluster)
        await until_begun(cluster)
        [node] = {it["spec"]["nodeName"] for it in cluster.objects("pods")}
        [first] = [it["metadata"]["name"] for it in cluster.objects()]
        double.pods.lose_node(node)
        await cluster.ended("cut")
        [trial] = cluster.trials()
        assert (trial.phase, trial.value) == (TrialPhase.SUCCEEDED, 0.5)
        lost, ended = sorted(cluster.runs(), key=lambda it: it.attempt)
        assert (lost.phase, ended.phase) == (RunPhase.LOST, RunPhase.FINISHED)
        assert lost.message == (
            f"pod {pod} should long be gone (DeletionByTaintManager: Taint manager: deleting due "
            "to NoExecute taint): its node does not answer"
        )
        # Or it would run again when its node is there again.
        await until(
            lambda: first not in [it["metadata"]["name"] for it in cluster.objects()], "no first"
        )


async def test_what_had_not_begun_is_the_same_attempt_when_it_is_admitted_again(
    double: Double,
) -> None:
    outcomes = [Outcome(stuck="Unschedulable"), GOOD]
    async with cluster_world(double, run=lambda _: outcomes.pop(0)) as cluster:
        await cluster.apply(wanted("waits", queued()))
        first = await admitted(cluster)
        await until(
            lambda: any("Unschedulable" in it.message for it in cluster.runs()), "it cannot start"
        )
        suspend(double, first)
        told = "Suspended: its object waits in Kueue's queue 'team'"
        await until(lambda: [it.message for it in cluster.runs()] == [told], told)
        await until(lambda: not cluster.objects("pods"), "no pod")
        suspend(double, first, False)
        await cluster.ended("waits")
        assert [(it.attempt, it.exit_code) for it in cluster.runs()] == [(1, 0)]


async def test_a_launcher_that_takes_a_preempted_run_over_knows_by_its_claim_that_it_ran(
    double: Double,
) -> None:
    made = plan("claimed", shipped=True)
    body = {**made.body, "spec": {**made.body["spec"], "suspend": True}}
    double.create(body, NAMESPACE)
    for claimed, state in ((False, RunState.RUNNING), (True, RunState.LOST)):
        again = replace(made, body=body, claimed=claimed)
        async with direct(double) as launcher:
            await launcher.take_over([again])

            async def is_so() -> bool:
                found = await launcher.status([again.run_id])  # noqa: B023
                return found[again.run_id].state is state  # noqa: B023

            await until(is_so, f"it is {state}")
