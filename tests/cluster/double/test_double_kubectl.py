"""The real kubectl against the double."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.cluster.contract.definitions import definition
from tests.cluster.double.server import Double

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl on PATH")
JOB = """
apiVersion: batch/v1
kind: Job
metadata: {name: a}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers: [{name: main, image: x, command: [sh, -c, "echo first; echo second"]}]
"""


def kubectl(double: Double, *arguments: str, text: str = "", fails: bool = False) -> str:
    """What it prints; of a command that fails what it says."""
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(double.folder),
        "KUBECONFIG": str(double.kubeconfig),
    }
    done = subprocess.run(
        ["kubectl", *arguments],
        env=environ,
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode != 0) is fails, f"{arguments}\n{done.stdout}{done.stderr}"
    return done.stderr if fails else done.stdout


def test_a_job_is_applied_waited_for_read_and_deleted(double: Double) -> None:
    assert kubectl(double, "apply", "-f", "-", text=JOB) == "job.batch/a created\n"
    assert kubectl(double, "apply", "-f", "-", text=JOB) == "job.batch/a unchanged\n"
    kubectl(double, "wait", "--for=condition=complete", "job/a", "--timeout=20s")
    assert kubectl(double, "logs", "job/a") == "first\nsecond\n"
    assert kubectl(double, "logs", "job/a", "--tail=1") == "second\n"
    row = kubectl(double, "get", "jobs").splitlines()[1].split()
    assert row[:3] == ["a", "Complete", "1/1"]
    described = kubectl(double, "describe", "job", "a")
    assert "1 Succeeded" in described
    kubectl(double, "delete", "job", "a")
    assert kubectl(double, "get", "pods", "-o", "name") == ""


def test_a_misspelt_field_is_told(double: Double) -> None:
    text = JOB.replace("backoffLimit", "backofLimit")
    told = kubectl(double, "apply", "-f", "-", text=text, fails=True)
    assert 'unknown field "spec.backofLimit"' in told


def test_custom_resources_are_applied_changed_and_shown(double: Double, tmp_path: Path) -> None:
    group = "try.example.com"
    file = tmp_path / "definition.yaml"
    file.write_text(yaml.safe_dump(definition(group)))
    kubectl(double, "apply", "-f", str(file))
    kubectl(double, "wait", "--for=condition=Established", f"crd/samples.{group}")
    body = {"apiVersion": f"{group}/v1", "kind": "Sample", "metadata": {"name": "s"}}
    text = yaml.safe_dump({**body, "spec": {"size": 2}})
    assert "created" in kubectl(double, "apply", "-f", "-", text=text)
    text = yaml.safe_dump({**body, "spec": {"size": 3}})
    assert "configured" in kubectl(double, "apply", "-f", "-", text=text)
    assert "serverside-applied" in kubectl(double, "apply", "--server-side", "-f", "-", text=text)
    double.set_status("Sample", "default", "s", {"phase": "Running"})
    lines = kubectl(double, "get", "smp").splitlines()
    assert lines[0].split() == ["NAME", "PHASE", "READY", "AGE"]
    assert lines[1].split()[:2] == ["s", "Running"]
    kubectl(double, "patch", "sample", "s", "--type=merge", "-p", '{"spec":{"size":4}}')
    text = yaml.safe_dump({**body, "spec": {"size": 40}})
    told = kubectl(double, "apply", "-f", "-", text=text, fails=True)
    assert "should be less than or equal to 10" in told
    assert "samples" in kubectl(double, "api-resources", f"--api-group={group}")
    assert "FIELDS" in kubectl(double, "explain", "sample.spec")
    kubectl(double, "delete", "sample", "s")
    kubectl(double, "delete", "-f", str(file))
