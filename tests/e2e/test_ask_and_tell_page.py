"""docs/how-to/ask-and-tell.md, as written: from an event to the best parameters."""

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

import pytest

from trialbus.testkit.real_stack import RealStack
from trialbus.testkit.waits import until

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]

PAGE = (Path(__file__).resolve().parents[2] / "docs/how-to/ask-and-tell.md").read_text()
TRIALS = 20


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[RealStack]:
    stack = RealStack(tmp_path / "one")
    try:
        stack.up()
        (tmp_path / ".trialbus").symlink_to(stack.data)
        (tmp_path / "create.json").write_text(block("json", "parabola"))
        yield stack
    finally:
        stack.down()


def block(language: str, containing: str) -> str:
    found = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S)
    [wanted] = [text for text in found if containing in text]
    return str(wanted)


async def run(stack: RealStack, folder: Path, *command: str) -> str:
    """What it prints, where `trialbus` means this stack."""
    scripts = Path(sys.executable).parent
    env = {
        **os.environ,
        "PATH": f"{scripts}:{os.environ['PATH']}",
        "NATS_URL": str(stack.status.nats),
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


async def progress(stack: RealStack) -> Any:
    api, path = stack.api(), "/v1/namespaces/default/experiments/parabola/progress"
    await until(lambda: api.get(path)["phase"] == "Succeeded", "it has succeeded", within_s=30)
    return api.get(path)


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="no curl, no jq")
async def test_the_loop_with_curl_finds_the_best(stack: RealStack, tmp_path: Path) -> None:
    best = json.loads(await run(stack, tmp_path, "bash", "-euc", block("sh", "say ask")))
    assert abs(float(best["parameters"]["x"]) - 2) < 2.5
    told = await progress(stack)
    assert (told["phase"], told["trials"]["succeeded"]) == ("Succeeded", TRIALS)
    assert told["best"]["parameters"] == best["parameters"]


async def test_the_loop_with_a_client_of_nats_finds_the_best(
    stack: RealStack, tmp_path: Path
) -> None:
    (tmp_path / "worker.py").write_text(block("python", "import nats"))
    loss, parameters = json.loads(await run(stack, tmp_path, sys.executable, "worker.py"))
    told = await progress(stack)
    assert (told["phase"], told["trials"]["succeeded"]) == ("Succeeded", TRIALS)
    assert told["best"]["value"] == pytest.approx(loss)
    assert float(told["best"]["parameters"]["x"]) == pytest.approx(parameters["x"])
