"""When a suspended object takes the run's pods with it, and when it does not."""

from dataclasses import replace

import pytest

from trialbus.kernel.run import RunVerdict
from trialbus.ports.launcher import ObjectPlan
from trialbus_trial_launcher.adapters.kubernetes.records import Record, record_of
from trialbus_trial_launcher.app.cluster.object_ends import ObjectSight, RunEnd
from trialbus_trial_launcher.app.cluster.pod_ends import PodSight

RUNS = PodSight(run="r", name="a", started_at=1.0)


def record(*pods: PodSight, running: bool = True, suspended: bool = True) -> Record:
    metadata = {"name": "t", "namespace": "ns"}
    body = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata}
    plan = ObjectPlan(run_id="r", body=body, created_at=0.0, success="", failure="", retain=True)
    made = record_of(plan)
    made.running, made.sight = running, ObjectSight(run="r", suspended=suspended)
    made.pods = {pod.name: pod for pod in pods}
    return made


def test_pods_that_go_with_the_suspension_are_withdrawn_and_stay_so() -> None:
    made = record(replace(RUNS, deleted=True))
    assert made.sees_withdrawal()
    assert not made.withdrawn_are_over
    assert not made.stays, "it would run again when it is resumed"
    made.sight = ObjectSight(run="r")
    made.pods = {"b": replace(RUNS, name="b")}
    assert made.sees_withdrawal()
    assert made.withdrawn_are_over, "the pod of its resumption is not waited for"


@pytest.mark.parametrize(
    "made",
    [
        # A workflow that begins nothing more, and lets run what runs.
        record(RUNS),
        record(replace(RUNS, deleted=True), suspended=False),
        # Admitted, and preempted before its command had begun.
        record(PodSight(run="r", name="a", deleted=True), running=False),
        record(replace(RUNS, primary=False, deleted=True)),
    ],
)
def test_what_was_not_taken_from_its_command_goes_on(made: Record) -> None:
    assert not made.sees_withdrawal()
    assert made.stays


def test_what_ended_well_as_it_was_suspended_has_ended_well() -> None:
    made = record(replace(RUNS, deleted=True, over=True, exit_code=0))
    assert made.sees_withdrawal()
    assert not made.withdrawn_are_over, "its object says so"
    made.pods = {"a": replace(RUNS, deleted=True, over=True, exit_code=143)}
    assert made.withdrawn_are_over


def test_the_object_of_a_lost_run_stays_only_when_it_has_ended() -> None:
    made = record(RUNS, suspended=False)
    made.end = RunEnd()
    assert made.stays
    made.end = RunEnd(lost=True)
    assert not made.stays, "it would run again when its node is there again"
    made.sight = ObjectSight(run="r", verdict=RunVerdict.FAILED)
    assert made.stays
