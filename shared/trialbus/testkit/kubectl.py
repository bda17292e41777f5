"""The real kubectl, on a real stack."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trialbus.testkit.real_stack import RealStack

# Some wait for an experiment's end.
COMMAND_DEADLINE_S = 150.0


class Kubectl:
    """Commands with a home and a kubeconfig of their own."""

    def __init__(self, stack: RealStack, folder: Path, namespace: str) -> None:
        self.stack = stack
        self.folder = folder
        config = folder / "kubeconfig"
        done = stack.call("kubeconfig", "-n", namespace, "--write", str(config))
        assert done.code == 0, done.err
        self._environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "KUBECONFIG": str(config),
        }

    def call(
        self, *arguments: str, text: str | None = None, **environ: str
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["kubectl", *arguments],
            cwd=self.folder,
            env=self._environ | environ,
            input=text,
            capture_output=True,
            text=True,
            timeout=COMMAND_DEADLINE_S,
            check=False,
        )

    def __call__(self, *arguments: str, text: str | None = None, **environ: str) -> str:
        """What a command that must succeed prints."""
        done = self.call(*arguments, text=text, **environ)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def refused(self, *arguments: str, text: str | None = None) -> str:
        """What a command that must fail says."""
        done = self.call(*arguments, text=text)
        assert done.returncode != 0, done.stdout
        return done.stderr

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "-o", "json"))

    def rows(self, *arguments: str) -> list[list[str]]:
        return [line.split() for line in self(*arguments).splitlines()]

    @contextmanager
    def going(self, *arguments: str) -> Iterator[Path]:
        """A command that goes on until the end of the block; the file that it writes to."""
        path = self.folder / f"{arguments[0]}.{os.urandom(4).hex()}"
        with path.open("wb") as output:
            process = subprocess.Popen(
                ["kubectl", *arguments],
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield path
        finally:
            # A dispatcher starts another program.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
