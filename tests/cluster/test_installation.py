"""On a real cluster only: the charts are installed, the tutorial's experiment runs, and one goes on
after its trial's node was taken away.

TRIALBUS_TEST_KILL_NODE: a command with `{node}` that ends a node for good (`docker rm -f {node}`
of kind), where two nodes take pods; without it the trial's pod is evicted, as draining a node does.
"""

import json
import os
import shlex
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cluster.contract.targets import IMAGE, KUBECONFIG

from making.charts.rendering import UMBRELLA, build_charts, objects_of, rendered
from trialbus.testkit.programs import REPOSITORY
from trialbus.testkit.waits import until_sync

KILL_NODE = os.environ.get("TRIALBUS_TEST_KILL_NODE", "")
CRDS = REPOSITORY / "deploy/crds"
VALUES = REPOSITORY / "deploy/helm/trialbus/examples/laptop-kind.yaml"
# A node that went is given up by Kubernetes after five minutes, and its pods by us after five more.
DEADLINE_S = 1200.0
READY_S = 300.0
GONE_S = 180
Object = dict[str, Any]

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not KUBECONFIG, reason="needs a cluster: TRIALBUS_TEST_KUBECONFIG"),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """namespace: of the services; lab: of experiments, which enforces the restricted standard.
    spare: a node that runs none of the services, and may be killed; "": none will be."""

    namespace: str
    lab: str
    spare: str

    def get(self, kind: str, *arguments: str) -> list[Object]:
        found = kubectl("get", kind, "-n", self.lab, "-o", "json", *arguments)
        items: list[Object] = json.loads(found)["items"]
        return items

    def apply(self, experiment: Object) -> None:
        kubectl("apply", "-n", self.lab, "-f", "-", text=json.dumps(experiment))

    def wait(self, name: str, condition: str = "Succeeded", within_s: float = DEADLINE_S) -> None:
        kubectl(
            "wait", f"experiment/{name}", "-n", self.lab,
            f"--for=condition={condition}", f"--timeout={within_s:.0f}s",
        )  # fmt: skip


