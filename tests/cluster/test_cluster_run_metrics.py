"""What the launcher tells of trials on a cluster: launches, starts, ends, what it has in hand."""

import pytest
from tests.cluster.cluster_worlds import ClusterWorld, cluster_world, job, wanted
from tests.cluster.double.faults import Fault
from tests.cluster.double.outcomes import RUNS_ON, Outcome
from tests.cluster.double.server import Double

from trialbus.runtime import metrics
from trialbus.runtime.metric import Metric
from trialbus.testkit.told_metrics import told
from trialbus.testkit.waits import until


def tells(
    cluster: ClusterWorld, metric: Metric, launcher: str = "trial_launcher", **labels: str
) -> float:
    telemetry = cluster.world.life(launcher).parts.telemetry
    return told(telemetry, metric, place="cluster", **labels)


def hand(cluster: ClusterWorld) -> tuple[float, float]:
    return (
        tells(cluster, metrics.RUNS, state="waiting"),
        tells(cluster, metrics.RUNS, state="running"),
    )


async def test_trials_are_counted_from_their_objects_to_their_ends(double: Double) -> None:
    async with cluster_world(double) as cluster:
        await cluster.apply(wanted("good", job(), trials=3, parallel=2))
        await cluster.ended("good")
        await until(lambda: tells(cluster, metrics.RUNS_ENDED) == 3, "three ends")
        assert tells(cluster, metrics.RUNS_ENDED, outcome="succeeded") == 3
        assert tells(cluster, metrics.LAUNCHED) == tells(cluster, metrics.STARTED) == 3
        assert hand(cluster) == (0, 0)
        assert tells(cluster, metrics.ADOPTIONS) == tells(cluster, metrics.SPAWN_FAILURES) == 0


async def test_a_pod_that_is_seen_before_its_launch_is_known_has_started(double: Double) -> None:
    async with cluster_world(double) as cluster:
        # Pods are followed from the first trial on.
        await cluster.apply(wanted("first", job()))
        await cluster.ended("first")
        late = Fault(kind="hold", moment="after", hold_s=0.5, verb="create", resource="jobs")
        double.faults.add(late)
        await cluster.apply(wanted("overtaken", job()))
        await cluster.ended("overtaken")
        await until(lambda: tells(cluster, metrics.RUNS_ENDED) == 2, "two ends")
        assert tells(cluster, metrics.LAUNCHED) == tells(cluster, metrics.STARTED) == 2


async def test_what_waits_for_a_node_is_told_as_waiting(double: Double) -> None:
    hung = Outcome(stuck="Unschedulable", stuck_message="0/1 nodes are available")
    async with cluster_world(double, run=lambda _: hung) as cluster:
        await cluster.apply(wanted("full", job(), trials=2, parallel=2))
        await until(lambda: hand(cluster) == (2, 0), "two wait")
        await until(lambda: tells(cluster, metrics.LAUNCHED) == 2, "both objects are there")
        assert tells(cluster, metrics.STARTED) == 0
        await cluster.stop("full")
        await cluster.ended("full")
        await until(lambda: hand(cluster) == (0, 0), "nothing in hand")
        assert tells(cluster, metrics.RUNS_ENDED, outcome="stopped") == 2


async def test_a_killed_launchers_trials_are_adopted_and_counted_by_the_next(
    double: Double,
) -> None:
    async with cluster_world(double, run=lambda _: RUNS_ON) as cluster:
        await cluster.apply(wanted("on", job(), trials=2, parallel=2))
        await until(lambda: hand(cluster) == (0, 2), "both run")
        cluster.world.crash("trial_launcher", away_s=0.05)
        await until(lambda: "trial_launcher" in cluster.world.processes, "the next one")
        await until(lambda: tells(cluster, metrics.ADOPTIONS) == 2, "it has both in hand")
        await until(lambda: hand(cluster) == (0, 2), "and sees them run")
        assert tells(cluster, metrics.LAUNCHED) == 0
        await cluster.stop("on")
        await cluster.ended("on")
        await until(lambda: hand(cluster) == (0, 0), "nothing in hand")
        assert tells(cluster, metrics.RUNS_ENDED, outcome="stopped") == 2


async def test_what_the_cluster_does_not_take_is_a_launch_that_failed(double: Double) -> None:
    """There is another object of this name."""
    async with cluster_world(double) as cluster:
        double.faults.add(Fault(kind="hold", hold_s=0.5, verb="create", resource="jobs"))
        await cluster.apply(wanted("namesake", job()))
        await until(cluster.runs, "a claimed run")
        [run] = cluster.runs()
        theirs = job()
        theirs["spec"]["template"]["spec"]["restartPolicy"] = "Never"
        double.create({**theirs, "metadata": {"name": run.trial}}, "default")
        await until(lambda: tells(cluster, metrics.RUNS_ENDED, outcome="failed") == 1, "it failed")
        assert tells(cluster, metrics.SPAWN_FAILURES, reason="command") == 1
        assert tells(cluster, metrics.LAUNCHED) == 0
        assert hand(cluster) == (0, 0)


async def test_what_a_silent_cluster_keeps_from_beginning_is_no_fault_of_its_owner(
    double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trialbus.kernel.limits.CLUSTER_FIRST_CREATE_S", 0.3)
    async with cluster_world(double) as cluster:
        double.faults.add(Fault(kind="status", verb="create", times=None))
        await cluster.apply(wanted("unheard", job()))
        await until(
            lambda: tells(cluster, metrics.SPAWN_FAILURES, reason="machine") >= 1, "it failed"
        )
        assert tells(cluster, metrics.SPAWN_FAILURES, reason="command") == 0
        double.faults.clear()


@pytest.mark.parametrize("exit_code", [0, 3])
async def test_two_launchers_count_every_end_once(double: Double, exit_code: int) -> None:
    outcome = Outcome(log=b"loss=0.5\n", exit_code=exit_code)
    async with cluster_world(double, run=lambda _: outcome, launchers=2) as cluster:
        await cluster.apply(wanted("twice", job(), trials=4, parallel=2))
        await cluster.ended("twice")
        launchers = ("trial_launcher", "trial_launcher/2")

        def ends() -> float:
            return sum(tells(cluster, metrics.RUNS_ENDED, it) for it in launchers)

        await until(lambda: ends() == len(cluster.runs()), "each end is counted")
        word = "failed" if exit_code else "succeeded"
        counted = [tells(cluster, metrics.RUNS_ENDED, it, outcome=word) for it in launchers]
        assert sum(counted) == len(cluster.runs())
