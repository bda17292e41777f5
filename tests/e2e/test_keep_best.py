"""`trialbus.io/keep-best` on one machine: what the best trials saved stays, the rest goes."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from trialbus.testkit.real_stack import RealStack
from trialbus.testkit.waits import until

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]

# Saves a checkpoint; leaves an artifact only if its number is even.
PROGRAM = """
import os, pathlib
n = int('${trialParameters.n}')
(pathlib.Path(os.environ['TRIALBUS_CHECKPOINT']) / 'model').write_text(str(n))
if n % 2 == 0:
    (pathlib.Path(os.environ['TRIALBUS_ARTIFACTS']) / 'plot').write_text(str(n))
print(f'loss={n}')
"""


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[RealStack]:
    stack = RealStack(tmp_path / "one")
    try:
        stack.up()
        yield stack
    finally:
        stack.down()


def experiment(name: str, **annotations: str) -> dict[str, Any]:
    """The eight numbers from 1, in their order."""
    container = {"name": "main", "image": "none", "command": ["python3", "-c", PROGRAM]}
    pod = {"spec": {"containers": [container], "restartPolicy": "Never"}}
    numbers = {"name": "n", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "8"}}
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {
            "objective": {"type": "minimize", "objectiveMetricName": "loss"},
            "algorithm": {"algorithmName": "grid"},
            "parallelTrialCount": 2,
            "maxTrialCount": 8,
            "parameters": [numbers],
            "trialTemplate": {
                "primaryContainerName": "main",
                "trialParameters": [{"name": "n", "reference": "n"}],
                "trialSpec": {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": pod}},
            },
        },
    }


async def left(stack: RealStack, name: str) -> dict[str, set[str]]:
    """What files say that lie in folders of the experiment's trials, and how many folders."""
    progress = stack.api().get(f"/v1/namespaces/default/experiments/{name}/progress")
    assert progress["phase"] == "Succeeded"
    found = {}
    for kind, file in (("checkpoints", "model"), ("artifacts", "plot")):
        folder = stack.data / kind / progress["uid"]
        found[kind] = {(it / file).read_text() for it in folder.iterdir()}
    return found


async def test_what_the_best_trials_saved_stays_and_empty_folders_go(stack: RealStack) -> None:
    for name, annotations in (("some", {"trialbus.io/keep-best": "3"}), ("all", {})):
        done = await stack.cli("apply", "-f", stack.write(experiment(name, **annotations)))
        assert done.code == 0, done.err
        assert (await stack.cli("wait", name, "--timeout", "60")).code == 0
    uid = stack.api().get("/v1/namespaces/default/experiments/some/progress")["uid"]
    folder = stack.data / "checkpoints" / uid
    await until(lambda: len(list(folder.iterdir())) == 3, "the others are removed")
    some = stack.data / "artifacts" / uid
    await until(lambda: len(list(some.iterdir())) == 1, "their artifacts, and empty folders, too")
    assert await left(stack, "some") == {"checkpoints": {"1", "2", "3"}, "artifacts": {"2"}}
    uid = stack.api().get("/v1/namespaces/default/experiments/all/progress")["uid"]
    everything = stack.data / "artifacts" / uid
    await until(lambda: len(list(everything.iterdir())) == 4, "empty folders go")
    assert await left(stack, "all") == {
        "checkpoints": set("12345678"),
        "artifacts": {"2", "4", "6", "8"},
    }
    assert (await stack.cli("delete", "some")).code == 0
    await until(lambda: not some.exists() and not folder.exists(), "a deletion removes them all")