def kubectl(*arguments: str, text: str | None = None, check: bool = True) -> str:
    done = subprocess.run(
        ["kubectl", *arguments],
        env={**os.environ, "KUBECONFIG": KUBECONFIG},
        input=text,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S + 600,
        check=False,
    )
    assert done.returncode == 0 or not check, f"kubectl {shlex.join(arguments)}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """All of it goes at the end, the definitions only if they were not there before."""
    mark = uuid.uuid4().hex[:6]
    made = Installed(
        namespace=f"trialbus-test-{mark}",
        lab=f"trialbus-lab-{mark}",
        spare=spare_node() if KILL_NODE else "",
    )
    defined = [it for it in sorted(CRDS.glob("*.yaml")) if not is_there(it)]
    manifests = charts(made, mark, tmp_path_factory.mktemp("charts"))
    try:
        if made.spare:
            kubectl("cordon", made.spare)
        for namespace in (made.namespace, made.lab):
            kubectl("create", "namespace", namespace)
            standard = "pod-security.kubernetes.io/enforce=restricted"
            kubectl("label", "namespace", namespace, standard)
        for path in defined:
            kubectl("apply", "--server-side", "-f", str(path))
        subprocess.run(
            [REPOSITORY / "deploy/helm/secrets", made.namespace],
            env={
                **os.environ,
                "KUBECONFIG": KUBECONFIG,
                "PATH": f"{REPOSITORY / '.venv/bin'}:{os.environ['PATH']}",
            },
            check=True,
            timeout=READY_S,
        )
        kubectl("apply", "-f", "-", text=manifests)
        kubectl(
            "wait", "deployment,statefulset", "--all", "-n", made.namespace,
            "--for=jsonpath={.status.readyReplicas}=1", f"--timeout={READY_S:.0f}s",
        )  # fmt: skip
        if made.spare:
            kubectl("uncordon", made.spare)
        yield made
    except BaseException:
        show(made)
        raise
    finally:
        if made.spare:
            kubectl("uncordon", made.spare, check=False)
        delete("experiments,trials,suggestions", "--all", "-n", made.lab)
        kubectl("delete", "-f", "-", "--wait=false", text=manifests, check=False)
        for namespace in (made.lab, made.namespace):
            delete("namespace", namespace)
        for path in defined:
            delete("-f", str(path))


@pytest.fixture(autouse=True)
def shown(installed: Installed) -> Iterator[None]:
    """What a failed test needs to be understood: soon all of it is gone."""
    yield
    show(installed)


def show(installed: Installed) -> None:
    for namespace in (installed.namespace, installed.lab):
        print(kubectl("get", "pods,jobs,events", "-n", namespace, "-o", "wide", check=False))
    logs = ("logs", "-n", installed.namespace, "--prefix", "--tail=40", "--all-containers")
    print(kubectl(*logs, "-l", "app.kubernetes.io/part-of=trialbus", check=False))


def delete(*what: str) -> None:
    """What of it does not go keeps nothing else."""
    kubectl("delete", *what, "--ignore-not-found", f"--timeout={GONE_S}s", check=False)


def spare_node() -> str:
    """One of at least two that take pods."""
    nodes = json.loads(kubectl("get", "nodes", "-o", "json"))["items"]
    names = [str(it["metadata"]["name"]) for it in nodes if not it["spec"].get("taints")]
    assert len(names) > 1, f"TRIALBUS_TEST_KILL_NODE needs two nodes that take pods, not {names}"
    return names[-1]


def is_there(path: Path) -> bool:
    name = yaml.safe_load(path.read_text())["metadata"]["name"]
    return bool(kubectl("get", "crd", name, "--ignore-not-found", "-o", "name").strip())


def charts(made: Installed, mark: str, folder: Path) -> str:
    """Everything but the definitions, for one small installation that runs trials in one other
    namespace."""
    values = yaml.safe_load(VALUES.read_text())
    values["global"] |= {
        "instance": f"test-{mark}",
        "namespaces": [made.lab],
        "settings": {"pod_security": "restricted"},
    }
    text = rendered(build_charts(folder) / UMBRELLA, values, namespace=made.namespace)
    kept = [it for it in objects_of(text) if it["kind"] != "CustomResourceDefinition"]
    return yaml.safe_dump_all(kept)


def tutorial(lab: str) -> Object:
    document: Object = yaml.safe_load((REPOSITORY / "examples/quick-start.yaml").read_text())
    document["metadata"]["namespace"] = lab
    return document


def slow(name: str, node: str) -> Object:
    """One trial that reports for two minutes, in the image that the tutorial's trials run in; on
    that node if it can, unless it is ""."""
    program = "import time\nfor i in range(60): print(f'loss={i}', flush=True), time.sleep(2)"
    container = {
        "name": "main",
        "image": IMAGE,
        "command": ["python", "-c", program, "${trialParameters.x}"],
    }
    pod = {"spec": {"containers": [container], "restartPolicy": "Never", **preferring(node)}}
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": name},
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
                "trialSpec": {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": pod}},
            },
        },
    }


def preferring(node: str) -> Object:
    if not node:
        return {}
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    term = {"weight": 100, "preference": {"matchExpressions": [here]}}
    terms = {"preferredDuringSchedulingIgnoredDuringExecution": [term]}
    return {"affinity": {"nodeAffinity": terms}}


def test_the_tutorials_experiment_runs_to_its_end(installed: Installed) -> None:
    installed.apply(tutorial(installed.lab))
    installed.wait("quick-start")
    [experiment] = installed.get("experiments")
    status = experiment["status"]
    assert status["trialsSucceeded"] >= 1
    best = status["currentOptimalTrial"]
    assert {it["name"] for it in best["observation"]["metrics"]} == {
        "Validation-accuracy",
        "Train-accuracy",
    }
    trials = installed.get("trials")
    assert len(trials) == status["trials"]
    assert best["bestTrialName"] in {it["metadata"]["name"] for it in trials}
    until_sync(lambda: not installed.get("jobs"), "ended trials' Jobs have gone", within_s=120)


def test_a_trial_whose_node_is_taken_away_runs_again(installed: Installed) -> None:
    installed.apply(slow("survivor", installed.spare))
    until_sync(lambda: running(installed), "the trial's pod runs", within_s=READY_S)
    [pod] = running(installed)
    node, name = pod["spec"]["nodeName"], pod["metadata"]["name"]
    assert not secrets_of(pod)
    if KILL_NODE:
        assert node == installed.spare, "the trial runs where the services do"
        subprocess.run(
            shlex.split(KILL_NODE.format(node=node)),
            env={**os.environ, "KUBECONFIG": KUBECONFIG},
            check=True,
            timeout=READY_S,
        )
    else:
        evict(installed.lab, name)
    try:
        installed.wait("survivor")
    finally:
        if KILL_NODE:
            # The pods of a node that is not there go only when its object goes.
            delete("node", node)
    [trial] = installed.get("trials", "-l", "katib.kubeflow.org/experiment=survivor")
    [metric] = trial["status"]["observation"]["metrics"]
    # Only what the attempt that ended it has reported counts.
    assert (float(metric["min"]), float(metric["max"])) == (0.0, 59.0)


def running(installed: Installed) -> list[Object]:
    pods = installed.get("pods", "-l", "katib.kubeflow.org/experiment=survivor")
    return [it for it in pods if (it.get("status") or {}).get("phase") == "Running"]


def secrets_of(pod: Object) -> list[str]:
    """What gives a pod a credential of the cluster."""
    return [
        str(volume["name"])
        for volume in pod["spec"].get("volumes") or ()
        if "secret" in volume or "projected" in volume
    ]


def evict(namespace: str, pod: str) -> None:
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": namespace},
    }
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction"
    kubectl("create", "--raw", path, "-f", "-", text=json.dumps(body))
