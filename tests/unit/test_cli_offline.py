"""A wrong file is refused before anything starts, with every problem, at once."""

import resource
import shlex
import subprocess
from pathlib import Path

import pytest

from trialbus.testkit.programs import TRIALBUS, program_environ

WRONG = """
apiVersion: kubeflow.org/v1beta1
kind: Experiment
metadata:
  name: wrong
spec:
  maxTrialCount: -1
  objective: {type: maxi, objectiveMetricName: loss}
  algorithm: {algorithmName: randm}
  parameters:
    - name: x
      parameterType: double
      feasibleSpace: {min: "2", max: "1"}
"""
# Of the processor, so that a busy machine changes nothing.
DEADLINE_S = 1.0


def _run(
    folder: Path, *arguments: str, text: str | None = None
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*TRIALBUS, *arguments],
        cwd=folder,
        env=program_environ(folder / "environ"),
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_wrong_file_is_refused_within_a_second_with_every_problem(tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text(WRONG)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = _run(tmp_path, "run", "wrong.yaml")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert result.returncode == 2, result.stderr
    for field in ("maxTrialCount", "objective.type", "algorithmName", "parameters[0]"):
        assert field in result.stderr
    assert result.stdout == ""
    took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert took < DEADLINE_S
    assert not (tmp_path / ".trialbus").exists()


@pytest.mark.parametrize("command", [["run", "-"], ["run", "-", "--json"], ["apply", "-f", "-"]])
@pytest.mark.parametrize(
    "text",
    [
        "a: [1",
        "- 1",
        "",
        "a: !!python/object/apply:os.system [id]",
        "a: &a [1, 1]\n" + "".join(f"{n}: &b{n} [*a, *a]\n" for n in range(9000)),
        "kind: Pod",
    ],
)
def test_what_is_no_experiment_is_refused(tmp_path: Path, command: list[str], text: str) -> None:
    result = _run(tmp_path, *command, text=text)
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    assert "stdin is refused:" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / ".trialbus").exists()


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    result = _run(tmp_path, "run", "gone.yaml")
    assert (result.returncode, result.stderr) == (
        2,
        "cannot read gone.yaml: No such file or directory\n",
    )


def test_a_missing_server_is_named_with_its_remedy_before_anything_starts(
    tmp_path: Path,
) -> None:
    good = WRONG.replace("-1", "9").replace("maxi", "maximize").replace("randm", "random")
    (tmp_path / "good.yaml").write_text(good.replace('"2"', '"0"'))
    environ = program_environ(tmp_path / "environ")
    result = subprocess.run(
        [*TRIALBUS, "run", "good.yaml"],
        cwd=tmp_path,
        env=environ | {"TRIALBUS_MONGOD_BIN": "/nowhere/mongod"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 1
    assert "mongod is not at /nowhere/mongod" in result.stderr
    assert not (tmp_path / ".trialbus/nats").exists()
    assert not (tmp_path / ".trialbus/mongod").exists()


def test_a_command_without_a_stack_says_how_to_start_one(tmp_path: Path) -> None:
    result = _run(tmp_path, "get", "experiments")
    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        f"no stack runs on {tmp_path}/.trialbus",
        f"start one with: {shlex.join([*TRIALBUS, 'up'])}",
        f"and then again: {shlex.join([*TRIALBUS, 'get', 'experiments'])}",
    ]
