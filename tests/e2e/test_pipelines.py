"""examples/pipelines: the body of each step, as its file carries it, against a real stack."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from trialbus.testkit.real_stack import RealStack, experiment_object

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]

FOLDER = Path(__file__).resolve().parents[2] / "examples/pipelines"
TRIALS = 2
TOKEN = "a-token-that-nobody-asks-for"
NEEDED = ("sh", "curl", "jq", "sha256sum")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealStack]:
    stack = RealStack(tmp_path_factory.mktemp("pipelines"))
    try:
        stack.up()
        yield stack
    finally:
        stack.down()


@dataclass(frozen=True)
class Step:
    """What a step left: its exit code, what it handed on, and its complaint."""

    code: int
    parameters: Any
    value: Any
    complaint: str


def run(command: Sequence[str], variables: Mapping[str, str], folder: Path) -> Any:
    environment = {"PATH": os.environ["PATH"], "TRIALBUS_TOKEN": TOKEN, **variables}
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def read(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else None


def shell(url: str, experiment: dict[str, Any], run_id: str, folder: Path) -> Step:
    (folder / "experiment.json").write_text(json.dumps(experiment))
    variables = {"TRIALBUS_URL": url, "RUN_ID": run_id, "WAIT_S": "2"}
    done = run(["sh", str(FOLDER / "tune.sh"), "experiment.json"], variables, folder)
    found = json.loads(done.stdout) if done.returncode == 0 else None
    return Step(done.returncode, found, None, done.stderr)


def argo(url: str, experiment: dict[str, Any], run_id: str, folder: Path) -> Step:
    """As Argo would: values into the variables, the script into a file, outputs out of files."""
    [template] = load("argo/workflow-template.yaml")["spec"]["templates"]
    values = {
        "workflow.uid": run_id,
        "inputs.parameters.url": url,
        "inputs.parameters.step": "tune",
        "inputs.parameters.experiment": json.dumps(experiment),
    }
    outputs = {it["name"]: it["valueFrom"]["path"] for it in template["outputs"]["parameters"]}

    def placed(text: str) -> str:
        for path in outputs.values():
            text = text.replace(path, str(folder / path.lstrip("/")))
        return re.sub(r"\{\{(.+?)\}\}", lambda found: values[found[1]], text)

    script = template["script"]
    variables = {it["name"]: placed(it["value"]) for it in script["env"] if "value" in it}
    (folder / "script").write_text(script["source"])
    assert script["command"] == ["python3"]
    done = run([sys.executable, str(folder / "script")], variables, folder)
    handed_on = {name: read(folder / path.lstrip("/")) for name, path in outputs.items()}
    return Step(done.returncode, handed_on["parameters"], handed_on["value"], done.stderr)


def kubeflow(url: str, experiment: dict[str, Any], run_id: str, folder: Path) -> Step:
    """As Kubeflow Pipelines would: placeholders among the arguments."""
    container = load("kubeflow/component.yaml")["implementation"]["container"]
    values = {"url": url, "run": run_id, "experiment": json.dumps(experiment)}

    def placed(word: Any) -> str:
        if isinstance(word, str):
            return word
        [(kind, name)] = word.items()
        return values[name] if kind == "inputValue" else str(folder / "outputs" / name / "data")

    interpreter, *command = container["command"]
    assert interpreter == "python3"
    words = [sys.executable, *command, *map(placed, container["args"])]
    done = run(words, {}, folder)
    made = {name: read(folder / "outputs" / name / "data") for name in ("parameters", "value")}
    return Step(done.returncode, made["parameters"], made["value"], done.stderr)


STEPS = [
    pytest.param(
        shell,
        marks=pytest.mark.skipif(
            not all(map(shutil.which, NEEDED)), reason=f"needs {', '.join(NEEDED)}"
        ),
    ),
    argo,
    kubeflow,
]


def load(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text())


def wanted(name: str, **settings: Any) -> dict[str, Any]:
    return experiment_object(name, ["sh", "-c", "echo loss={x}"], trials=TRIALS, **settings)


@pytest.mark.parametrize("step", STEPS)
def test_a_step_hands_on_the_best_parameters_and_can_be_started_again(
    stack: RealStack, tmp_path: Path, step: Any
) -> None:
    experiment, url = wanted(f"by-{step.__name__}"), str(stack.status.http)
    first = step(url, experiment, f"run-{step.__name__}", tmp_path)
    assert first.code == 0, first.complaint
    path = f"/v1/namespaces/tests/experiments/by-{step.__name__}/progress"
    progress = stack.api().get(path)
    assert first.parameters == progress["best"]["parameters"]
    assert set(first.parameters) == {"x"}
    assert first.value in (None, progress["best"]["value"])
    again = step(url, experiment, f"run-{step.__name__}", tmp_path)
    assert again == first
    assert stack.api().get(path)["trials"]["created"] == TRIALS


@pytest.mark.parametrize("step", STEPS)
def test_a_step_fails_with_the_reason(stack: RealStack, tmp_path: Path, step: Any) -> None:
    name, url = step.__name__, str(stack.status.http)
    failing = experiment_object(f"failing-{name}", ["sh", "-c", "exit 3; echo {x}"], trials=TRIALS)
    failing["spec"]["maxFailedTrialCount"] = 0
    failed = step(url, failing, f"failing-{name}", tmp_path)
    assert (failed.code, failed.parameters) == (1, None)
    assert "Failed: ExperimentFailed: " in failed.complaint
    wrong = wanted(f"wrong-{name}")
    wrong["spec"]["parallelTrialCount"] = -1
    refused = step(url, wrong, f"wrong-{name}", tmp_path)
    assert refused.code == 2
    assert "spec.parallelTrialCount" in refused.complaint
    taken = wanted(f"failing-{name}")
    conflict = step(url, taken, f"another-{name}", tmp_path)
    assert conflict.code == 2
    assert TOKEN not in failed.complaint + refused.complaint + conflict.complaint


@pytest.mark.parametrize("step", STEPS)
def test_a_generated_name_is_one_for_each_run(stack: RealStack, tmp_path: Path, step: Any) -> None:
    experiment, url, prefix = wanted("x"), str(stack.status.http), f"{step.__name__}-nightly-"
    experiment["metadata"] = {"generateName": prefix, "namespace": "tests"}
    for day in ("monday", "monday", "tuesday"):
        done = step(url, experiment, f"{step.__name__}-{day}", tmp_path)
        assert done.code == 0, done.complaint
    items = stack.api().items("/v1/experiments", namespace="tests")
    names = [it["metadata"]["name"] for it in items]
    assert len([name for name in names if re.fullmatch(prefix + "[0-9a-f]{8}", name)]) == 2
