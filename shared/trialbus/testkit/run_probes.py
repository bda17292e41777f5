"""Runs and processes seen from a test: through the port Launcher, and from outside by /proc."""

import os
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from pathlib import Path

from trialbus.ports.launcher import Launcher, RunPlan, RunStatus
from trialbus.testkit.waits import until

WAIT_S = 30.0


def python(code: str, *arguments: str) -> tuple[str, ...]:
    """A command that runs this code."""
    return (sys.executable, "-c", textwrap.dedent(code), *arguments)


def shell(code: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", code)


async def status_of(launcher: Launcher, run_id: str) -> RunStatus:
    return (await launcher.status([run_id]))[run_id]


async def end_of(launcher: Launcher, run_id: str) -> RunStatus:
    """Waits for the event of its end, then asks for the status, once."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if run_id in await launcher.ended(timeout_s=WAIT_S):
            return await status_of(launcher, run_id)
    raise AssertionError(f"no word of the end of {run_id}")


async def output_of(launcher: Launcher, run_id: str) -> bytes:
    return await launcher.read(run_id, 0, 1024 * 1024)


async def run(launcher: Launcher, plan: RunPlan) -> tuple[RunStatus, bytes]:
    """From its start to its end."""
    await launcher.start([plan])
    status = await end_of(launcher, plan.run_id)
    return status, await output_of(launcher, plan.run_id)


async def until_output(launcher: Launcher, run_id: str, expected: bytes) -> None:
    async def has_written() -> bool:
        return expected in await output_of(launcher, run_id)

    await until(has_written, f"output {expected!r}", within_s=WAIT_S)


def marked_processes(mark: str) -> list[int]:
    """The pid of every process with this text in its environment."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if mark.encode() in environment.read_bytes():
                found.append(int(environment.parent.name))
    return found


def is_alive(pid: int) -> bool:
    """A zombie counts as dead."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes() != b""
    return False


def zombies() -> set[str]:
    """Children of this process that ended and were not reaped."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            if (state, parent) == ("Z", str(os.getpid())):
                found.add(stat.parent.name)
    return found


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def sleeper(env: dict[str, str]) -> "subprocess.Popen[bytes]":
    """A process that does nothing, in a session of its own; the caller ends it."""
    return subprocess.Popen(["sleep", "600"], env=env, start_new_session=True)


def launcher_process(folder: Path, body: str, *arguments: str) -> "subprocess.Popen[bytes]":
    """Another process that has `launcher` over the same folder and runs `body` in a coroutine."""
    program = (
        textwrap.dedent("""
        import asyncio, os, signal, sys
        from pathlib import Path
        from trialbus.ports.launcher import RunPlan
        from trialbus_trial_launcher.adapters.local_process import LocalProcessLauncher
        async def main(launcher):
        """)
        + textwrap.indent(textwrap.dedent(body), "    ")
        + f"\nasyncio.run(main(LocalProcessLauncher(Path({str(folder)!r}))))\n"
    )
    path = os.pathsep.join(sys.path)
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments], env={**os.environ, "PYTHONPATH": path}
    )
