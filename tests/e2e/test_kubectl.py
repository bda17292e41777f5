"""The real kubectl, unmodified, against a real stack."""

import json
import os
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from trialbus.testkit.kubectl import COMMAND_DEADLINE_S, Kubectl
from trialbus.testkit.programs import REPOSITORY
from trialbus.testkit.real_stack import RealStack
from trialbus.testkit.waits import until_sync

pytestmark = [
    pytest.mark.servers,
    pytest.mark.timeout(300),
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl on PATH"),
]

QUICK_START = REPOSITORY / "examples/quick-start.yaml"
NAMESPACE = "kubeflow"
# Katib's printer columns.
COLUMNS = ["NAME", "TYPE", "STATUS", "AGE"]


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    folder = tmp_path_factory.mktemp("kubectl")
    stack = RealStack(folder / "stack")
    try:
        stack.up()
        yield Kubectl(stack, folder, NAMESPACE)
    finally:
        stack.down()
        shutil.rmtree(folder, ignore_errors=True)


def _quick_start(**spec: Any) -> dict[str, Any]:
    experiment: dict[str, Any] = yaml.safe_load(QUICK_START.read_text())
    experiment["spec"].update(spec)
    return experiment


def _gated(name: str, gate: Path, **spec: Any) -> dict[str, Any]:
    """Its trials say that they began, wait for the gate, and report."""
    script = 'echo "begun $0"; until test -e "$1"; do sleep 0.05; done; echo loss=$0; echo done'
    command = ["sh", "-c", script, "${trialParameters.x}", str(gate)]
    pod = {
        "restartPolicy": "Never",
        "containers": [{"name": "main", "image": "none", "command": command}],
    }
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": name, "labels": {"team": "blue"}},
        "spec": {
            "objective": {"type": "minimize", "objectiveMetricName": "loss"},
            "algorithm": {"algorithmName": "random"},
            "parallelTrialCount": 1,
            "maxTrialCount": 1,
            "parameters": [
                {
                    "name": "x",
                    "parameterType": "double",
                    "feasibleSpace": {"min": "0", "max": "1"},
                }
            ],
            "trialTemplate": {
                "primaryContainerName": "main",
                "trialParameters": [{"name": "x", "reference": "x"}],
                "trialSpec": {
                    "apiVersion": "batch/v1",
                    "kind": "Job",
                    "spec": {"template": {"spec": pod}},
                },
            },
            **spec,
        },
    }


@pytest.fixture
def gate(kubectl: Kubectl) -> Path:
    return kubectl.folder / f"gate.{os.urandom(4).hex()}"


@pytest.fixture
def gated(kubectl: Kubectl, gate: Path) -> Iterator[str]:
    """The name of an experiment whose one trial waits at the gate."""
    name = f"gated-{os.urandom(3).hex()}"
    kubectl("apply", "-f", "-", text=json.dumps(_gated(name, gate)))
    yield name
    gate.touch()
    kubectl("delete", "experiment", name, "--ignore-not-found")


def _trial(kubectl: Kubectl, experiment: str) -> str:
    """The name of its first trial, once it is there."""
    selector = f"katib.kubeflow.org/experiment={experiment}"
    until_sync(
        lambda: kubectl("get", "trials", "-l", selector, "-o", "name"),
        "there is a trial",
        within_s=COMMAND_DEADLINE_S,
    )
    return kubectl("get", "trials", "-l", selector, "-o", "name").split()[0].partition("/")[2]


def _ended(kubectl: Kubectl, experiment: str) -> None:
    what, deadline = f"experiment/{experiment}", f"--timeout={int(COMMAND_DEADLINE_S)}s"
    kubectl("wait", "--for=condition=Succeeded", what, deadline)


