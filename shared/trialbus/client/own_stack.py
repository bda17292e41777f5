"""A stack that is there for this process only: it ends with it, however it ends."""

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from trialbus.client.addresses import gateway_of
from trialbus.client.client import Client
from trialbus.client.failures import TrialbusError, Unauthorised, Unavailable

# Its journal may have to be read again, on a slow disk.
START_DEADLINE_S = 120.0
STOP_DEADLINE_S = 60.0
LOOK_S = 0.05
LOG_LINES = 8


def running_on(folder: Path) -> str | None:
    """The address of the stack that runs on a data folder; None: none does."""
    url = gateway_of(folder)
    if url is None:
        return None
    try:
        with Client(url, timeout=1.0) as client:
            client.status()
    except Unauthorised:
        return url  # it runs, and whoever uses it is told what it wants
    except TrialbusError:
        return None
    return url


@contextmanager
def own_stack(
    data_dir: str | os.PathLike[str] | None, say: Callable[[str], object]
) -> Iterator[str]:
    """The address of a stack on data_dir, started if none runs there; None: on a folder that is
    removed at the end. Raises Unavailable."""
    folder = Path(tempfile.mkdtemp(prefix="trialbus-") if data_dir is None else data_dir)
    try:
        found = None if data_dir is None else running_on(folder)
        if found is not None:
            yield found
            return
        say("starting a stack of its own")
        with _supervised(folder.absolute()) as url:
            yield url
    finally:
        if data_dir is None:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _supervised(folder: Path) -> Iterator[str]:
    logs = folder / "logs"
    logs.mkdir(parents=True, exist_ok=True, mode=0o700)
    # -P: a folder with modules of the user's must not come before ours.
    command = [sys.executable, "-P", "-m", "trialbus.local.supervisor"]
    with (logs / "supervisor.log").open("ab") as log:
        process = subprocess.Popen(
            # Owned: it ends when its stdin closes, so also when this process is killed.
            [*command, "--data-dir", str(folder), "--owned"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for us alone
        )
    try:
        _begun(process, Path(log.name))
        yield _answering(process, folder)
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.close()
        process.stdout.close()
        try:
            process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _begun(process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Raises Unavailable with the reasons."""
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], START_DEADLINE_S)
    line = process.stdout.readline() if readable else b""
    answer: dict[str, Any] = json.loads(line) if line else {}
    if "started" in answer:
        return
    reasons = answer.get("refused") or _log_end(log)
    raise Unavailable("\n".join(["the stack did not start:", *map(str, reasons)]))


def _log_end(log: Path) -> list[str]:
    lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:]
    if any("ModuleNotFoundError" in line for line in lines):
        lines.append("what it needs comes with: pip install 'trialbus[local]'")
    return lines


def _answering(process: "subprocess.Popen[bytes]", folder: Path) -> str:
    """Raises Unavailable."""
    deadline = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < deadline and process.poll() is None:
        if (url := running_on(folder)) is not None:
            return url
        time.sleep(LOOK_S)
    raise Unavailable(f"the gateway of the stack on {folder} does not answer")
