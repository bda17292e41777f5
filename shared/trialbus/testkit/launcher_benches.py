"""Places where runs execute, for the contract of launchers: real processes and simulated ones."""

import shlex
import time
from pathlib import Path
from typing import Protocol

from trialbus.ports.launcher import Launcher, RunPlan, RunState, RunStatus
from trialbus.testkit.memory_launcher import MemoryWorld, Script
from trialbus.testkit.waits import until
from trialbus_trial_launcher.adapters.local_process import LocalProcessLauncher

WAIT_S = 20.0


class Bench(Protocol):
    """One place where runs execute, and the means to put a script there."""

    def launcher(self) -> Launcher: ...

    def crash(self, launcher: Launcher) -> None:
        """The launcher is gone without a word; the place is not."""

    def plan(self, run_id: str, script: Script, *, deadline_s: float | None = None) -> RunPlan: ...

    def starts(self, run_id: str) -> int:
        """How often the script was executed."""


class MemoryBench:
    def __init__(self) -> None:
        self._scripts: dict[str, Script] = {}
        self._world = MemoryWorld(lambda run_id, _plan: self._scripts[run_id])

    def launcher(self) -> Launcher:
        return self._world.launcher()

    def crash(self, launcher: Launcher) -> None:
        launcher.crash()  # type: ignore[attr-defined]

    def plan(self, run_id: str, script: Script, *, deadline_s: float | None = None) -> RunPlan:
        self._scripts[run_id] = script
        return RunPlan(
            run_id=run_id,
            command=("scripted",),
            deadline_s=deadline_s,
            files={"beside.txt": "a note\n"},
        )

    def starts(self, run_id: str) -> int:
        return self._world.starts[run_id]


class LocalBench:
    """Scripts become shell scripts; each execution adds a line to a probe file.

    A crashed launcher is one that is never asked again (and closed at the end of the test)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def launcher(self) -> Launcher:
        return LocalProcessLauncher(self._folder / "runs")

    def crash(self, launcher: Launcher) -> None:
        pass

    def plan(self, run_id: str, script: Script, *, deadline_s: float | None = None) -> RunPlan:
        lines = [f"echo started >> {shlex.quote(str(self._probe(run_id)))}"]
        if script.ignores_sigterm:
            lines.append("trap '' TERM")
        at = 0.0
        said = [(after_s, "", data) for after_s, data in script.output]
        for after_s, path, data in sorted((*said, *script.files), key=lambda it: it[0]):
            lines += [f"sleep {after_s - at}"] if after_s > at else []
            lines.append(f"printf %s {shlex.quote(data.decode())}{_to(path)}")
            at = after_s
        if script.duration_s is None:
            lines.append("exec sleep 600")
        elif script.duration_s > at:
            lines.append(f"sleep {script.duration_s - at}")
        if script.is_lost:
            lines += ["kill -9 $PPID", "exec sleep 600"]
        elif script.signal is not None:
            lines.append(f"kill -{script.signal} $$")
        else:
            lines.append(f"exit {script.exit_code}")
        command = ("/bin/sh", "-c", "\n".join(lines))
        return RunPlan(
            run_id=run_id,
            command=command,
            deadline_s=deadline_s,
            folders=tuple(str(Path(path).parent) for _, path, _ in script.files),
            files={"beside.txt": "a note\n"},
        )

    def starts(self, run_id: str) -> int:
        probe = self._probe(run_id)
        return probe.read_text().count("started") if probe.exists() else 0

    def _probe(self, run_id: str) -> Path:
        return self._folder / f"{run_id}.probe"


def _to(path: str) -> str:
    """Where `printf` writes: the output, or a private file."""
    if not path:
        return ""
    folder = '"$TRIALBUS_RUN_FOLDER/private"'
    return f" >> {folder}/{path} || exit 99"


async def status_of(launcher: Launcher, run_id: str) -> RunStatus:
    return (await launcher.status([run_id]))[run_id]


async def ended_status(launcher: Launcher, run_id: str) -> RunStatus:
    async def is_over() -> bool:
        return (await status_of(launcher, run_id)).state is not RunState.RUNNING

    await until(is_over, f"{run_id} ends", within_s=WAIT_S)
    return await status_of(launcher, run_id)


async def wait_for_end(launcher: Launcher, run_id: str) -> RunStatus:
    """By the event alone: asks for the status once, after it."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if run_id in await launcher.ended(timeout_s=WAIT_S):
            return await status_of(launcher, run_id)
    raise AssertionError(f"no word of the end of {run_id}")


async def wait_for_output(launcher: Launcher, run_id: str, expected: bytes) -> None:
    async def has_written() -> bool:
        return await launcher.read(run_id, 0, 1000) == expected

    await until(has_written, f"{run_id} writes {expected!r}", within_s=WAIT_S)
