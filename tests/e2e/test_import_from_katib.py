"""What ran under Katib, brought in as a user does it: exported objects and a dump of its table."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trialbus.testkit.real_stack import RealStack

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]
# 2024-03-01 10:00:00 UTC.
TEN = 1709287200.0
CONFIG = """\
apiVersion: config.kubeflow.org/v1beta1
kind: KatibConfig
init:
  controller:
    trialResources: [Job.v1.batch, PyTorchJob.v1.kubeflow.org, Widget.v2.example.com]
runtime:
  metricsCollectors: [{kind: StdOut, image: docker.io/kubeflowkatib/file-metrics-collector}]
  suggestions:
    - {algorithmName: random, image: docker.io/kubeflowkatib/suggestion-hyperopt}
    - {algorithmName: bohb, image: example.com/bohb:3}
  earlyStoppings: [{algorithmName: medianstop, image: example.com/medianstop}]
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealStack]:
    stack = RealStack(tmp_path_factory.mktemp("katib") / "one")
    try:
        stack.up()
        yield stack
    finally:
        stack.down()


def experiment(name: str, state: str, algorithm: str, kind: str = "Job") -> dict[str, Any]:
    container = {"name": "main", "image": "i", "command": ["train", "${trialParameters.x}"]}
    pod = {"spec": {"containers": [container], "restartPolicy": "Never"}}
    replicas = {"pytorchReplicaSpecs": {"Master": {"replicas": 1, "template": pod}}}
    job = {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": pod}}
    torch = {"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "spec": replicas}
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {
            "name": name,
            "namespace": "team-a",
            "uid": f"uid-of-{name}",
            "resourceVersion": "123456",
            "finalizers": ["update-prometheus-metrics"],
            "creationTimestamp": "2024-03-01T09:59:00Z",
            "labels": {"owner": "ada"},
        },
        "spec": {
            "objective": {
                "type": "minimize",
                "objectiveMetricName": "loss",
                "metricStrategies": [{"name": "loss", "value": "min"}],
            },
            "algorithm": {"algorithmName": algorithm},
            "parallelTrialCount": 2,
            "maxTrialCount": 5,
            "maxFailedTrialCount": 3,
            "resumePolicy": "Never",
            "parameters": [
                {
                    "name": "x",
                    "parameterType": "double",
                    "feasibleSpace": {"min": "0", "max": "1", "distribution": "uniform"},
                }
            ],
            "metricsCollectorSpec": {"collector": {"kind": "StdOut"}},
            "trialTemplate": {
                "primaryContainerName": "main",
                "successCondition": 'status.conditions.#(type=="Complete")#|#(status=="True")#',
                "failureCondition": 'status.conditions.#(type=="Failed")#|#(status=="True")#',
                "trialParameters": [{"name": "x", "reference": "x"}],
                "trialSpec": job if kind == "Job" else torch,
            },
        },
        "status": {"conditions": [condition("Created"), condition(state)]},
    }


def condition(kind: str) -> dict[str, str]:
    return {"type": kind, "status": "True", "reason": f"Experiment{kind}", "message": ""}


def trial(of: str, number: int, x: str, state: str, loss: str | None) -> dict[str, Any]:
    metrics = [{"name": "loss", "min": loss, "max": "2", "latest": "1.5"}] if loss else []
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Trial",
        "metadata": {
            "name": f"{of}-{number}",
            "namespace": "team-a",
            "creationTimestamp": f"2024-03-01T10:0{number}:00Z",
            "labels": {"katib.kubeflow.org/experiment": of},
        },
        "spec": {"parameterAssignments": [{"name": "x", "value": x}]},
        "status": {
            "startTime": f"2024-03-01T10:0{number}:01Z",
            "completionTime": None if state == "Running" else f"2024-03-01T10:0{number}:30Z",
            "conditions": [condition("Created"), condition(state)],
            "observation": {"metrics": metrics},
        },
    }


