"""The folders of checkpoints on this machine."""

# Paths are put together as the kernel does it, never normalised.
# ruff: noqa: PTH103, PTH106, PTH120, PTH208

import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress

from trialbus.ports.launcher import CheckpointFolder
from trialbus_trial_launcher.adapters.local_process import inherit


def make(folder: CheckpointFolder | None, artifacts: str) -> None:
    """So far as that takes no time: a copy is made by the run itself. Raises OSError."""
    if folder is not None:
        os.makedirs(os.path.dirname(folder.path) if folder.copy_of else folder.path, exist_ok=True)
    if artifacts:
        os.makedirs(artifacts, exist_ok=True)


def words(folder: CheckpointFolder | None, command: Sequence[str]) -> Sequence[str]:
    """What runs `command` when its copy is made. So a large one keeps only its own run waiting,
    and ends when that is stopped."""
    if folder is None or not folder.copy_of:
        return command
    script = inherit.__file__
    # Isolated from the trial's own modules and settings.
    return [sys.executable, "-I", "-S", script, folder.copy_of, folder.path, *command]


def remove(folder: str) -> None:
    """As far as it can be removed: trials may have nested folders without end."""
    shutil.rmtree(folder, ignore_errors=True)


def names_in(folder: str) -> list[str]:
    # There is none, or we may not look.
    with suppress(OSError):
        return sorted(os.listdir(folder))
    return []


def drop_empty(folders: Sequence[str]) -> None:
    for folder in folders:
        # Not empty, or gone already.
        with suppress(OSError):
            os.rmdir(folder)
