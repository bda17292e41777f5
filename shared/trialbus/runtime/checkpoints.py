"""What the settings say about where trials keep their checkpoints and artifacts."""

from pathlib import Path

from trialbus.kernel.checkpoints import is_uri
from trialbus.runtime.settings import Settings


def checkpoint_root(settings: Settings) -> str:
    """An absolute path, or a URI as it was given."""
    return _root(settings, settings.checkpoint_root, "checkpoints")


def artifact_root(settings: Settings) -> str:
    """As `checkpoint_root`."""
    return _root(settings, settings.artifact_root, "artifacts")


def _root(settings: Settings, given: str, usual: str) -> str:
    if is_uri(given):
        return given
    return str((Path(given) if given else settings.data_dir / usual).absolute())