def test_the_tutorial_from_its_file_to_its_end(kubectl: Kubectl) -> None:
    with kubectl.going("get", "experiments", "-w") as watched:
        assert (
            kubectl("apply", "-f", str(QUICK_START))
            == "experiment.kubeflow.org/quick-start created\n"
        )
        _ended(kubectl, "quick-start")
        until_sync(lambda: "Succeeded" in watched.read_text(), "the watch tells of the end")
        lines = [line.split() for line in watched.read_text().splitlines()]
    assert lines[0] == COLUMNS
    told = [line[1:3] for line in lines[1:]]
    assert told[-1] == ["Succeeded", "True"]
    assert ["Running", "True"] in told
    assert {line[0] for line in lines[1:]} == {"quick-start"}
    trials = kubectl.rows("get", "trials")
    assert trials[0] == COLUMNS
    counts = kubectl.json("get", "experiment", "quick-start")["status"]
    good = [row for row in trials[1:] if row[1:3] == ["Succeeded", "True"]]
    assert len(good) == counts["trialsSucceeded"] > 0
    best = counts["currentOptimalTrial"]["bestTrialName"]
    assert "Validation-accuracy=" in kubectl("logs", best)
    described = kubectl("describe", "experiment", "quick-start")
    assert f"Best Trial Name:  {best}" in described
    assert "ExperimentCreated" in described.partition("Events:")[2]
    # Newer ones add from where.
    assert '"quick-start" deleted' in kubectl("delete", "-f", str(QUICK_START))
    assert "NotFound" in kubectl.refused("get", "experiment", "quick-start")
    assert kubectl("get", "trials", "-o", "name") == ""


def test_the_budget_is_patched_and_edited(kubectl: Kubectl, gated: str, gate: Path) -> None:
    body = json.dumps({"spec": {"maxTrialCount": 3}})
    patched = kubectl("patch", "experiment", gated, "--type", "merge", "-p", body)
    assert patched == f"experiment.kubeflow.org/{gated} patched\n"
    body = json.dumps([{"op": "replace", "path": "/spec/maxTrialCount", "value": 4}])
    kubectl("patch", "experiment", gated, "--type", "json", "-p", body)
    editor = "sed -i -e 's/parallelTrialCount: 1/parallelTrialCount: 4/'"
    edited = kubectl("edit", "experiment", gated, KUBE_EDITOR=editor)
    assert edited == f"experiment.kubeflow.org/{gated} edited\n"
    gate.touch()
    _ended(kubectl, gated)
    found = kubectl.json("get", "experiment", gated)
    assert found["status"]["trials"] == found["spec"]["maxTrialCount"] == 4
    assert found["spec"]["parallelTrialCount"] == 4
    assert found["metadata"]["generation"] == 4


def test_what_may_not_be_edited_is_refused_with_the_field(kubectl: Kubectl, gated: str) -> None:
    body = json.dumps({"spec": {"algorithm": {"algorithmName": "bayesianoptimization"}}})
    said = kubectl.refused("patch", "experiment", gated, "--type", "merge", "-p", body)
    assert "editable" in said
    assert "spec" in said


def test_apply_again_changes_nothing_or_what_differs(
    kubectl: Kubectl, gated: str, gate: Path
) -> None:
    same = _gated(gated, gate)
    before = kubectl.json("get", "experiment", gated)["metadata"]["generation"]
    # Where the file leaves out a default within a list, kubectl patches, here as with Katib.
    kubectl("apply", "-f", "-", text=json.dumps(same))
    assert kubectl.json("get", "experiment", gated)["metadata"]["generation"] == before
    same["spec"]["parameters"][0]["feasibleSpace"]["distribution"] = "uniform"
    kubectl("apply", "-f", "-", text=json.dumps(same))
    assert kubectl("apply", "-f", "-", text=json.dumps(same)).endswith("unchanged\n")
    more = json.dumps(_gated(gated, gate, maxTrialCount=2))
    dry = kubectl("apply", "-f", "-", "--dry-run=server", text=more)
    assert dry.endswith("configured (server dry run)\n")
    assert kubectl.json("get", "experiment", gated)["spec"]["maxTrialCount"] == 1
    changed = kubectl.call("diff", "-f", "-", text=more)
    assert changed.returncode == 1
    assert "+  maxTrialCount: 2" in changed.stdout
    assert kubectl("apply", "-f", "-", text=more).endswith("configured\n")
    assert kubectl.json("get", "experiment", gated)["spec"]["maxTrialCount"] == 2


def test_apply_at_the_server(kubectl: Kubectl, gate: Path) -> None:
    name = f"server-{os.urandom(3).hex()}"
    text = json.dumps(_gated(name, gate))
    applied = kubectl("apply", "--server-side", "-f", "-", text=text)
    assert applied == f"experiment.kubeflow.org/{name} serverside-applied\n"
    more = json.dumps(_gated(name, gate, maxTrialCount=2))
    kubectl("apply", "--server-side", "-f", "-", text=more)
    assert kubectl.json("get", "experiment", name)["spec"]["maxTrialCount"] == 2
    gate.touch()
    kubectl("delete", "experiment", name)


