"""`--map-image` and `--map-path`: what stands on this machine for images and their paths.

They add to the settings of the same meaning, and reach the services by the environment.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from trialbus.cli.failures import REFUSED, CommandFailed
from trialbus.cli.invocation import command_line
from trialbus.local.stack_file import IMAGE_MAP, PATH_MAP, StackStatus, mapping_in


def take_mappings(images: Sequence[str], paths: Sequence[str], *, url: str | None) -> None:
    """Into the environment of what is started from here. Raises CommandFailed."""
    if (images or paths) and url is not None:
        raise CommandFailed("mappings belong to the stack: give them where it is started", REFUSED)
    _add(IMAGE_MAP, dict(_image(text) for text in images))
    _add(PATH_MAP, dict(_path(text) for text in paths))


def notes_on_mappings(running: StackStatus, folder: Path) -> list[str]:
    """What to tell a person whose mappings are not those of the stack that runs."""
    wanted = {name: mapping_in(os.environ, name) for name in (IMAGE_MAP, PATH_MAP)}
    has = {IMAGE_MAP: running.image_map, PATH_MAP: running.path_map}
    if all(wanted[name].items() <= has[name].items() for name in wanted):
        return []
    kept = [f"--map-image {one}={to}" for one, to in running.image_map.items()]
    kept += [f"--map-path {one}={to}" for one, to in running.path_map.items()]
    down = command_line("down", "--data-dir", str(folder))
    return [
        f"note: the stack on {folder} runs already and keeps its own mappings: "
        f"{' '.join(kept) or 'none'}",
        f"to use these instead: {down}, then the same again",
    ]


def _add(variable: str, given: Mapping[str, str]) -> None:
    try:
        known = mapping_in(os.environ, variable)
    except ValueError as error:
        raise CommandFailed(f"{variable} in the environment: {error}", REFUSED) from error
    if given:
        os.environ[variable] = json.dumps({**known, **given})


def _image(text: str) -> tuple[str, str]:
    image, local = _parts(text, "--map-image", "IMAGE=DIR")
    if not Path(local).is_dir():
        raise CommandFailed(f"--map-image {text}: {local} is no folder", REFUSED)
    return image, local


def _path(text: str) -> tuple[str, str]:
    path, local = _parts(text, "--map-path", "IMAGE_PATH=LOCAL_PATH")
    if not path.startswith("/") or not path.strip("/"):
        message = f"--map-path {text}: {path!r} must be an absolute path below / in the image"
        raise CommandFailed(message, REFUSED)
    if not Path(local).exists():
        raise CommandFailed(f"--map-path {text}: {local} is not there", REFUSED)
    return path, local


def _parts(text: str, flag: str, form: str) -> tuple[str, str]:
    """What stands before and after the first `=`, the latter as seen from where we are."""
    name, equals, local = text.partition("=")
    if not name or not equals or not local:
        raise CommandFailed(f"{flag} {text}: must be {form}", REFUSED)
    # Not resolved: a link may be meant to point elsewhere later.
    return name, str(Path(local).expanduser().absolute())
