"""Trials out of an experiment into files, and back into others, as a user does it."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trialbus.testkit.real_stack import RealStack

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealStack]:
    """One for all: they use different names."""
    stack = RealStack(tmp_path_factory.mktemp("files") / "one")
    try:
        stack.up()
        yield stack
    finally:
        stack.down()


def experiment(name: str, **annotations: str) -> dict[str, Any]:
    """Six trials that report (x - 1)^2 after a worse value."""
    program = "x = ${trialParameters.x}; print(f'loss={(x-1)**2 + 1}'); print(f'loss={(x-1)**2}')"
    container = {"name": "main", "image": "none", "command": ["python3", "-c", program]}
    pod = {"spec": {"containers": [container], "restartPolicy": "Never"}}
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {
            "name": name,
            "annotations": {f"trialbus.io/{it}": text for it, text in annotations.items()},
        },
        "spec": {
            "objective": {"type": "minimize", "objectiveMetricName": "loss"},
            "algorithm": {"algorithmName": "random"},
            "parallelTrialCount": 3,
            "maxTrialCount": 6,
            "parameters": [
                {
                    "name": "x",
                    "parameterType": "double",
                    "feasibleSpace": {"min": "-5", "max": "5"},
                }
            ],
            "trialTemplate": {
                "primaryContainerName": "main",
                "trialParameters": [{"name": "x", "reference": "x"}],
                "trialSpec": {
                    "apiVersion": "batch/v1",
                    "kind": "Job",
                    "spec": {"template": pod},
                },
            },
        },
    }


async def told(stack: RealStack, *arguments: str) -> str:
    done = await stack.cli(*arguments)
    assert done.code == 0, done.err
    return done.out


async def test_trials_go_out_and_come_back_the_same(stack: RealStack, tmp_path: Path) -> None:
    await told(stack, "apply", "-f", stack.write(experiment("tune")))
    await told(stack, "wait", "tune", "--timeout", "60")
    rows = list(csv.DictReader((await told(stack, "export", "tune")).splitlines()))
    assert [row["index"] for row in rows] == [str(it) for it in range(6)]
    for row in rows:
        assert float(row["value"]) == (float(row["parameters.x"]) - 1) ** 2
        assert float(row["metrics.loss.max"]) == float(row["value"]) + 1
        assert (row["state"], row["attempt"]) == ("Succeeded", "1")
    for ending in ("csv", "jsonl", "parquet"):
        file, name = str(tmp_path / f"trials.{ending}"), f"from-{ending}"
        await told(stack, "export", "tune", "-o", file)
        bring = ("import", file, "--name", name, "--objective", "loss", "--minimize")
        assert "6 trials are there" in await told(stack, *bring)
        assert "6 trials are there" in await told(stack, *bring)  # again is the same
        again = list(csv.DictReader((await told(stack, "export", name)).splitlines()))
        for there, here in zip(rows, again, strict=True):
            assert here | {"trial": ""} == there | {"trial": ""}
        progress = stack.api().get(f"/v1/namespaces/default/experiments/{name}/progress")
        assert (progress["phase"], progress["reason"]) == ("Succeeded", "ExperimentImported")
    other = tmp_path / "other.csv"
    other.write_text("x,loss\n1,2\n4,3\n")
    refused = await stack.cli(
        "import", str(other), "--name", "from-csv", "--objective", "loss", "--minimize"
    )
    assert refused.code == 2, refused.err
    misnamed = await stack.cli(
        "import", file, "--name", "misnamed", "--objective", "error", "--minimize"
    )
    assert (misnamed.code, "no metric is error" in misnamed.err) == (2, True)


async def test_a_table_of_another_program_becomes_an_experiment(
    stack: RealStack, tmp_path: Path
) -> None:
    """Larger than a portion, so that it comes in several."""
    table = tmp_path / "sweep.csv"
    lines = [f"{i / 10},{['sgd', 'adam'][i % 2]},{(i - 700) ** 2}" for i in range(1200)]
    table.write_text("\n".join(["lr,optimizer,error", *lines]) + "\n")
    await told(stack, "import", str(table), "--name", "sweep", "--objective", "error", "--minimize")
    shown = json.loads(await told(stack, "get", "experiments", "sweep", "-o", "json"))
    best = shown["status"]["currentOptimalTrial"]
    assert shown["status"]["trials"] == 1200
    assert best["parameterAssignments"] == [
        {"name": "lr", "value": "70.0"},
        {"name": "optimizer", "value": "sgd"},
    ]


async def test_an_experiment_begins_with_what_another_has_found(
    stack: RealStack, tmp_path: Path
) -> None:
    """Two hundred trials of another program: from the first trial on it is near their best."""
    table = tmp_path / "known.csv"
    points = [-5 + i / 20 for i in range(200)]
    table.write_text("\n".join(["x,loss", *(f"{x},{(x - 1) ** 2}" for x in points)]) + "\n")
    made = experiment("warm")
    made["spec"]["algorithm"]["algorithmName"] = "tpe"
    applied = await told(stack, "apply", "-f", stack.write(made), "--warm-start", str(table))
    assert "default/warm-warm: 200 trials are there" in applied
    await told(stack, "delete", "warm-warm")
    await told(stack, "wait", "warm", "--timeout", "60")
    rows = list(csv.DictReader((await told(stack, "export", "warm")).splitlines()))
    assert len(rows) == 6
    # The mean of six points drawn at random would be 9.3.
    assert sum(float(row["value"]) for row in rows) / 6 < 2.0
    assert "it began with 200 trials of warm-warm" in await told(stack, "explain", "warm")
