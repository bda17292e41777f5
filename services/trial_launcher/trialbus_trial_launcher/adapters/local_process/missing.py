"""What a command needs and this machine does not have, found before anything runs."""

# Names are put together as the shell and the kernel do it, never normalised.
# ruff: noqa: PTH109, PTH110, PTH112, PTH113, PTH117, PTH118

import os
from dataclasses import dataclass

from trialbus.kernel.images import LocalImages
from trialbus.kernel.local_processes import script_at
from trialbus.ports.launcher import RunPlan

NOT_FOUND = 127
NOT_EXECUTABLE = 126


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a command cannot start, as an exit code that shells use and a message for people."""

    exit_code: int
    message: str


def problem_of(plan: RunPlan, path: str, images: LocalImages) -> Problem | None:
    """What is wrong; None if all looks well. path: folders of programs, as in PATH."""
    command, folder = plan.command, plan.working_dir
    if not command or not command[0]:
        return Problem(exit_code=NOT_FOUND, message="the command is empty")
    if any("\0" in part for part in (*command, folder or "")):
        return Problem(exit_code=NOT_EXECUTABLE, message="the command contains a NUL character")
    if folder is not None and not os.path.isdir(folder):
        text = f"working folder not found: {folder!r}{images.hint(folder, plan.image, folder=True)}"
        return Problem(exit_code=NOT_EXECUTABLE, message=text)
    if folder is not None and not os.access(folder, os.X_OK):
        return Problem(
            exit_code=NOT_EXECUTABLE, message=f"working folder not accessible: {folder!r}"
        )
    name = command[0]
    found = [place for place in places(name, path, folder) if os.path.exists(place)]
    if not any(os.path.isfile(place) and os.access(place, os.X_OK) for place in found):
        if found:
            return Problem(exit_code=NOT_EXECUTABLE, message=f"not executable: {name!r}")
        text = f"command not found: {name!r}{images.hint(name, plan.image)}"
        return Problem(exit_code=NOT_FOUND, message=text)
    at = script_at(command)
    if at is not None and not os.path.exists(os.path.join(folder or ".", command[at])):
        file = command[at]
        text = f"file not found: {file!r}{_where(file, folder)}{images.hint(file, plan.image)}"
        return Problem(exit_code=NOT_FOUND, message=text)
    return None


def _where(file: str, folder: str | None) -> str:
    """The folder that a relative file was looked for in."""
    return "" if os.path.isabs(file) else f" in {folder or os.getcwd()!r}"


def places(name: str, path: str, working_dir: str | None) -> list[str]:
    """Where a command of this name is looked for, as the wrapper will do in `working_dir`."""
    base = working_dir or "."
    if "/" in name:
        return [os.path.join(base, name)]
    return [os.path.join(base, folder, name) for folder in path.split(":")]
