"""The wrapper of pods, built with the compiler that is there, and run beside a test's gateway."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

SOURCES = Path(__file__).parents[3] / "deploy" / "docker" / "wrapper"
WAIT_S = 30.0
# What a shell runs until the test makes this file, in the folder that it is told of.
UNTIL_GO = "until [ -e $0/go ]; do sleep 0.01; done"


def compiler() -> str | None:
    """None: there is none, or no make."""
    found = [it for it in ("musl-gcc", "gcc") if shutil.which(it)]
    return found[0] if found and shutil.which("make") and SOURCES.exists() else None


def build(folder: Path) -> Path:
    """Static, as its image has it."""
    program = folder / "trialbus-wrap"
    command = ["make", "-s", "-C", str(SOURCES), f"CC={compiler()}", f"OUT={program}"]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return program


@dataclass(slots=True)
class Ended:
    code: int
    stdout: bytes
    stderr: bytes
    told: dict[str, Any]


@dataclass(slots=True)
class Wrapped:
    """A command in the wrapper. Its `program` is left where a pod has it: below `folder`."""

    program: Path
    folder: Path
    url: str
    more: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        ours = {
            "TRIALBUS_URL": self.url,
            "TRIALBUS_TOKEN": "secret",
            "TRIALBUS_TRIAL": "tune-a",
            "TRIALBUS_ATTEMPT": "1",
            "TRIALBUS_POD_UID": "pod-1",
            "TRIALBUS_WRAP_KIND": "stdout",
            "TRIALBUS_GRACE_S": "20",
            "TRIALBUS_TERMINATION_LOG": str(self._termination_log),
            "TRIALBUS_SPOOL_DIR": str(self.folder),
        }
        inherited = {name: it for name, it in os.environ.items() if name != "TRACEPARENT"}
        return {**inherited, **ours, **self.more}

    @property
    def _termination_log(self) -> Path:
        return self.folder / "termination-log"

    def start(
        self, *command: str, stdout: int | IO[bytes] = subprocess.PIPE
    ) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [self.program, "--", *command],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def end(self, process: "subprocess.Popen[bytes]", timeout_s: float = WAIT_S) -> Ended:
        try:
            stdout, stderr = process.communicate(timeout=timeout_s)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        return Ended(process.returncode, stdout or b"", stderr, self.told())

    def run(self, *command: str, timeout_s: float = WAIT_S) -> Ended:
        return self.end(self.start(*command), timeout_s)

    def shell(self, script: str, *arguments: str) -> Ended:
        return self.run("sh", "-c", script, "sh", *arguments)

    def told(self) -> dict[str, Any]:
        """The termination message; {}: there is none."""
        path = self._termination_log
        found: dict[str, Any] = json.loads(path.read_text())["trialbus"] if path.exists() else {}
        return found


def python(code: str, *arguments: str) -> Sequence[str]:
    """A command that runs this code, without what slows Python's start."""
    return (sys.executable, "-I", "-S", "-u", "-c", code, *arguments)
