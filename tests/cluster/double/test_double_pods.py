"""Pods of the double as a test orders them, step by step and on a clock that a test moves."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.cluster.double.outcomes import RUNS_ON, Outcome
from tests.cluster.double.server import Double, running_double

from trialbus.testkit.waits import until_sync

Object = dict[str, Any]


@pytest.fixture
def stepped(tmp_path: Path) -> Iterator[Double]:
    with running_double(tmp_path / "double", stepped=True) as running:
        running.pods.run = lambda pod: RUNS_ON
        yield running


def job(name: str = "a", **spec: Any) -> Object:
    container = {"name": "main", "image": "x", "command": ["sh", "-c", "echo hi"]}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": template, **spec},
    }


def only_pod(double: Double) -> Object:
    (found,) = double.list("Pod")
    return found


def running(double: Double, **spec: Any) -> str:
    """The name of the pod of a job, which runs."""
    double.create(job(**spec))
    double.settle()
    pod = only_pod(double)
    assert pod["status"]["phase"] == "Running"
    return str(pod["metadata"]["name"])


def condition(obj: Object, kind: str) -> Object:
    told = obj.get("status", {}).get("conditions") or ()
    return next((c for c in told if c["type"] == kind), {})


def the_job(double: Double) -> Object:
    found = double.get("Job", "default", "a")
    assert found is not None
    return found


def test_nothing_happens_until_a_step(stepped: Double) -> None:
    stepped.create(job())
    assert stepped.list("Pod") == []
    phases = []
    while stepped.step():
        phases += [pod["status"]["phase"] for pod in stepped.list("Pod")]
    assert phases[0] == "Pending"
    assert phases[-1] == "Running"


def test_time_moves_when_it_is_told_to(stepped: Double) -> None:
    stepped.pods.run = lambda pod: Outcome(after_s=30.0, log=b"words\n", message="left")
    running(stepped)
    stepped.advance(29.0)
    assert only_pod(stepped)["status"]["phase"] == "Running"
    stepped.advance(2.0)
    pod = only_pod(stepped)
    assert pod["status"]["phase"] == "Succeeded"
    assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"] == "left"
    assert condition(the_job(stepped), "Complete")["status"] == "True"


def test_a_deadline_comes_with_the_clock(stepped: Double) -> None:
    running(stepped, activeDeadlineSeconds=60)
    stepped.advance(61.0)
    assert condition(the_job(stepped), "Failed")["reason"] == "DeadlineExceeded"


def test_no_deadline_runs_while_a_job_is_suspended(stepped: Double) -> None:
    stepped.create(job(suspend=True, activeDeadlineSeconds=60))
    stepped.advance(600.0)
    assert condition(the_job(stepped), "Failed") == {}
    assert condition(the_job(stepped), "Suspended")["status"] == "True"


def test_out_of_memory(stepped: Double) -> None:
    stepped.pods.oom_kill("default", running(stepped))
    stepped.settle()
    over = only_pod(stepped)["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (over["exitCode"], over["reason"]) == (137, "OOMKilled")
    assert condition(the_job(stepped), "Failed")["reason"] == "BackoffLimitExceeded"


def test_an_evicted_pod_stays_and_says_why(stepped: Double) -> None:
    stepped.pods.evict("default", running(stepped))
    stepped.settle()
    status = only_pod(stepped)["status"]
    assert (status["phase"], status["reason"]) == ("Failed", "Evicted")
    assert condition(only_pod(stepped), "DisruptionTarget")["reason"] == "TerminationByKubelet"


def test_a_preempted_pod_is_gone_and_its_job_failed_by_the_rule(stepped: Double) -> None:
    rule = {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget"}]}
    name = running(stepped, podFailurePolicy={"rules": [rule]})
    stepped.pods.preempt("default", name)
    stepped.settle()
    assert stepped.list("Pod") == []
    failed = condition(the_job(stepped), "Failed")
    assert failed["reason"] == "PodFailurePolicy"
    assert "DisruptionTarget matching FailJob rule at index 0" in failed["message"]


def test_a_lost_node_keeps_its_pods_until_it_is_forgotten(stepped: Double) -> None:
    running(stepped, podReplacementPolicy="Failed")
    node = only_pod(stepped)["spec"]["nodeName"]
    stepped.pods.lose_node(node)
    stepped.advance(600.0)
    pod = only_pod(stepped)
    assert pod["status"]["phase"] == "Running"
    assert "deletionTimestamp" in pod["metadata"]
    stepped.pods.forget_node(node)
    stepped.settle()
    assert stepped.list("Pod") == []
    assert condition(the_job(stepped), "Failed")["status"] == "True"


@pytest.mark.parametrize("reason", ["ErrImagePull", "CreateContainerConfigError"])
def test_a_container_that_cannot_start_waits_with_its_reason(stepped: Double, reason: Any) -> None:
    stepped.pods.run = lambda pod: Outcome(stuck=reason)
    stepped.create(job())
    stepped.settle()
    waiting = only_pod(stepped)["status"]["containerStatuses"][0]["state"]["waiting"]
    assert waiting["reason"] == reason
    assert [event["reason"] for event in stepped.list("Event")] == ["Failed"]


def test_extended_resources_are_counted(stepped: Double) -> None:
    body = job()
    container = body["spec"]["template"]["spec"]["containers"][0]
    container["resources"] = {"limits": {"nvidia.com/gpu": "1"}}
    stepped.create(body)
    stepped.settle()
    scheduled = condition(only_pod(stepped), "PodScheduled")
    assert scheduled["reason"] == "Unschedulable"
    assert "Insufficient nvidia.com/gpu" in scheduled["message"]


def test_a_quota_holds_pods_back_until_there_is_room(stepped: Double) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}}
    stepped.create({**quota, "spec": {"hard": {"pods": "0"}}})
    stepped.create(job())
    stepped.advance(1.0)
    assert stepped.list("Pod") == []
    (event,) = stepped.list("Event")
    assert event["reason"] == "FailedCreate"
    assert "exceeded quota: q" in event["message"]
    stepped.delete("ResourceQuota", "default", "q")
    stepped.advance(11.0)
    assert only_pod(stepped)["status"]["phase"] == "Running"


def test_a_container_is_a_process_with_its_pods_words(double: Double) -> None:
    body = job()
    spec = body["spec"]["template"]["spec"]
    spec["volumes"] = [{"name": "box", "emptyDir": {}}]
    mount = {"volumeMounts": [{"name": "box", "mountPath": "/box"}]}
    copy = ["sh", "-c", "echo 'echo \"$WORD\" $0 > /box/../box/out; cat /box/out' > /box/run"]
    spec["initContainers"] = [{"name": "init", "image": "x", "command": copy, **mount}]
    main = {"command": ["sh", "/box/run", "$(NAME)"], "image": "x", "name": "main", **mount}
    name = {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    spec["containers"] = [{**main, "env": [name, {"name": "WORD", "value": "of $(NAME)"}]}]
    double.create(body)
    until_sync(lambda: condition(the_job(double), "Complete"), "the job is complete")
    pod = only_pod(double)["metadata"]["name"]
    place = f"{double.url}/api/v1/namespaces/default/pods/{pod}/log"
    text = httpx.get(place, trust_env=False).text
    assert text.startswith(f"of {pod} ")


def test_processes_end_with_their_pods(double: Double) -> None:
    body = job()
    # Kubernetes makes one dollar of two.
    script = "echo $$$$; exec sleep 600"
    body["spec"]["template"]["spec"]["containers"][0]["command"] = ["sh", "-c", script]
    body["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 1
    double.create(body)
    until_sync(lambda: _log(double).strip(), "the process says its number")
    number = int(_log(double))
    assert Path(f"/proc/{number}").exists()
    double.delete("Job", "default", "a")
    until_sync(lambda: not Path(f"/proc/{number}").exists(), "the process is gone")
    until_sync(lambda: double.list("Pod") == [], "the pod is gone")


def _log(double: Double) -> str:
    pods = double.list("Pod")
    if not pods:
        return ""
    place = f"{double.url}/api/v1/namespaces/default/pods/{pods[0]['metadata']['name']}/log"
    answer = httpx.get(place, trust_env=False)
    return answer.text if answer.status_code == 200 else ""


def test_a_train_job_is_a_pod_and_two_conditions(stepped: Double) -> None:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1alpha1", "served": True, "storage": True, "subresources": {"status": {}}}
    names = {"plural": "trainjobs", "kind": "TrainJob"}
    stepped.create(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "trainjobs.trainer.kubeflow.org"},
            "spec": {
                "group": "trainer.kubeflow.org",
                "names": names,
                "scope": "Namespaced",
                "versions": [{**version, "schema": {"openAPIV3Schema": schema}}],
            },
        }
    )
    train = {"apiVersion": "trainer.kubeflow.org/v1alpha1", "kind": "TrainJob"}
    spec = {"trainer": {"image": "x", "command": ["true"]}}
    stepped.create({**train, "metadata": {"name": "t"}, "spec": spec})
    stepped.settle()
    pod = only_pod(stepped)
    assert pod["metadata"]["labels"] == {
        "jobset.sigs.k8s.io/jobset-name": "t",
        "jobset.sigs.k8s.io/replicatedjob-name": "node",
        "batch.kubernetes.io/job-completion-index": "0",
    }
    stepped.pods.finish("default", pod["metadata"]["name"])
    stepped.settle()
    done = stepped.get("TrainJob", "default", "t")
    assert done is not None
    assert condition(done, "Complete")["status"] == "True"