def test_a_wrong_file_is_refused_with_every_problem(kubectl: Kubectl) -> None:
    wrong = _quick_start(maxTrialCount=-1, objective={"type": "maxi"})
    said = kubectl.refused("apply", "-f", "-", text=json.dumps(wrong))
    for field in ("spec.maxTrialCount", "spec.objective.type", "objectiveMetricName"):
        assert field in said
    unknown = _quick_start(maxTrials=3)
    assert 'unknown field "spec.maxTrials"' in kubectl.refused(
        "apply", "-f", "-", text=json.dumps(unknown)
    )
    assert kubectl("get", "experiments", "-o", "name") == ""


def test_a_kind_that_is_not_there_is_called_so(kubectl: Kubectl) -> None:
    """Before it is looked for, its schema is, in another document."""
    other = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "trial-templates"}}
    said = kubectl.refused("apply", "-f", "-", text=json.dumps(other))
    assert 'no matches for kind "ConfigMap" in version "v1"' in said


def test_fields_are_explained(kubectl: Kubectl) -> None:
    objective = kubectl("explain", "experiment.spec.objective")
    for field in ("additionalMetricNames", "goal", "metricStrategies", "objectiveMetricName"):
        assert field in objective
    assert "parallelTrialCount" in kubectl("explain", "experiment.spec")
    assert "parameterAssignments" in kubectl("explain", "trial.spec")
    assert "requests" in kubectl("explain", "suggestion.spec")


def test_a_log_is_followed_while_its_trial_runs(kubectl: Kubectl, gated: str, gate: Path) -> None:
    trial = _trial(kubectl, gated)
    with kubectl.going("logs", "-f", trial) as log:
        until_sync(lambda: "begun" in log.read_text(), "the first line", within_s=30)
        assert "done" not in log.read_text()
        gate.touch()
        until_sync(lambda: "done" in log.read_text(), "the last line", within_s=30)
    whole = kubectl("logs", trial)
    begun, loss, done = whole.splitlines()
    assert (begun[:6], loss[:5], done) == ("begun ", "loss=", "done")
    assert kubectl("logs", trial, "--tail", "1") == "done\n"
    for container in ("main", "metrics-logger-and-collector"):
        assert kubectl("logs", trial, "-c", container) == whole
    assert kubectl("logs", f"job/{trial}") == whole
    assert kubectl("logs", trial, "--limit-bytes", "5") == "begun"
    stamped = [line.split(" ", 1) for line in kubectl("logs", trial, "--timestamps").splitlines()]
    assert [text for _, text in stamped] == whole.splitlines()
    assert all(at.startswith("20") and at.endswith("Z") for at, _ in stamped)
    assert kubectl("logs", trial, "--since", "1h") == whole
    assert kubectl("logs", trial, "--since-time", "2100-01-01T00:00:00Z") == ""
    assert "previous terminated container" in kubectl.refused("logs", trial, "--previous")
    assert "container other is not valid" in kubectl.refused("logs", trial, "-c", "other")


