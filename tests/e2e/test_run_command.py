"""`trialbus run` as a user has it: everything real, in a folder that is empty before."""

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from trialbus.testkit.programs import REPOSITORY, TRIALBUS, program_environ
from trialbus.testkit.waits import until_sync

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

ACCURACY = 0.95
RUN = ("run", "quick-start.yaml")
# Each trial waits until the test lets it go, so a test can interrupt in the midst.
GATED = """
apiVersion: kubeflow.org/v1beta1
kind: Experiment
metadata: {name: gated}
spec:
  objective: {type: minimize, objectiveMetricName: loss}
  algorithm: {algorithmName: random}
  parallelTrialCount: 2
  maxTrialCount: 6
  parameters:
    - {name: x, parameterType: double, feasibleSpace: {min: "0", max: "1"}}
  trialTemplate:
    primaryContainerName: main
    trialParameters: [{name: x, reference: x}]
    trialSpec:
      apiVersion: batch/v1
      kind: Job
      spec:
        template:
          spec:
            restartPolicy: Never
            containers:
              - name: main
                image: none
                command:
                  - sh
                  - -c
                  - 'echo start >> starts; until test -e gate; do sleep 0.05; done; echo loss=$0'
                  - ${trialParameters.x}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Holds the example; whatever still runs on it at the end is ended."""
    shutil.copy(REPOSITORY / "examples/quick-start.yaml", tmp_path)
    yield tmp_path
    for pid in _processes_of(tmp_path):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _processes_of(folder: Path) -> dict[int, str]:
    """Pid -> command line, of those that name the folder in it, or work there."""
    found = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            command = " ".join(process.cmdline())
            if str(folder) in command or Path(process.cwd()).is_relative_to(folder):
                found[process.pid] = command
    return found


def assert_nothing_left(folder: Path) -> None:
    """The supervisor frees the folder just before its own last moments."""
    until_sync(lambda: not _processes_of(folder), "nothing left", within_s=30)


def _start(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*TRIALBUS, *arguments],
        cwd=folder,
        env=program_environ(folder / "environ"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _finish(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = process.communicate(timeout=200)
    return process.returncode, out, err


def _best(experiment: dict[str, Any], metric: str) -> float:
    metrics = experiment["status"]["currentOptimalTrial"]["observation"]["metrics"]
    return next(float(each["latest"]) for each in metrics if each["name"] == metric)


def _starts(folder: Path) -> int:
    file = folder / "starts"
    return len(file.read_text().splitlines()) if file.exists() else 0


def test_the_tutorials_experiment_runs_to_its_best_trial_and_leaves_nothing(folder: Path) -> None:
    code, out, err = _finish(_start(folder, *RUN, "--json"))
    assert code == 0, err
    experiment = json.loads(out)
    assert experiment["apiVersion"] == "kubeflow.org/v1beta1"
    assert experiment["status"]["conditions"][-1]["type"] == "Succeeded"
    assert _best(experiment, "Validation-accuracy") >= ACCURACY
    assert "Repeat it with:" in err
    assert_nothing_left(folder)
    # The same again: the result is there, and nothing is run.
    trials = experiment["status"]["trials"]
    code, out, err = _finish(_start(folder, *RUN, "--json"))
    assert code == 0, err
    assert json.loads(out)["status"]["trials"] == trials
    assert "--anew" in err


def test_an_interrupted_run_goes_on_where_it_stopped(folder: Path) -> None:
    (folder / "gated.yaml").write_text(GATED)
    first = _start(folder, "run", "gated.yaml")
    until_sync(lambda: _starts(folder) == 2, "two trials run", within_s=100)
    first.send_signal(signal.SIGINT)
    code, out, err = _finish(first)
    assert code == 130, err
    assert f"go on with: {shlex.join([*TRIALBUS, 'run', 'gated.yaml'])}" in out
    assert_nothing_left(folder)
    (folder / "gate").touch()
    code, out, err = _finish(_start(folder, "run", "gated.yaml", "--json"))
    assert code == 0, err
    status = json.loads(out)["status"]
    assert status["trials"] == status["trialsSucceeded"] == 6
    # The two that were stopped ran again.
    assert _starts(folder) == 8


def test_a_stack_that_is_up_serves_the_other_commands(folder: Path) -> None:
    (folder / "gated.yaml").write_text(GATED)
    (folder / "gate").touch()

    def command(*arguments: str) -> str:
        code, out, err = _finish(_start(folder, *arguments))
        assert code == 0, f"{arguments}: {err}"
        return out

    command("up")
    try:
        status = json.loads(command("status", "--json"))
        assert {each["state"] for each in status["services"].values()} == {"ready"}
        assert command("apply", "-f", "gated.yaml") == "default/gated created\n"
        command("wait", "gated", "--for=Succeeded", "--timeout=60s")
        trials = json.loads(command("get", "trials", "-o", "json"))["items"]
        assert len(trials) == 6
        name = trials[0]["metadata"]["name"]
        assert command("logs", name).startswith("loss=")
        assert "succeeded" in command("explain", name)
        # Events follow what is stored.
        until_sync(lambda: "experiment.succeeded" in command("events", "gated"), "its last event")
        command("delete", "gated")
        command("wait", "gated", "--for=Deleted", "--timeout=60s")
    finally:
        command("down")
    assert_nothing_left(folder)


def test_two_runs_at_once_share_a_stack_that_ends_with_the_last(folder: Path) -> None:
    (folder / "gated.yaml").write_text(GATED)
    (folder / "other.yaml").write_text(GATED.replace("name: gated", "name: other"))
    runs = [_start(folder, "run", name) for name in ("gated.yaml", "other.yaml")]
    until_sync(lambda: _starts(folder) == 4, "both run two trials", within_s=100)
    (folder / "gate").touch()
    assert [_finish(run)[0] for run in runs] == [0, 0]
    until_sync(lambda: not _processes_of(folder), "all is over", within_s=30)


def test_a_killed_run_takes_its_stack_with_it(folder: Path) -> None:
    (folder / "gated.yaml").write_text(GATED)
    run = _start(folder, "run", "gated.yaml")
    until_sync(lambda: _starts(folder) == 2, "two trials run", within_s=100)
    os.kill(run.pid, signal.SIGKILL)
    run.communicate()

    def only_trials() -> bool:
        commands = _processes_of(folder).values()
        return not [each for each in commands if "supervisor" in each or "mongod" in each]

    until_sync(only_trials, "the stack is gone", within_s=30)
    # Its trials go on; the next run takes them over instead of starting them again.
    (folder / "gate").touch()
    code, out, err = _finish(_start(folder, "run", "gated.yaml", "--json"))
    assert code == 0, err
    assert json.loads(out)["status"]["trialsSucceeded"] == 6
    assert _starts(folder) == 6
