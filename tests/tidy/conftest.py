"""What the tidy rules look at: the repository's own text, without generated code."""

from collections.abc import Mapping
from pathlib import Path

import pytest

FOLDERS = [
    ".ci",
    "deploy",
    "docs",
    "examples",
    "loadtests",
    "proto",
    "requirements",
    "services",
    "shared",
    "tests",
]
GENERATED = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py")
CACHES = {"__pycache__", ".trialbus", ".hypothesis", "node_modules"}


@pytest.fixture(scope="session")
def repository() -> Path:
    """The folder that holds the Makefile."""
    return Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def texts(repository: Path) -> Mapping[str, str]:
    """Path below the repository -> text, of every text file that people wrote."""
    files = [f for f in repository.iterdir() if f.is_file()]
    for folder in FOLDERS:
        files += [f for f in (repository / folder).rglob("*") if f.is_file()]
    found = {}
    for file in sorted(files):
        path = file.relative_to(repository)
        if CACHES.isdisjoint(path.parts) and not path.name.endswith(GENERATED):
            text = _text(file)
            if text is not None:
                found[path.as_posix()] = text
    return found


@pytest.fixture(scope="session")
def python_sources(texts: Mapping[str, str]) -> Mapping[str, str]:
    """The Python modules among the texts."""
    return {path: text for path, text in texts.items() if path.endswith(".py")}


def _text(file: Path) -> str | None:
    """None for a binary file, and for one that another test has just removed."""
    try:
        return file.read_text(encoding="utf-8")
    except (UnicodeDecodeError, FileNotFoundError):
        return None
