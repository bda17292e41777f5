"""Programs of ours as processes of a test, in a tree that may not be installed."""

import os
import sys
import tomllib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
TRIALBUS = (sys.executable, "-P", "-m", "trialbus.cli.main")
SUPERVISOR = (sys.executable, "-P", "-m", "trialbus.local.supervisor")


def program_environ(folder: Path, *, services: Mapping[str, str] | None = None) -> dict[str, str]:
    """Environment variables with which a subprocess finds what this process finds.

    services: further entry points of the group `trialbus.services`, name -> `module:attribute`;
    modules may lie in `folder`.
    """
    groups: dict[str, Mapping[str, str]] = {}
    if services:
        groups["trialbus.services"] = services
        _declare(folder, "extra", groups)
    if not _is_installed():
        project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
        _declare(folder, "trialbus", project["entry-points"])
    ours = {name: text for name, text in os.environ.items() if not name.startswith("TRIALBUS_")}
    return ours | {"PYTHONPATH": os.pathsep.join([str(folder), *filter(None, sys.path)])}


def _is_installed() -> bool:
    try:
        distribution("trialbus")
    except PackageNotFoundError:
        return False
    return True


def _declare(folder: Path, name: str, groups: Mapping[str, Mapping[str, str]]) -> None:
    """What installing a package of this name would leave behind."""
    metadata = folder / f"{name}-0.0.0.dist-info"
    metadata.mkdir(parents=True, exist_ok=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.0.0\n")
    lines = []
    for group, entries in groups.items():
        lines += [f"[{group}]", *(f"{each} = {value}" for each, value in entries.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
