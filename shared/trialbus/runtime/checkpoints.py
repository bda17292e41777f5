"""What the settings say about where trials keep their checkpoints."""

from pathlib import Path

from trialbus.kernel.checkpoints import is_uri
from trialbus.runtime.settings import Settings

_FOLDER = "checkpoints"


def checkpoint_root(settings: Settings) -> str:
    """An absolute path, or a URI as it was given."""
    given = settings.checkpoint_root
    if is_uri(given):
        return given
    return str((Path(given) if given else settings.data_dir / _FOLDER).absolute())
