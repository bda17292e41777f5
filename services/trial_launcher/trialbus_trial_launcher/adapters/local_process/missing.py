"""What a command needs and this machine does not have, found before anything runs."""

# Names are put together as the shell and the kernel do it, never normalised.
# ruff: noqa: PTH110, PTH112, PTH113, PTH118, PTH119, PTH120

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from trialbus.kernel.images import LocalImages, without_tag
from trialbus.ports.launcher import RunPlan

NOT_FOUND = 127
NOT_EXECUTABLE = 126

# Programs whose first word is a script, and their options that take no word of their own: behind
# any other option a word may be anything.
_INTERPRETERS = (
    (re.compile(r"python[0-9.]*"), re.compile(r"-[bBdEiIOPqRsSuvx]+")),
    (re.compile(r"(?:ba|da|k|z|a)?sh"), re.compile(r"-[aefhnuvx]+")),
)


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
        text = f"working folder not found: {folder!r}{_hint(folder, folder, plan, images)}"
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
        text = f"command not found: {name!r}{_hint(name, os.path.dirname(name), plan, images)}"
        return Problem(exit_code=NOT_FOUND, message=text)
    script = _script(command)
    if script is not None and not os.path.exists(os.path.join(folder or ".", script)):
        text = f"file not found: {script!r}{_hint(script, os.path.dirname(script), plan, images)}"
        return Problem(exit_code=NOT_FOUND, message=text)
    return None


def places(name: str, path: str, working_dir: str | None) -> list[str]:
    """Where a command of this name is looked for, as the wrapper will do in `working_dir`."""
    base = working_dir or "."
    if "/" in name:
        return [os.path.join(base, name)]
    return [os.path.join(base, folder, name) for folder in path.split(":")]


def _script(command: Sequence[str]) -> str | None:
    """The file that an interpreter is told to run; None if it is told something else."""
    name = os.path.basename(command[0])
    for program, option in _INTERPRETERS:
        if not program.fullmatch(name):
            continue
        words = command[1:]
        while words and option.fullmatch(words[0]):
            words = words[1:]
        if words and words[0] and not words[0].startswith("-"):
            # A shell looks for a name without a folder on PATH, too.
            return words[0] if "/" in words[0] or name.startswith("python") else None
    return None


def _hint(missed: str, folder: str, plan: RunPlan, images: LocalImages) -> str:
    """What to say to this program so that it knows where the image's files are here."""
    if not plan.image:
        return ""
    for theirs, ours in images.paths.items():
        if missed == ours or missed.startswith(f"{ours.rstrip('/')}/"):
            return f" (--map-path says that {theirs} is {ours})"
    image = images.find(plan.image)
    if image is not None and missed.startswith(image.folder):
        return f" (--map-image says that {plan.image} is {image.folder})"
    if missed.startswith("/"):
        place = f"{folder}=DIR" if folder.strip("/") else f"{missed}=FILE"
        return f"; if it is in the image {plan.image}, say where it is here: --map-path {place}"
    if image is not None:
        return f" (--map-image says that {plan.image} is {image.folder})"
    return (
        f"; if it is in the image {plan.image}, say which folder stands for that: "
        f"--map-image {without_tag(plan.image)}=DIR"
    )