def test_a_trial_is_a_job_and_a_pod(kubectl: Kubectl, gated: str, gate: Path) -> None:
    trial = _trial(kubectl, gated)
    selector = f"katib.kubeflow.org/trial={trial}"
    kubectl("wait", "--for=jsonpath={.status.phase}=Running", "pod", "-l", selector)
    rows = kubectl.rows("get", "pods", "-l", selector)
    assert rows[0] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert rows[1][:4] == [trial, "2/2", "Running", "0"]
    assert kubectl.rows("get", "jobs", "-l", selector)[1][:3] == [trial, "Running", "0/1"]
    gate.touch()
    kubectl("wait", "--for=condition=complete", f"job/{trial}", "--timeout=60s")
    assert kubectl.rows("get", "jobs", trial)[1][:3] == [trial, "Complete", "1/1"]
    assert kubectl.rows("get", "pods", trial)[1][:3] == [trial, "0/2", "Completed"]
    described = kubectl("describe", "pod", trial)
    assert "Exit Code:    0" in described
    assert "JobRunning" in described.partition("Events:")[2]
    owner = kubectl.json("get", "job", trial)["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["name"]) == ("Trial", trial)


def test_events_tell_what_happened(kubectl: Kubectl, gated: str, gate: Path) -> None:
    trial = _trial(kubectl, gated)
    gate.touch()
    _ended(kubectl, gated)
    told = kubectl("describe", "trial", trial).partition("Events:")[2]
    for reason in ("JobCreated", "JobRunning", "JobSucceeded", "ObservationRecorded"):
        assert reason in told
    assert "ExperimentCreated" in kubectl("events", "--for", f"experiment/{gated}")
    rows = kubectl("get", "events", "--field-selector", f"involvedObject.name={trial}")
    assert rows.splitlines()[0].split() == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert f"Job {trial} has succeeded" in rows
    everywhere = kubectl("get", "events", "-A", "-o", "name")
    assert f"event/{trial}." in everywhere
    assert f"event/{gated}." in everywhere


def test_selectors_choose(kubectl: Kubectl, gated: str) -> None:
    trial = _trial(kubectl, gated)
    assert gated in kubectl("get", "experiments", "-l", "team in (blue, red)")
    assert kubectl("get", "experiments", "-l", "team!=blue", "-o", "name") == ""
    named = kubectl("get", "experiments", "--field-selector", f"metadata.name={gated}")
    assert gated in named
    assert trial in kubectl("get", "trials", "-l", f"katib.kubeflow.org/experiment={gated}")
    assert kubectl("get", "trials", "-n", "elsewhere", "-o", "name") == ""
    assert gated in kubectl("get", "experiments,suggestions,trials", "-A", "-o", "name")


def test_what_there_is_and_what_is_allowed(kubectl: Kubectl, gated: str) -> None:
    resources = {line.split()[0] for line in kubectl("api-resources").splitlines()}
    assert {"experiments", "suggestions", "trials", "pods", "jobs", "namespaces"} <= resources
    assert kubectl("auth", "can-i", "create", "experiments").strip() == "yes"
    names = {row[0] for row in kubectl.rows("get", "namespaces", "--no-headers")}
    assert {"default", NAMESPACE} <= names
    assert kubectl.rows("get", "namespace", "anything", "--no-headers")[0][:2] == [
        "anything",
        "Active",
    ]
    label = "katib.kubeflow.org/metrics-collector-injection=enabled"
    kubectl("label", "namespace", NAMESPACE, label, "--overwrite")
    kubectl("create", "namespace", "new")
    assert gated in kubectl("get", "all")
    assert kubectl("version")


def test_delete_stops_what_runs(kubectl: Kubectl, gated: str, gate: Path) -> None:
    trial = _trial(kubectl, gated)
    kubectl("wait", "--for=jsonpath={.status.phase}=Running", f"pod/{trial}", "--timeout=60s")
    deleted = kubectl("delete", "experiment", gated)
    assert deleted.startswith(f'experiment.kubeflow.org "{gated}" deleted')
    assert kubectl.call("get", "experiment", gated).returncode == 1
    until_sync(lambda: not _running(kubectl.stack, gate), "its process has ended", within_s=30)
    assert "NotFound" in kubectl.refused("get", "trial", trial)


def _running(stack: RealStack, gate: Path) -> Sequence[int]:
    return [pid for pid, words in stack.processes().items() if str(gate) in words]


def test_the_address_stays_over_a_restart_of_the_stack_if_it_can(tmp_path: Path) -> None:
    stack = RealStack(tmp_path)
    try:
        stack.up()
        for _ in range(2):  # another stack of this machine may draw the port while it is free
            kubectl, before = Kubectl(stack, tmp_path, NAMESPACE), stack.status
            stack.call("down")
            stack.up()
            if stays := (stack.status.http, stack.status.grpc) == (before.http, before.grpc):
                break
        assert stays, (before, stack.status)
        assert kubectl("get", "experiments", "-o", "name") == ""
        stack.call("down")
        with ExitStack() as taken:
            with suppress(OSError):  # another stack has it: that is as good
                port = int(before.http.rpartition(":")[2])
                taken.enter_context(socket.create_server(("127.0.0.1", port)))
            stack.up()
            assert stack.status.http != before.http
    finally:
        stack.down()
