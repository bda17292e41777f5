"""The official client of Katib, unmodified, against a real stack.

It pins an old protobuf, so it lives in an environment of its own, whose Python runs the scripts
in tests/data/katib_client.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trialbus.testkit.programs import REPOSITORY
from trialbus.testkit.real_stack import RealStack

PYTHON = REPOSITORY / ".venv/katib-client/bin/python"
SCRIPTS = REPOSITORY / "tests/data/katib_client"
DEADLINE_S = 120.0
IMAGE = "example.com/science/python"

pytestmark = [
    pytest.mark.servers,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        not PYTHON.exists(),
        reason="the environment of Katib's client is missing: make .venv/.stamp-katib-client",
    ),
]

# Public method -> the script that calls it.
CALLED_IN = {
    "create_experiment": "calls.py",
    "delete_experiment": "calls.py",
    "edit_experiment_budget": "calls.py",
    "get_experiment": "calls.py",
    "get_experiment_conditions": "calls.py",
    "get_job_logs": "calls.py",
    "get_optimal_hyperparameters": "calls.py",
    "get_success_trial_details": "calls.py",
    "get_suggestion": "calls.py",
    "get_trial": "calls.py",
    "get_trial_metrics": "calls.py",
    "is_experiment_created": "calls.py",
    "is_experiment_failed": "calls.py",
    "is_experiment_restarting": "calls.py",
    "is_experiment_running": "calls.py",
    "is_experiment_succeeded": "calls.py",
    "list_experiments": "calls.py",
    "list_suggestions": "calls.py",
    "list_trials": "calls.py",
    "tune": "tuned.py",
    "wait_for_experiment_condition": "calls.py",
}


class Client:
    """Runs scripts with Katib's client on one stack."""

    def __init__(self, stack: RealStack, folder: Path) -> None:
        self.stack = stack
        self.folder = folder
        config = folder / "kubeconfig"
        done = stack.call("kubeconfig", "--write", str(config))
        assert done.code == 0, done.err
        self._environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "KUBECONFIG": str(config),
        }

    def __call__(self, script: str, *arguments: str) -> Any:
        """The JSON object that it prints last."""
        done = subprocess.run(
            [PYTHON, SCRIPTS / script, self.stack.status.grpc, *arguments],
            cwd=self.folder,
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout[-4000:]}{done.stderr[-4000:]}"
        return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("katib-client")
    image, temporary = folder / "image", folder / "tmp"
    image.mkdir()
    temporary.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        # Trials of `tune` leave their scripts there.
        patch.setenv("TMPDIR", str(temporary))
        stack = RealStack(folder / "stack", image_map=json.dumps({IMAGE: str(image)}))
        try:
            stack.up()
            yield Client(stack, folder)
        finally:
            stack.down()
            shutil.rmtree(folder, ignore_errors=True)


def test_every_public_method_is_called() -> None:
    program = (
        "import json; from kubeflow.katib import KatibClient as C;"
        "print(json.dumps([n for n in dir(C) if not n.startswith('_')]))"
    )
    done = subprocess.run([PYTHON, "-c", program], capture_output=True, text=True, check=True)
    assert sorted(json.loads(done.stdout)) == sorted(CALLED_IN)
    for method, script in CALLED_IN.items():
        assert f"client.{method}(" in (SCRIPTS / script).read_text(), method


def test_every_method_does_what_katib_says(client: Client) -> None:
    told = client("calls.py")
    assert told["waited_for"] == "V1beta1Experiment"
    assert told["trials"] == 3
    _check_end(told)
    numbers = {name: int(x) for name, x in told["assignments"].items()}
    assert len(numbers) == 5
    _check_observations(told, numbers)
    assert told["followed"][0] == "begun"
    assert told["followed"][1].startswith("loss=0.")
    assert "is Failed" in told["failure"]
    assert told["has_failed"] is True
    assert "already exists" in told["refusals"]["again"]
    assert "default/wrong" in told["refusals"]["wrong"]
    assert "default/absent" in told["refusals"]["absent"]
    assert told["left"] == ["first", "second"]


def _check_end(told: Any) -> None:
    assert [told[name] for name in ("created", "succeeded")] == [True, True]
    assert [told[name] for name in ("running", "failed", "restarting")] == [False] * 3
    assert told["conditions"] == ["Created", "Restarting", "Running", "Succeeded"]
    assert told["suggestions"] == 5
    assert told["experiments"] == told["listed_suggestions"] == ["first"]
    assert told["labels"] == {"team": "blue"}


def _check_observations(told: Any, numbers: dict[str, int]) -> None:
    """A trial with x reports 1.x, 2.x and 3.x, so the least of all is 1.(least x)."""
    best = min(numbers.items(), key=lambda item: float(f"1.{item[1]}"))
    assert told["best"] == {"trial": best[0], "x": str(best[1]), "min": _text(f"1.{best[1]}")}
    assert told["details"] == {name: _text(f"1.{x}") for name, x in numbers.items()}
    assert told["trial"] == "Succeeded"
    name = next(iter(numbers))
    assert [name_ for name_, _ in told["metrics"]] == ["loss"] * 3
    assert [float(value) for _, value in told["metrics"]] == [
        float(f"{i}.{numbers[name]}") for i in (1, 2, 3)
    ]
    assert told["log"] == [f"loss={i}.{numbers[name]}" for i in (1, 2, 3)] + ["the end"]


def _text(number: str) -> str:
    """As metrics are written: without a zero at the end."""
    return repr(float(number))


def test_a_python_function_is_tuned(client: Client) -> None:
    told = client("tuned.py", f"{IMAGE}:1.0")
    assert told["trials"] == 2
    x, kind = float(told["best"]["x"]), told["best"]["kind"]
    assert 1 <= x <= 2
    assert kind in ("a", "b")
    assert told["best"]["n"] in ("1", "2", "3")
    assert float(told["min"]) == pytest.approx(x * x / 3)
    losses = [float(line.split("loss=")[1].split()[0]) for line in told["log"]]
    assert losses == pytest.approx([x * x, x * x / 2, x * x / 3])
    assert all(line.endswith(f" {kind} 7") for line in told["log"])


def _can_mount() -> bool:
    """Whether a process can have mounts of its own here."""
    tried = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/run"]
    try:
        return subprocess.run(tried, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@pytest.mark.skipif(not _can_mount(), reason="report_metrics reads a file of a pod below /run")
def test_metrics_are_pushed_from_within_a_trial(client: Client) -> None:
    told = client("pushed.py")
    x = told["x"]
    assert told["min"] == {"loss": pytest.approx(x / 3), "step": 0}
    assert told["max"] == {"loss": x, "step": 2}
    losses = [value for name, value in told["reported"] if name == "loss"]
    steps = [value for name, value in told["reported"] if name == "step"]
    assert losses == pytest.approx([x, x / 2, x / 3])
    assert steps == [0, 1, 2]
    assert told["log"] == []
