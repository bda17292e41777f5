"""How much room the file system of a folder has."""

import os
from pathlib import Path

from trialbus_trial_launcher.app.folder_space import Space


def space_of(folder: str) -> Space:
    """Of a folder that is not there yet: of the next one above it that is. Raises OSError."""
    path = Path(folder).absolute()
    there = next((it for it in (path, *path.parents) if it.exists()), path)
    found = os.statvfs(there)
    return Space(
        device=there.stat().st_dev,
        free_bytes=found.f_bavail * found.f_frsize,
        # Without what is kept for the administrator: nothing of it is ours when nothing is free.
        size_bytes=(found.f_blocks - found.f_bfree + found.f_bavail) * found.f_frsize,
    )
