"""What is promised: a copy of the contracts and examples, made when a version is released."""

import shutil
from pathlib import Path

from making.event_pages import EVENTS

RELEASED = EVENTS / "released"


def release_events(events: Path = EVENTS) -> Path | None:
    """The new folder, `released/<one more>`; None if nothing changed since the last one."""
    released = events / "released"
    numbers = sorted(int(it.name) for it in released.iterdir()) if released.is_dir() else []
    current = _files(events)
    if numbers and _files(released / str(numbers[-1])) == current:
        return None
    folder = released / str(numbers[-1] + 1 if numbers else 1)
    for name in current:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(events / name, folder / name)
    return folder


def _files(folder: Path) -> dict[Path, bytes]:
    """By their names below it."""
    found = [it for part in (".", "commands", "examples") for it in (folder / part).glob("*.json")]
    return {it.relative_to(folder): it.read_bytes() for it in sorted(found)}
