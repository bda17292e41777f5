"""A container's process as one machine runs it: with its folders, programs and paths there."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trialbus.kernel.errors import Problem, Refused
from trialbus.kernel.images import ImageFolder, LocalImages, LocalPaths, without_tag
from trialbus.kernel.job_templates import JobProcess, read_job
from trialbus.kernel.spec import TrialTemplate

Json = Any

# As the first word of a command these mean the configured interpreter.
_PYTHONS = frozenset({"python", "python3"})
# Programs whose first word is a script, and their options that take no word of their own: behind
# any other option a word may be anything.
_INTERPRETERS = (
    (re.compile(r"python[0-9.]*"), re.compile(r"-[bBdEiIOPqRsSuvx]+")),
    (re.compile(r"(?:ba|da|k|z|a)?sh"), re.compile(r"-[aefhnuvx]+")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """images: None where they are not known, as when a file is only read. working_dir: where
    relative paths begin, but for images with a folder of their own. private: path in the
    container -> local path, of this run alone."""

    interpreter: str
    working_dir: str | None = None
    images: LocalImages | None = None
    private: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalProcess:
    """search_path: folders that come first on PATH. image: whose container it would be."""

    command: tuple[str, ...]
    env: Mapping[str, str]
    working_dir: str | None
    search_path: tuple[str, ...] = ()
    image: str = ""


def localised(process: JobProcess, env: Mapping[str, str], around: Surroundings) -> LocalProcess:
    """`process` without placeholders, with `env` as its variables. Raises Refused if it has no
    command and nothing says what its image would run."""
    images = around.images
    image = images.find(process.image) if images else None
    local = LocalPaths({**(images.paths if images else {}), **around.private})
    command = process.command
    if not command and images is not None:
        command = (_entrypoint(process, image),)
    words = tuple(map(local, (*command, *process.args)))
    if command and _is_python(command[0], words[0], in_image=image is not None):
        own = image.interpreter if image else None
        words = (own or around.interpreter, *words[1:])
    folder = process.working_dir
    return LocalProcess(
        command=words,
        env={name: local(value) for name, value in env.items()},
        working_dir=_below(
            image.folder if image else around.working_dir, None if folder is None else local(folder)
        ),
        search_path=image.programs if image else (),
        image=process.image,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NeededFile:
    """field: that names it. path: where it has to be here."""

    field: str
    path: str


def command_problems(template: TrialTemplate, images: LocalImages) -> tuple[Problem, ...]:
    """What a Job lacks to be run here with these images. For a template that keeps all rules."""
    process = read_job(template)
    if process.command:
        return ()
    try:
        _entrypoint(process, images.find(process.image))
    except Refused as refused:
        return refused.problems
    return ()


def needed_files(template: TrialTemplate, images: LocalImages) -> list[NeededFile]:
    """The program and the script of a Job, as far as they are whole paths that no parameter
    changes. For a template that keeps all rules."""
    process = read_job(template)
    if not process.command:
        return []
    image, local = images.find(process.image), LocalPaths(images.paths)
    words = (*process.command, *process.args)
    script = script_at(words)
    found = []
    for at in sorted({0, script or 0}):
        word, path = words[at], local(words[at])
        python = at == 0 and _is_python(word, path, in_image=image is not None)
        if not word.startswith("/") or "$" in word or python:
            continue
        given = len(process.command)
        name = f"command[{at}]" if at < given else f"args[{at - given}]"
        found.append(NeededFile(field=f"{process.where}.{name}", path=path))
    return found


def script_at(command: Sequence[str]) -> int | None:
    """Which word is the file that an interpreter is told to run; None if it is told something
    else, or none can be told."""
    name = command[0].rpartition("/")[2] if command else ""
    for program, option in _INTERPRETERS:
        if not program.fullmatch(name):
            continue
        at = 1
        while at < len(command) and option.fullmatch(command[at]):
            at += 1
        word = command[at] if at < len(command) else ""
        # A shell looks for a name without a folder on PATH, too.
        if word and not word.startswith("-") and ("/" in word or name.startswith("python")):
            return at
    return None


def default_process(command: tuple[str, ...], around: Surroundings) -> LocalProcess:
    """A command of ours, which is in no image."""
    return localised(JobProcess(command=command), {}, replace(around, images=None, private={}))


def _entrypoint(process: JobProcess, image: ImageFolder | None) -> str:
    if image is not None and image.entrypoint is not None:
        return image.entrypoint
    if image is not None:
        message = (
            f"must be given, or put an executable file named `entrypoint` into {image.folder}, "
            f"the folder of the image {process.image}"
        )
    else:
        message = (
            "must be given, or say which folder stands for the image, with an executable file "
            f"named `entrypoint` in it: --map-image {without_tag(process.image)}=DIR"
        )
    raise Refused([Problem(field=f"{process.where}.command", message=message)])


def _is_python(first: str, local: str, *, in_image: bool) -> bool:
    """Also an image's own /usr/bin/python3, unless it has been said where that is."""
    if first in _PYTHONS:
        return True
    folder, slash, name = first.rpartition("/")
    return in_image and bool(slash) and first == local and name in _PYTHONS and folder[:1] == "/"


def _below(base: str | None, folder: str | None) -> str | None:
    """`folder` as seen from `base`; an absolute one stands for itself."""
    if folder is None or base is None or folder.startswith("/"):
        return folder or base
    return f"{base.rstrip('/')}/{folder}"
