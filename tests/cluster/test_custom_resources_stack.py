"""A real stack beside the double of an API server: kubectl and Katib's client, unmodified, work on
custom resources, and what they made runs. Trials are processes of this machine."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cluster.definitions.beside import TARGETS, Beside, running_target
from tests.cluster.double.server import Double

from trialbus.testkit.programs import REPOSITORY
from trialbus.testkit.real_stack import NAMESPACE, RealStack, experiment_object
from trialbus.testkit.waits import until, until_sync

CRDS = REPOSITORY / "deploy/crds"
KATIB_CLIENT = REPOSITORY / ".venv/katib-client/bin/python"
SCRIPT = REPOSITORY / "tests/data/katib_client/applied.py"
DEADLINE_S = 90.0
QUICK = ["sh", "-c", "echo loss=$0", "{x}"]

pytestmark = [
    pytest.mark.servers,
    pytest.mark.timeout(240),
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on PATH"),
]


class Cluster:
    """The double with a stack that keeps its custom resources, and kubectl for it."""

    def __init__(self, stack: RealStack, double: Double, folder: Path) -> None:
        self.stack = stack
        self.double = double
        self.folder = folder
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "KUBECONFIG": str(double.kubeconfig),
        }

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        done = self.call(*arguments, text=text)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def call(self, *arguments: str, text: str | None = None) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["kubectl", "-n", NAMESPACE, *arguments],
            cwd=self.folder,
            env=self.environ,
            input=text,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )

    def json(self, *arguments: str) -> Any:
        return json.loads(self.kubectl(*arguments, "-o", "json"))

    def names(self) -> list[str]:
        """Of experiments that live in the store."""
        api = self.stack.api()
        try:
            found = api.items("/v1/experiments", namespace=NAMESPACE)
        finally:
            api.close()
        return [str(it["metadata"]["name"]) for it in found]

    def apply(self, obj: dict[str, Any]) -> str:
        return self.kubectl("apply", "-f", "-", text=json.dumps(obj))

    def wait(self, name: str, condition: str = "Succeeded") -> None:
        self.kubectl("wait", f"--for=condition={condition}", f"experiment/{name}", "--timeout=60s")

    def until_gone(self, name: str) -> None:
        until_sync(lambda: name not in self.names(), f"{name} has gone", within_s=DEADLINE_S)


@pytest.fixture(scope="module", params=TARGETS)
def cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("custom-resources")
    with running_target(request.param, folder / "double") as double:
        for path in sorted(CRDS.glob("*.yaml")):
            double.create(yaml.safe_load(path.read_text()))
        double.make_namespace(NAMESPACE)
        stack = RealStack(
            folder / "stack",
            custom_resources="true",
            kubeconfig=str(double.kubeconfig),
            kubernetes_namespaces=NAMESPACE,
        )
        try:
            stack.up()
            yield Cluster(stack, double, folder)
        finally:
            stack.down()


def test_kubectl_applies_waits_reads_edits_and_deletes(cluster: Cluster) -> None:
    obj = experiment_object("tune", QUICK, trials=3, parallel=2)
    obj["spec"]["resumePolicy"] = "LongRunning"
    assert cluster.apply(obj) == "experiment.kubeflow.org/tune created\n"
    cluster.wait("tune")
    shown = cluster.kubectl("get", "experiment", "tune").splitlines()
    assert shown[0].split() == ["NAME", "TYPE", "STATUS", "AGE"]
    assert shown[1].split()[:3] == ["tune", "Succeeded", "True"]
    trials = cluster.json("get", "trials", "-l", "katib.kubeflow.org/experiment=tune")["items"]
    assert [it["status"]["conditions"][-1]["type"] for it in trials] == ["Succeeded"] * 3
    assert {it["status"]["observation"]["metrics"][0]["name"] for it in trials} == {"loss"}
    status = cluster.json("get", "experiment", "tune")["status"]
    names = sorted(it["metadata"]["name"] for it in trials)
    assert sorted(status["succeededTrialList"]) == names
    assert status["currentOptimalTrial"]["bestTrialName"] in names
    columns = cluster.kubectl("get", "suggestion", "tune").splitlines()
    assert columns[0].split() == ["NAME", "TYPE", "STATUS", "REQUESTED", "ASSIGNED", "AGE"]
    assert columns[1].split()[3:5] == ["3", "3"]
    # Applied again it is the same; with a larger budget it goes on.
    assert cluster.apply(obj) == "experiment.kubeflow.org/tune unchanged\n"
    cluster.kubectl("patch", "experiment", "tune", "--type=merge", "-p",
                    '{"spec": {"maxTrialCount": 5}}')  # fmt: skip
    cluster.kubectl(
        "wait", "--for=jsonpath={.status.trialsSucceeded}=5", "experiment/tune", "--timeout=60s"
    )
    cluster.kubectl("delete", "experiment", "tune")
    cluster.until_gone("tune")
    if not isinstance(cluster.double, Beside):  # where nobody collects
        until_sync(lambda: not cluster.double.list("trials.kubeflow.org"), "its trials have gone")


def test_kubectl_is_told_what_is_wrong_at_once(cluster: Cluster) -> None:
    obj = experiment_object("wrong", QUICK)
    obj["spec"]["parameters"][0]["feasibleSpace"] = {"min": "2", "max": "1"}
    done = cluster.call("apply", "-f", "-", text=json.dumps(obj))
    assert done.returncode == 1
    assert "spec.parameters[0].feasibleSpace.min" in done.stderr
    assert "min is greater than max" in done.stderr
    obj = experiment_object("wrong", QUICK)
    obj["spec"]["maxTrials"] = 3
    done = cluster.call("apply", "-f", "-", text=json.dumps(obj))
    assert 'unknown field "spec.maxTrials"' in done.stderr
    # Who does not insist on that gets what can be known.
    cluster.kubectl("apply", "--validate=warn", "-f", "-", text=json.dumps(obj))
    cluster.wait("wrong")
    cluster.kubectl("delete", "experiment", "wrong")
    cluster.until_gone("wrong")


def test_a_watch_sees_the_experiment_go_on(cluster: Cluster) -> None:
    watching = subprocess.Popen(
        ["kubectl", "-n", NAMESPACE, "get", "experiments", "-w", "--no-headers"],
        env=cluster.environ,
        stdout=subprocess.PIPE,
        text=True,
    )
    states: list[str] = []
    try:
        cluster.apply(experiment_object("seen", QUICK, trials=2))
        cluster.wait("seen")
        assert watching.stdout is not None
        # Another watch has seen its end: this one may yet have to.
        while states[-1:] != ["Succeeded"] and (line := watching.stdout.readline()):
            states += line.split()[1:2] if line.startswith("seen") else []
    finally:
        watching.terminate()
        watching.communicate(timeout=DEADLINE_S)
    # How much of it is seen between hangs on how long a second is.
    assert len(states) > 1
    assert states[-1] == "Succeeded"
    cluster.kubectl("delete", "experiment", "seen")


async def test_a_gateway_that_is_killed_goes_on_where_it_was(cluster: Cluster) -> None:
    stack, gate = cluster.stack, cluster.folder / "gate"
    held = ["sh", "-c", f"while ! test -e {gate}; do sleep 0.05; done; echo loss=$0", "{x}"]
    cluster.apply(experiment_object("held", held, trials=2, parallel=2))
    cluster.kubectl(
        "wait", "--for=jsonpath={.status.trialsRunning}=2", "experiment/held", "--timeout=60s"
    )
    cluster.apply(experiment_object("leaving", held))
    await until(lambda: "leaving" in cluster.names(), "both are there", within_s=DEADLINE_S)
    killed = stack.kill("gateway")
    # Deleted while nobody looks.
    cluster.kubectl("delete", "experiment", "leaving", "--wait=false")
    await stack.returned("gateway", killed)
    cluster.until_gone("leaving")
    gate.touch()
    cluster.wait("held")
    cluster.kubectl("delete", "experiment", "held")
    cluster.until_gone("held")


@pytest.mark.skipif(
    not KATIB_CLIENT.exists(),
    reason="the environment of Katib's client is missing: make .venv/.stamp-katib-client",
)
def test_katibs_own_client_works_on_custom_resources(cluster: Cluster) -> None:
    done = subprocess.run(
        [KATIB_CLIENT, SCRIPT, NAMESPACE],
        cwd=cluster.folder,
        env=cluster.environ,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["conditions"][-1] == "Succeeded"
    assert (told["succeeded"], told["suggested"], len(told["trials"])) == (3, 3, 3)
    assert told["best"] in told["trials"]
    assert told["metrics"] == ["loss"] * 3
    assert "by-client" in told["listed"]
    cluster.until_gone("by-client")
