"""The newer client, `kubeflow.optimizer`, unmodified: its trials are TrainJobs on a cluster."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cluster.double.server import Double, running_double

from trialbus.testkit.programs import REPOSITORY
from trialbus.testkit.real_stack import RealStack

PYTHON = REPOSITORY / ".venv/katib-client/bin/python"
SCRIPT = REPOSITORY / "tests/data/katib_client/optimized.py"
TRAINER = "trainer.kubeflow.org"
DEADLINE_S = 200.0

pytestmark = [pytest.mark.servers, pytest.mark.timeout(280)]
Object = dict[str, Any]


def definition(kind: str, scope: str) -> Object:
    """Of a kind of the trainer's, whose own schema is the trainer's business."""
    plural = f"{kind.lower()}s"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{TRAINER}"},
        "spec": {
            "group": TRAINER,
            "scope": scope,
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [
                {
                    "name": "v1alpha1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {"status": {}},
                }
            ],
        },
    }


def runtime() -> Object:
    """Of one node, whose command is Python's."""
    pod = {"spec": {"containers": [{"name": "node", "image": "trialbus/trainer"}]}}
    job = {
        "name": "node",
        "template": {
            "metadata": {"labels": {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}},
            "spec": {"template": pod},
        },
    }
    return {
        "apiVersion": f"{TRAINER}/v1alpha1",
        "kind": "ClusterTrainingRuntime",
        "metadata": {"name": "plain", "labels": {"trainer.kubeflow.org/framework": "plain"}},
        "spec": {"mlPolicy": {"numNodes": 1}, "template": {"spec": {"replicatedJobs": [job]}}},
    }


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[RealStack, Double]]:
    with running_double(tmp_path / "double") as double:
        for path in sorted((REPOSITORY / "deploy/crds").glob("*.yaml")):
            double.create(yaml.safe_load(path.read_text()))
        double.create(definition("TrainJob", "Namespaced"))
        double.create(definition("ClusterTrainingRuntime", "Cluster"))
        double.create(definition("TrainingRuntime", "Namespaced"))
        double.create(runtime())
        stack = RealStack(
            tmp_path / "stack",
            place="kubernetes",
            kubeconfig=str(double.kubeconfig),
            custom_resources="true",
            forward_kubernetes="true",
        )
        try:
            stack.up()
            yield stack, double
        finally:
            stack.down()


def test_create_list_wait_logs_best_and_delete(
    cluster: tuple[RealStack, Double], tmp_path: Path
) -> None:
    if not PYTHON.exists():
        pytest.skip("the official clients are not installed: make test does it")
    stack, double = cluster
    gateway = kubeconfig(tmp_path / "gateway", stack.status.http)
    done = subprocess.run(
        [PYTHON, SCRIPT, double.kubeconfig, gateway],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    saw = json.loads(done.stdout)
    assert saw["listed"] == [saw["name"]]
    assert saw["status"] == "Complete"
    assert len(saw["trials"]) == 4
    for trial in saw["trials"]:
        x, y = (float(trial["parameters"][it]) for it in "xy")
        [metric] = trial["metrics"]
        assert metric["name"] == "loss"
        assert float(metric["latest"]) == pytest.approx((x - 1) ** 2 + y / 3, abs=1e-5)
        assert float(metric["max"]) == pytest.approx((x - 1) ** 2 + y, abs=1e-5)
        assert trial["trainjob"] == "Complete"
    best = min(saw["trials"], key=lambda it: float(it["metrics"][0]["min"]))
    assert saw["best"]["parameters"] == best["parameters"]
    assert saw["logs"][0] == "training begins"
    assert saw["logs"][-1] == f"loss={saw['best']['metrics']['latest']}"


def kubeconfig(path: Path, server: str) -> Path:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "gateway", "cluster": {"server": server}}],
        "users": [{"name": "me", "user": {}}],
        "contexts": [{"name": "gateway", "context": {"cluster": "gateway", "user": "me"}}],
        "current-context": "gateway",
    }
    path.write_text(yaml.safe_dump(config))
    return path
