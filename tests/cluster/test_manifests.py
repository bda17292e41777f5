"""deploy/manifests and deploy/crds go into a cluster with `kubectl apply`, and again."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.cluster.double.server import Double

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
DEADLINE_S = 60.0

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl on PATH")


def kubectl(double: Double, *arguments: str) -> str:
    done = subprocess.run(
        ["kubectl", "--kubeconfig", str(double.kubeconfig), *arguments],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["namespaced", "cluster"])
def test_kubectl_applies_the_manifests_and_applies_them_again(double: Double, name: str) -> None:
    file = DEPLOY / "manifests" / f"{name}.yaml"
    objects = [it for it in yaml.safe_load_all(file.read_text()) if it]
    kubectl(double, "apply", "--server-side", "-f", str(DEPLOY / "crds"))
    first = kubectl(double, "apply", "-f", str(file)).splitlines()
    assert len(first) == len(objects)
    assert all(line.endswith("created") for line in first), first
    again = kubectl(double, "apply", "-f", str(file)).splitlines()
    # kubectl sends the selector of these each time, and calls that a change.
    changed = [it for it in again if not it.endswith("unchanged")]
    assert all(it.startswith("poddisruptionbudget") for it in changed), changed
    made = kubectl(double, "get", "deployments,statefulsets", "-n", "trialbus", "-o", "name")
    assert len(made.split()) == 8
