"""docs/how-to/post-events.md, as written: an experiment from an event to its best parameters."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nats
import pytest

from trialbus.testkit.real_stack import RealStack

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs/how-to/post-events.md").read_text()
EXAMPLES = REPOSITORY / "proto/events/examples"
TRIALS = 4


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[RealStack]:
    stack = RealStack(tmp_path / "one")
    try:
        stack.up()
        yield stack
    finally:
        stack.down()


def block(language: str, containing: str) -> str:
    found = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S)
    [wanted] = [text for text in found if containing in text]
    return str(wanted)


def event(name: str, verb: str = "create") -> dict[str, Any]:
    """The example of the page, with fewer trials."""
    example: dict[str, Any] = json.loads((EXAMPLES / f"{verb}-experiment.json").read_text())
    example["id"] = f"{name}-{verb}"
    example["data"]["metadata"]["name"] = name
    example["data"]["spec"]["maxTrialCount"] = TRIALS
    return example


async def run(stack: RealStack, folder: Path, *command: str) -> str:
    """What it prints. In a folder where `trialbus` means this stack."""
    status = stack.status
    if not (folder / ".trialbus").exists():
        (folder / ".trialbus").symlink_to(stack.data)
    scripts = Path(sys.executable).parent
    env = {
        **os.environ,
        "PATH": f"{scripts}:{os.environ['PATH']}",
        "NATS_URL": str(status.nats),
    }
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
async def test_the_lines_with_curl_take_an_event_to_the_best_parameters(
    stack: RealStack, tmp_path: Path
) -> None:
    (tmp_path / "create.json").write_text(json.dumps(event("curled")))
    told = await run(stack, tmp_path, "bash", "-euc", block("sh", "curl"))
    best = json.loads(told.replace("'", '"'))
    assert set(best) == {"--lr", "--num-layers", "--optimizer"}
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["result"]["phase"] == "Succeeded"
    assert result["result"]["trials"]["succeeded"] == TRIALS


async def test_the_lines_with_a_client_of_nats_do_too(stack: RealStack, tmp_path: Path) -> None:
    (tmp_path / "create.json").write_text(json.dumps(event("told")))
    (tmp_path / "client.py").write_text(block("python", "import nats"))
    lines = (await run(stack, tmp_path, sys.executable, "client.py")).splitlines()
    assert "'accepted': True" in lines[0]
    assert lines[1].startswith("io.trialbus.experiment.created.v1")
    assert lines[-1].startswith("io.trialbus.experiment.succeeded.v1")
    progress = stack.api().get("/v1/namespaces/default/experiments/told/progress")
    assert (progress["phase"], progress["trials"]["succeeded"]) == ("Succeeded", TRIALS)


async def test_who_publishes_without_waiting_for_a_reply_is_obeyed_and_told_of_a_refusal(
    stack: RealStack,
) -> None:
    bus = await nats.connect(str(stack.status.nats))
    try:
        told = await bus.subscribe("trialbus.v1.evt.default.silent.*.*")
        headers = {"content-type": "application/cloudevents+json"}
        wrong = event("silent")
        wrong["data"]["spec"]["parallelTrialCount"] = -1
        subject = "trialbus.v1.cmd.default.silent.create"
        await bus.publish(subject, json.dumps(wrong).encode(), headers=headers)
        refused = await told.next_msg(timeout=20)
        assert refused.subject.endswith("command.refused")
        assert "spec.parallelTrialCount" in json.loads(refused.data)["message"]
        await bus.publish(subject, json.dumps(event("silent")).encode(), headers=headers)
        created = await told.next_msg(timeout=20)
        assert created.subject.endswith("experiment.created")
    finally:
        await bus.close()