def row(trial: str, second: int, value: str) -> str:
    return f"('{trial}',{second},'2024-03-01 10:00:{second:02}.000000','loss','{value}')"


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "katib-config"},
              "data": {"katib-config.yaml": CONFIG}}  # fmt: skip
    suggestion = {"apiVersion": "kubeflow.org/v1beta1", "kind": "Suggestion",
                  "metadata": {"name": "done"}, "spec": {"requests": 3}}  # fmt: skip
    items = [
        experiment("done", "Succeeded", "random"),
        trial("done", 2, "0.5", "Succeeded", "0.25"),
        trial("done", 1, "0.125", "Succeeded", "0.75"),
        trial("done", 3, "0.9", "Failed", None),
        experiment("own", "Failed", "bohb", "PyTorchJob"),
        trial("own", 1, "0.5", "EarlyStopped", "0.5"),
        experiment("half", "Running", "tpe"),
        trial("half", 1, "0.25", "Succeeded", "0.125"),
        trial("half", 2, "0.75", "Running", None),
        trial("orphaned", 1, "0.75", "Succeeded", "1"),
        suggestion,
        config,
    ]
    export, dump = tmp_path / "katib.json", tmp_path / "katib.sql"
    export.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    rows = [row("done-2", 3, "1.5"), row("done-2", 1, "2"), row("done-2", 2, "0.25"),
            row("done-1", 1, "0.75"), row("stranger", 1, "9")]  # fmt: skip
    dump.write_text(f"INSERT INTO `observation_logs` VALUES {','.join(rows)};\n")
    return str(export), str(dump)


def test_experiments_trials_and_curves_come_in_and_what_had_not_ended_goes_on(
    stack: RealStack, files: tuple[str, str]
) -> None:
    export, dump = files
    told = said(stack, "import", "katib", export, "--observations", dump, "--continue")
    for line in (
        "team-a/done: 3 trials with 4 points are there",
        "team-a/own: 1 trials are there",
        "without its algorithm: spec.algorithm",
        "without its trialTemplate: spec.trialTemplate",
        "team-a/half-katib: 1 trials are there",
        "1 trials had not ended and are left out",
        "team-a/half goes on from them",
        "team-a/orphaned: 1 trials, but no Experiment of that name: left out",
        "of no use here: 1 Suggestion",
        "built in, their images are not used: random",
        'TRIALBUS_REMOTE_ALGORITHMS={"bohb": "HOST:6789"}',
        "trials: Widget (example.com): give the launcher's Role RESOURCE.example.com",
    ):
        assert line in told, told
    [_, second, failed] = trials = rows(stack, "done")
    assert [it["parameters"]["x"] for it in trials] == ["0.125", "0.5", "0.9"]
    assert (second["value"], second["state"], failed["state"]) == (0.25, "Succeeded", "Failed")
    assert second["startTime"] == "2024-03-01T10:02:01.000Z"
    points = stack.api().get(f"/v1/trials/{second['trial']}/metrics")
    [curve] = points["metrics"]
    assert (curve["name"], curve["values"]) == ("loss", [2.0, 0.25, 1.5])
    assert curve["times"] == [TEN + 1, TEN + 2, TEN + 3]
    status = stack.api().get("/v1/namespaces/team-a/experiments/done")["status"]
    assert status["currentOptimalTrial"]["bestTrialName"] == second["trial"]
    assert (status["trialsSucceeded"], status["trialsFailed"]) == (2, 1)
    going_on = stack.api().get("/v1/namespaces/team-a/experiments/half")
    assert going_on["spec"]["maxTrialCount"] == 4

    again = said(stack, "import", "katib", export, "--observations", dump, "--continue")
    assert "team-a/done: 3 trials with 4 points are there" in again
    assert rows(stack, "done") == trials
    points = stack.api().get(f"/v1/trials/{second['trial']}/metrics")
    assert points["metrics"][0]["count"] == 3


def rows(stack: RealStack, name: str) -> list[dict[str, Any]]:
    path = f"/v1/trials?namespace=team-a&experiment={name}&view=table"
    items: list[dict[str, Any]] = stack.api().get(path)["items"]
    return items


def said(stack: RealStack, *arguments: str) -> str:
    finished = stack.call(*arguments)
    assert finished.code == 0, finished
    return finished.out
