"""The tutorial's experiment from the images, with `docker` alone, as the page for users says."""

import json
import os
import subprocess
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from trialbus.local.servers.ports import free_ports

REPOSITORY = Path(__file__).parents[2]
SCRIPT = REPOSITORY / "deploy/docker/stack"
EXPERIMENT = REPOSITORY / "examples/quick-start.yaml"
IMAGES = [
    *("nats", "mongod", "cli", "gateway", "experiment", "suggestion"),
    *("trial-launcher", "metrics-collector", "early-stopping"),
]
LEAST_ACCURACY = 0.95
Docker = Callable[..., str]


@dataclass(frozen=True, kw_only=True)
class ContainerStack:
    """A project of its own on the engine. url: of the gateway, from this machine."""

    project: str
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __call__(self, *arguments: str, stdin: str = "", within_s: float = 200.0) -> str:
        """Its standard output; a failure shows all that it said."""
        done = subprocess.run(
            [SCRIPT, *arguments],
            env={**os.environ, "PROJECT": self.project, "TRIALBUS_PORT": str(self.port)},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout


@pytest.fixture
def stack(image_of: Callable[[str], str]) -> Iterator[ContainerStack]:
    for name in IMAGES:
        image_of(name)
    project = f"trialbus-test-{uuid.uuid4().hex[:8]}"
    stack = ContainerStack(project=project, port=next(iter(free_ports(1))))
    try:
        stack("up")
        yield stack
    finally:
        stack("remove")


def posted(url: str, token: str) -> int:
    """The status of the answer to the experiment's file, as it is."""
    request = urllib.request.Request(
        f"{url}/apis/kubeflow.org/v1beta1/namespaces/kubeflow/experiments",
        data=EXPERIMENT.read_bytes(),
        headers={"content-type": "application/yaml", "authorization": f"Bearer {token}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code


@pytest.mark.timeout(400)
def test_the_tutorials_experiment_runs_from_images_with_docker_alone(
    stack: ContainerStack, docker: Docker, image_of: Callable[[str], str]
) -> None:
    reading = ["--volume", f"{stack.project}_token:/data:ro", "--entrypoint", "cat"]
    token = docker("run", "--rm", *reading, image_of("cli"), "/data/token").strip()
    assert posted(stack.url, "tbs_somebody-elses") == 401
    assert posted(stack.url, token) == 201

    stack("cli", "wait", "quick-start", "-n", "kubeflow", "--timeout", "120s")

    told = stack("cli", "get", "experiments", "quick-start", "-n", "kubeflow", "-o", "json")
    status = json.loads(told)["status"]
    assert (status["trials"], status["trialsSucceeded"]) == (12, 12)
    [best] = [
        float(metric["latest"])
        for metric in status["currentOptimalTrial"]["observation"]["metrics"]
        if metric["name"] == "Validation-accuracy"
    ]
    assert best >= LEAST_ACCURACY
    trial = status["currentOptimalTrial"]["bestTrialName"]
    assert "Validation-accuracy=" in stack("cli", "logs", trial)

    # What it knows outlives its containers, and so does the token.
    stack("up")
    assert "quick-start" in stack("cli", "get", "experiments", "-A")
    assert posted(stack.url, token) == 409
