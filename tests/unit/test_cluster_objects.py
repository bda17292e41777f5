"""What is made of a trial's template on a cluster: labels, rules of Jobs, the wrapper."""

from copy import deepcopy
from typing import Any

import pytest

from trialbus.contracts.shipping import WrapKind
from trialbus.kernel.ids import RunKey
from trialbus.kernel.spec import CollectorKind, MetricsCollectorSpec, MetricsPath, PathKind
from trialbus.kernel.templates import TrialIdentity
from trialbus_trial_launcher.app.cluster.objects import (
    Mounted,
    ObjectMeans,
    RunObject,
    run_object,
)

Object = dict[str, Any]
TRIAL = TrialIdentity(namespace="team", experiment="e", name="e-abc", attempt=2)
RUN = RunKey("u1", 0, 2)
LABELS = {
    "app.kubernetes.io/managed-by": "trialbus",
    "trialbus.io/instance": "prod",
    "trialbus.io/run-id": "u1.0.2",
    "katib.kubeflow.org/experiment": "e",
    "katib.kubeflow.org/trial": "e-abc",
}
STDOUT = MetricsCollectorSpec()


def job(**container: Any) -> Object:
    main = {"name": "main", "image": "i", "command": ["train"], "args": ["--fast"], **container}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "e-abc", "namespace": "team"},
        "spec": {"template": {"spec": {"containers": [main]}}},
    }


def made(
    body: Object, collector: MetricsCollectorSpec = STDOUT, *, wrapper: str = "", **means: Any
) -> RunObject:
    given = ObjectMeans(
        instance="prod",
        variables={"KATIB_TRIAL_NAME": "e-abc"},
        wrapper={"TRIALBUS_TRIAL": "e-abc"},
        wrapper_image=wrapper,
        **means,
    )
    return run_object(deepcopy(body), TRIAL, RUN, "main", collector, given)


def pod_of(found: RunObject) -> Object:
    pod: Object = found.body["spec"]["template"]["spec"]
    return pod


def test_a_later_attempt_has_a_name_of_its_own() -> None:
    found = made(job())
    assert found.body["metadata"]["name"] == "e-abc-2"
    assert found.body["metadata"]["labels"] == LABELS
    assert found.body["spec"]["template"]["metadata"]["labels"].items() >= LABELS.items()


def test_a_job_makes_one_pod_for_an_attempt() -> None:
    body = job()
    body["spec"] |= {"backoffLimit": 6, "ttlSecondsAfterFinished": 0}
    body["spec"]["template"]["spec"]["restartPolicy"] = "OnFailure"
    spec = made(body).body["spec"]
    assert spec["backoffLimit"] == 0
    assert spec["podReplacementPolicy"] == "Failed"
    assert spec["podFailurePolicy"]["rules"] == [
        {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget"}]}
    ]
    assert spec["ttlSecondsAfterFinished"] == 3600
    assert spec["template"]["spec"]["restartPolicy"] == "Never"


def test_a_service_account_that_is_written_keeps_its_token() -> None:
    body = job()
    body["spec"]["template"]["spec"]["serviceAccountName"] = "reader"
    assert "automountServiceAccountToken" not in pod_of(made(body))
    assert pod_of(made(job()))["automountServiceAccountToken"] is False


def test_every_pod_template_of_another_kind_is_labelled_and_left_as_it_is() -> None:
    replica = {"template": {"spec": {"containers": [{"name": "main"}], "nodeSelector": {"a": "b"}}}}
    body = {
        "apiVersion": "kubeflow.org/v1",
        "kind": "PyTorchJob",
        "metadata": {"name": "e-abc", "namespace": "team"},
        "spec": {"pytorchReplicaSpecs": {"Master": replica, "Worker": deepcopy(replica)}},
    }
    found = made(body, wrapper="wrap:1")
    assert not found.wrapped
    for it in found.body["spec"]["pytorchReplicaSpecs"].values():
        labels = it["template"]["metadata"]["labels"]
        assert labels == LABELS | {"sidecar.istio.io/inject": "false"}
        assert it["template"]["spec"]["nodeSelector"] == {"a": "b"}
        assert "restartPolicy" not in it["template"]["spec"]


def test_an_object_without_pod_templates_is_told_by_what_its_pods_are_found() -> None:
    body = {"apiVersion": "t/v1", "kind": "TrainJob", "metadata": {}, "spec": {}}
    assert made(body).pods_by == "jobset.sigs.k8s.io/jobset-name"
    assert made(job()).pods_by == ""


def test_the_wrapper_runs_the_command_and_comes_by_an_init_container() -> None:
    found = made(job(), wrapper="wrap:1")
    [container], [init] = pod_of(found)["containers"], pod_of(found)["initContainers"]
    assert found.wrapped
    assert container["command"] == ["/trialbus/wrap", "--", "train"]
    assert container["args"] == ["--fast"]
    assert init["command"] == ["/trialbus-wrap", "install", "/trialbus"]
    assert init["securityContext"]["runAsNonRoot"] is True
    env = {it["name"]: it.get("value") for it in container["env"]}
    assert env["TRIALBUS_WRAP_KIND"] == "stdout"
    assert env["TRIALBUS_TRIAL"] == env["KATIB_TRIAL_NAME"] == "e-abc"
    [uid] = [it for it in container["env"] if it["name"] == "TRIALBUS_POD_UID"]
    assert uid["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.uid"}}


