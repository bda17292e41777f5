"""What the settings say about how trials run on one machine."""

import os
import sys
from pathlib import Path

from trialbus.kernel.images import ImageFolder, LocalImages
from trialbus.kernel.templates import DefaultTemplate
from trialbus.runtime.settings import Settings

_BUNDLED_TRAINER = ("-m", "trialbus.local.trainers.digits")
# Of an image's folder: where its own programs may be, and what it runs without a command.
_PROGRAMS = ("bin", ".venv/bin")
_ENTRYPOINT = "entrypoint"


def interpreter(settings: Settings) -> str:
    """What `python` and `python3` mean in a trial's command."""
    return settings.interpreter or sys.executable


def default_template(settings: Settings) -> DefaultTemplate:
    """For experiments without a trial template: the bundled trainer."""
    return DefaultTemplate(command=(interpreter(settings), *_BUNDLED_TRAINER))


def local_images(settings: Settings) -> LocalImages:
    """What stands for images, as the folders are now."""
    python = interpreter(settings)
    return LocalImages(
        images={name: _folder(path, python) for name, path in settings.image_map.items()},
        paths={name: str(path.absolute()) for name, path in settings.path_map.items()},
    )


def _folder(path: Path, python: str) -> ImageFolder:
    """Its own `python` or, for scripts that call one by name, the configured one on PATH."""
    folder = path.absolute()
    programs = [folder / name for name in _PROGRAMS if (folder / name).is_dir()]
    pythons = [each / "python" for each in programs if _is_program(each / "python")]
    entrypoint = folder / _ENTRYPOINT
    on_path = [str(each) for each in programs]
    if not pythons and os.path.isabs(python):  # noqa: PTH117 - a word of a command, not a Path
        on_path.append(os.path.dirname(python))  # noqa: PTH120
    return ImageFolder(
        folder=str(folder),
        programs=tuple(on_path),
        interpreter=str(pythons[0]) if pythons else None,
        entrypoint=str(entrypoint) if _is_program(entrypoint) else None,
    )


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
