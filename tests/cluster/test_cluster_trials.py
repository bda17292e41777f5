"""Trials as objects of a cluster, with all services: how they begin, end, and are taken over."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.cluster.cluster_worlds import (
    ClusterWorld,
    bake,
    bake_definition,
    cluster_world,
    job,
    train_job,
    train_job_definition,
    wanted,
)
from tests.cluster.double.faults import Fault
from tests.cluster.double.outcomes import OOM, RUNS_ON, Outcome
from tests.cluster.double.server import Double

from trialbus.adapters.kubernetes_api import open_cluster
from trialbus.contracts import subjects
from trialbus.contracts.cluster_names import INSTANCE_LABEL, RUN_LABEL, run_labels
from trialbus.contracts.logs import LogReply, LogRequest
from trialbus.kernel import limits
from trialbus.kernel.ids import RunKey
from trialbus.kernel.trial import Trial, TrialPhase
from trialbus.runtime.clock import SystemClock
from trialbus.testkit.waits import until
from trialbus_trial_launcher.adapters.kubernetes import Leftovers
from trialbus_trial_launcher.app.cluster.ways import Standing

Object = dict[str, Any]
CLUSTER = "trialbus_trial_launcher.app.cluster"


class LateClock(SystemClock):
    """As if so much later."""

    def __init__(self, late_s: float) -> None:
        self._late_s = late_s

    def now(self) -> float:
        return super().now() + self._late_s


def in_turn(*outcomes: Outcome) -> Callable[[Object], Outcome]:
    """The n-th pod goes so; after the last one all go as it did."""
    left = list(outcomes)
    return lambda _pod: left.pop(0) if len(left) > 1 else left[0]


GOOD = Outcome(log=b"loss=0.5\n")
STUBBORN = Outcome(after_s=None, stubborn=True)


async def only_trial(cluster: ClusterWorld, name: str) -> Trial:
    await cluster.ended(name)
    [trial] = cluster.trials()
    return trial


async def pods_of(cluster: ClusterWorld, count: int = 1) -> list[Object]:
    await until(lambda: len(cluster.objects("pods")) == count, f"{count} pods")
    return cluster.objects("pods")


async def running_pod(cluster: ClusterWorld) -> str:
    def running() -> bool:
        return any(
            (pod.get("status") or {}).get("phase") == "Running" for pod in cluster.objects("pods")
        )

    await until(running, "a running pod")
    [pod] = cluster.objects("pods")
    return str(pod["metadata"]["name"])


async def test_an_experiment_runs_its_trials_as_jobs_that_go_at_their_end(double: Double) -> None:
    async with cluster_world(double) as cluster:
        reply = await cluster.apply(wanted("plain", job(), trials=5, parallel=2))
        assert reply.accepted, reply
        await cluster.ended("plain")
        assert [it.phase for it in cluster.trials()] == [TrialPhase.SUCCEEDED] * 5
        assert [it.value for it in cluster.trials()] == [0.5] * 5
        assert {it.exit_code for it in cluster.runs()} == {0}
        assert {it.log_tail for it in cluster.runs()} == {"loss=0.5\n"}
        await until(lambda: not cluster.objects(), "no Job")
        assert double.maxima["jobs"] <= 4


async def test_a_job_carries_our_labels_and_nothing_in_it_is_repeated(double: Double) -> None:
    async with cluster_world(double, run=lambda _: RUNS_ON) as cluster:
        await cluster.apply(wanted("looked", job()))
        [pod] = await pods_of(cluster)
        [found] = cluster.objects()
        [run] = cluster.runs()
        assert found["metadata"]["name"] == run.trial
        labels = {
            "app.kubernetes.io/managed-by": "trialbus",
            "trialbus.io/instance": "trialbus",
            "trialbus.io/run-id": run.id,
            "katib.kubeflow.org/experiment": "looked",
            "katib.kubeflow.org/trial": run.trial,
        }
        assert found["metadata"]["labels"].items() >= labels.items()
        assert pod["metadata"]["labels"].items() >= labels.items()
        spec = found["spec"]
        assert (spec["backoffLimit"], spec["podReplacementPolicy"]) == (0, "Failed")
        assert pod["spec"]["restartPolicy"] == "Never"
        assert pod["spec"]["automountServiceAccountToken"] is False
        told = {it["name"]: it.get("value") for it in pod["spec"]["containers"][0]["env"]}
        assert told["KATIB_TRIAL_NAME"] == run.trial
        assert told["TRIALBUS_ATTEMPT"] == "1"


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (Outcome(exit_code=3, log=b"Traceback\n"), "exit code 3"),
        (OOM, "OOMKilled"),
    ],
)
async def test_what_the_users_code_does_ends_the_trial(
    double: Double, outcome: Outcome, message: str
) -> None:
    async with cluster_world(double, run=lambda _: outcome) as cluster:
        await cluster.apply(wanted("failing", job()))
        trial = await only_trial(cluster, "failing")
        assert trial.phase is TrialPhase.FAILED
        assert message in trial.conditions[-1].message
        [run] = cluster.runs()
        assert run.log_tail == outcome.log.decode()


@pytest.mark.parametrize("how", ["evict", "preempt", "delete the pod", "delete the job"])
async def test_what_the_cluster_takes_is_tried_again(double: Double, how: str) -> None:
    async with cluster_world(double, run=in_turn(RUNS_ON, GOOD)) as cluster:
        await cluster.apply(wanted("taken", job()))
        pod = await running_pod(cluster)
        match how:
            case "evict":
                double.pods.evict("default", pod)
            case "preempt":
                double.pods.preempt("default", pod)
            case "delete the pod":
                double.delete("pods", "default", pod)
            case "delete the job":
                double.delete("jobs", "default", cluster.objects()[0]["metadata"]["name"])
        trial = await only_trial(cluster, "taken")
        assert trial.phase is TrialPhase.SUCCEEDED
        first, second = sorted(cluster.runs(), key=lambda it: it.attempt)
        assert (first.phase, second.phase) == ("Lost", "Finished"), first
        assert first.message


async def test_the_next_attempt_waits_for_the_pods_of_a_deleted_job(double: Double) -> None:
    """They may run on for all of their grace period."""
    async with cluster_world(double, run=in_turn(STUBBORN, GOOD)) as cluster:
        patient = job()
        patient["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 2
        await cluster.apply(wanted("slow", patient))
        pod = await running_pod(cluster)
        double.delete("jobs", "default", cluster.objects()[0]["metadata"]["name"])

        def is_there() -> bool:
            return any(it["metadata"]["name"] == pod for it in cluster.objects("pods"))

        await until(lambda: any(it.ended for it in cluster.runs()), "the first one is lost")
        assert not is_there()
        trial = await only_trial(cluster, "slow")
        assert trial.phase is TrialPhase.SUCCEEDED
        first, _ = sorted(cluster.runs(), key=lambda it: it.attempt)
        assert (first.phase, first.message.endswith("was deleted by others")) == ("Lost", True)


async def test_a_pod_that_fails_takes_the_others_along_and_nothing_is_tried_again(
    double: Double,
) -> None:
    run = in_turn(RUNS_ON, Outcome(exit_code=3, log=b"Traceback\n"))
    async with cluster_world(double, run=run) as cluster:
        await cluster.apply(wanted("pair", job(parallelism=2, completions=2)))
        trial = await only_trial(cluster, "pair")
        assert trial.phase is TrialPhase.FAILED
        assert [(it.attempt, it.exit_code) for it in cluster.runs()] == [(1, 3)]


async def test_a_deadline_of_the_job_ends_the_trial(double: Double) -> None:
    async with cluster_world(double, run=lambda _: RUNS_ON) as cluster:
        await cluster.apply(wanted("late", job(activeDeadlineSeconds=1)))
        trial = await only_trial(cluster, "late")
        assert trial.phase is TrialPhase.FAILED
        assert "DeadlineExceeded" in trial.conditions[-1].message


async def test_an_image_that_does_not_come_is_shown_and_given_up(
    double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = Outcome(stuck="ImagePullBackOff", stuck_message="no such image")
    async with cluster_world(double, run=lambda _: stuck) as cluster:
        await cluster.apply(wanted("imageless", job()))

        def told() -> bool:
            return any("ImagePullBackOff" in run.message for run in cluster.runs())

        await until(told, "the reason in the run")
        monkeypatch.setattr(f"{CLUSTER}.object_ends.CLUSTER_IMAGE_DEADLINE_S", 0.5)
        trial = await only_trial(cluster, "imageless")
        assert trial.phase is TrialPhase.FAILED
        assert "ImagePullBackOff" in trial.conditions[-1].reason
        await until(lambda: not cluster.objects(), "no Job")


async def test_an_unschedulable_pod_is_shown_and_waited_for(double: Double) -> None:
    stuck = Outcome(stuck="Unschedulable", stuck_message="0/2 nodes: no gpu")
    async with cluster_world(double, run=lambda _: stuck) as cluster:
        await cluster.apply(wanted("gpus", job()))
        told = "Unschedulable: 0/2 nodes: no gpu"
        await until(lambda: any(told in it.message for it in cluster.runs()), told)
        [run] = cluster.runs()
        assert not run.ended
        shown = f"1 trial waits on the cluster: {told}"

        def is_shown() -> bool:
            return any(it.message == shown for it in cluster.experiment("gpus").conditions)

        await until(is_shown, shown)


async def test_a_suspended_job_waits_without_a_deadline(double: Double) -> None:
    async with cluster_world(double) as cluster:
        queued = job(suspend=True)
        queued["metadata"] = {"labels": {"kueue.x-k8s.io/queue-name": "team"}}
        await cluster.apply(wanted("queued", queued))
        told = "Suspended: its object waits in Kueue's queue 'team'"
        await until(lambda: any(it.message == told for it in cluster.runs()), told)


async def test_anothers_object_of_the_same_name_is_left_alone(double: Double) -> None:
    async with cluster_world(double) as cluster:
        cluster.double.faults.add(Fault(kind="hold", hold_s=0.5, verb="create", resource="jobs"))
        await cluster.apply(wanted("namesake", job()))
        await until(cluster.runs, "a claimed run")
        [run] = cluster.runs()
        theirs = job()
        theirs["spec"]["template"]["spec"]["restartPolicy"] = "Never"
        double.create({**theirs, "metadata": {"name": run.trial}}, "default")
        trial = await only_trial(cluster, "namesake")
        assert trial.phase is TrialPhase.FAILED
        assert "there is another Job default/" in trial.conditions[-1].message
        [found] = cluster.objects()
        assert RUN_LABEL not in found["metadata"].get("labels", {})


async def test_two_launchers_run_everything_once(double: Double) -> None:
    async with cluster_world(double, launchers=2) as cluster:
        await cluster.apply(wanted("twice", job(), trials=6, parallel=3))
        await cluster.ended("twice")
        assert [it.phase for it in cluster.trials()] == [TrialPhase.SUCCEEDED] * 6
        assert len(cluster.runs()) == 6
        await until(lambda: not cluster.objects(), "no Job")


@pytest.mark.parametrize("launchers", [1, 2])
async def test_a_stopped_trial_is_stopped_with_its_pods(double: Double, launchers: int) -> None:
    async with cluster_world(double, run=lambda _: RUNS_ON, launchers=launchers) as cluster:
        await cluster.apply(wanted("goal", job(), trials=2, parallel=2))
        await pods_of(cluster, 2)
        await cluster.stop("goal")
        await cluster.ended("goal")
        assert {it.phase for it in cluster.trials()} == {TrialPhase.KILLED}
        await until(lambda: not cluster.objects() and not cluster.objects("pods"), "nothing left")


async def test_a_retained_object_stays(double: Double) -> None:
    async with cluster_world(double) as cluster:
        await cluster.apply(wanted("kept", job(), template={"retain": True}))
        await only_trial(cluster, "kept")
        [found] = cluster.objects()
        assert found["status"]["succeeded"] == 1


@pytest.mark.parametrize("calls", (2, 9, 16))
async def test_a_launcher_killed_at_any_moment_runs_nothing_twice(
    double: Double, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trialbus.kernel.limits.CLUSTER_LOST_AFTER_S", 1.0)
    starts: dict[str, int] = {}

    def run(pod: Object) -> Outcome:
        key = pod["metadata"]["labels"][RUN_LABEL]
        starts[key] = starts.get(key, 0) + 1
        return GOOD

    async with cluster_world(double, run=run) as cluster:
        cluster.world.doom("trial_launcher", calls=calls, away_s=0.05)
        await cluster.apply(wanted("killed", job(), trials=2, parallel=1))
        await cluster.ended("killed")
        assert [it.phase for it in cluster.trials()] == [TrialPhase.SUCCEEDED] * 2
        assert set(starts.values()) == {1}
        # Killed between the commit of an end and the deletion: the sweep over leftovers has it.
        left = {it["metadata"]["labels"][RUN_LABEL] for it in cluster.objects()}
        assert left <= {run.id for run in cluster.runs() if run.ended}


@pytest.mark.parametrize(
    ("status", "phase", "told"),
    [
        ({"phase": "Done"}, TrialPhase.METRICS_UNAVAILABLE, "no value of 'loss'"),
        (
            {"problems": [{"fatal": "yes", "reason": "Burnt", "message": "too hot"}]},
            TrialPhase.FAILED,
            "Job reason: Burnt",
        ),
    ],
)
async def test_any_kind_is_judged_by_its_conditions(
    double: Double, status: Object, phase: TrialPhase, told: str
) -> None:
    double.create(bake_definition())
    async with cluster_world(double) as cluster:
        await cluster.apply(bake("cake"))
        await until(lambda: cluster.objects("bakes"), "a Bake")
        [found] = cluster.objects("bakes")
        double.set_status("Bake", "default", found["metadata"]["name"], status)
        trial = await only_trial(cluster, "cake")
        assert trial.phase is phase
        last = trial.conditions[-1]
        assert told in f"{last.reason} {last.message}"
        await until(lambda: not cluster.objects("bakes"), "no Bake")


@pytest.mark.parametrize(
    ("outcome", "phase"),
    [
        (Outcome(log=b"loss=0.25\n"), TrialPhase.SUCCEEDED),
        (Outcome(exit_code=2), TrialPhase.FAILED),
    ],
)
async def test_pods_of_a_train_job_are_found_by_its_name(
    double: Double, outcome: Outcome, phase: TrialPhase
) -> None:
    double.create(train_job_definition())
    async with cluster_world(double, run=lambda _: outcome) as cluster:
        await cluster.apply(train_job("torch"))
        trial = await only_trial(cluster, "torch")
        assert trial.phase is phase, trial.conditions[-1]
        assert cluster.runs()[0].exit_code == outcome.exit_code
        assert cluster.runs()[0].log_tail == outcome.log.decode()
        await until(lambda: not cluster.objects("trainjobs"), "no TrainJob")


async def test_people_read_the_output_of_a_running_pod(double: Double) -> None:
    async with cluster_world(double, run=lambda _: RUNS_ON) as cluster:
        await cluster.apply(wanted("talks", job()))
        pod = await running_pod(cluster)
        double.pods.write_log("default", pod, b"one\ntwo\n")
        [run] = cluster.runs()
        asked = LogRequest(run=run.id, from_byte=-4, max_bytes=1000).to_bytes()

        async def told() -> tuple[str, bool, bool]:
            answer = await cluster.world.command(subjects.log("cluster:trialbus"), asked)
            reply = LogReply.from_bytes(answer)
            return reply.text, reply.known, reply.ended

        async def is_seen() -> bool:
            """The launcher's view of pods follows a little later."""
            return (await told())[0] != ""

        await until(is_seen, "the launcher has seen the pod")
        assert await told() == ("two\n", True, False)


async def test_what_stands_for_no_run_is_removed(double: Double) -> None:
    labels = run_labels("trialbus", "gone", "gone-x", RunKey("11111111", 0, 1))
    theirs = {**labels, INSTANCE_LABEL: "another"}
    for name, given in (("orphan", labels), ("theirs", theirs)):
        body = job()
        body["spec"]["template"]["spec"]["restartPolicy"] = "Never"
        double.create({**body, "metadata": {"name": name, "labels": given}}, "default")
    async with cluster_world(double) as cluster:
        parts = cluster.parts("sweep")
        api = await open_cluster(parts.settings)
        standing = Standing(parts.store)
        late = LateClock(limits.CLUSTER_ORPHANS_S + 1)
        leftovers = Leftovers(
            api, late, parts.telemetry.log, "trialbus", (None,), standing.kinds, standing.ended
        )
        assert await leftovers.sweep() == 1
        await api.close()
        await until(lambda: [it["metadata"]["name"] for it in cluster.objects()] == ["theirs"], "1")
