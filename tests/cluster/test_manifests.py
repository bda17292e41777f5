"""deploy/manifests and deploy/crds go into a cluster with `kubectl apply`, and again."""

import json
import os
import shutil
import subprocess
import sys
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


def test_the_script_makes_the_secrets_that_the_charts_refer_to_once(
    double: Double, tmp_path: Path
) -> None:
    """With the keys that pods mount; what is there stays."""
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environ = {"PATH": programs, "KUBECONFIG": str(double.kubeconfig), "HOME": str(tmp_path)}
    outputs = []
    for _ in range(2):
        command = [str(DEPLOY / "helm/secrets"), "default"]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
        found = json.loads(kubectl(double, "get", "secrets", "-n", "default", "-o", "json"))
    assert outputs[0].splitlines()[-1].startswith("tbs_")
    assert outputs[1] == ""
    keys = {it["metadata"]["name"]: set(it["data"]) for it in found["items"]}
    manifests = (DEPLOY / "manifests/cluster.yaml").read_text()
    for name, key in _referred_to(manifests):
        assert key in keys[name], (name, key)


def _referred_to(manifests: str) -> set[tuple[str, str]]:
    """(Secret, key) of every mounted file and variable."""
    found = set()
    for it in yaml.safe_load_all(manifests):
        pod = it.get("spec", {}).get("template", {}).get("spec", {}) if it else {}
        for volume in pod.get("volumes", []):
            for source in [volume, *volume.get("projected", {}).get("sources", [])]:
                secret = source.get("secret", {})
                name = secret.get("secretName") or secret.get("name")
                found |= {(name, item["key"]) for item in secret.get("items", [])}
        for container in pod.get("containers", []):
            for variable in container.get("env", []):
                key = variable.get("valueFrom", {}).get("secretKeyRef")
                found |= {(key["name"], key["key"])} if key else set()
    assert len(found) >= 10
    return found