@pytest.mark.parametrize(
    "change",
    [
        {"parallelism": 2},
        {"completions": 3},
        {"template": {"spec": {"containers": [{"name": "main", "image": "i"}]}}},
    ],
)
def test_what_runs_several_pods_or_hides_its_command_is_not_wrapped(change: Object) -> None:
    body = job()
    body["spec"] |= change
    assert not made(body, wrapper="wrap:1").wrapped


def test_a_collector_of_files_gets_its_folder_and_its_path() -> None:
    path = MetricsPath(path="/logs/m.txt", kind=PathKind.FILE)
    found = made(job(), MetricsCollectorSpec(kind=CollectorKind.FILE, path=path), wrapper="wrap:1")
    [container] = pod_of(found)["containers"]
    env = {it["name"]: it.get("value") for it in container["env"]}
    assert env["TRIALBUS_WRAP_KIND"] == WrapKind.FILE
    assert env["TRIALBUS_WRAP_PATH"] == "/logs/m.txt"
    assert {"name": "trialbus-metrics", "mountPath": "/logs"} in container["volumeMounts"]


def test_a_custom_collector_is_a_native_sidecar() -> None:
    custom = {"name": "mine", "image": "c:1"}
    spec = MetricsCollectorSpec(kind=CollectorKind.CUSTOM, container=custom)
    [sidecar] = pod_of(made(job(), spec))["initContainers"]
    assert (sidecar["name"], sidecar["restartPolicy"]) == ("mine", "Always")
    assert pod_of(made(job(), spec))["shareProcessNamespace"] is True


def test_the_users_own_variables_come_after_ours_and_do_not_replace_them() -> None:
    env = [{"name": "KATIB_TRIAL_NAME", "value": "x"}, {"name": "OWN", "value": "$(A)"}]
    [container] = pod_of(made(job(env=env)))["containers"]
    assert container["env"] == [
        {"name": "KATIB_TRIAL_NAME", "value": "e-abc"},
        {"name": "OWN", "value": "$(A)"},
    ]


def test_restricted_adds_only_what_is_not_written() -> None:
    own = {"allowPrivilegeEscalation": True}
    pod = pod_of(made(job(securityContext=own), restricted=True))
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert pod["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_checkpoints_are_a_folder_of_the_claim() -> None:
    mounted = Mounted(claim="models", folder="u1", at="/ckpt")
    pod = pod_of(made(job(args=["--to=/opt/data/x"]), mounted=mounted, paths={"/opt/data": "/c/0"}))
    assert {"name": "trialbus-checkpoints", "mountPath": "/ckpt", "subPath": "u1"} in pod[
        "containers"
    ][0]["volumeMounts"]
    assert pod["volumes"] == [
        {"name": "trialbus-checkpoints", "persistentVolumeClaim": {"claimName": "models"}}
    ]
    assert pod["containers"][0]["args"] == ["--to=/c/0/x"]
