"""What a stack says of itself in its data folder, and the locks that tell who uses it.

`stack.json` is replaced by rename, so a reader sees a whole one. `stack.lock` is held while a
supervisor lives: without it `stack.json` is what a killed one left. `stack.users` is held, shared,
by every `trialbus run` that uses the stack; a stack that was started by one of them ends with the
last.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from trialbus.adapters.processes import lives

FILE = "stack.json"
LOCK = "stack.lock"
USERS = "stack.users"
EXCLUSIVE = fcntl.LOCK_EX
SHARED = fcntl.LOCK_SH
# Settings of the services that a stack keeps from its start to its end.
IMAGE_MAP = "TRIALBUS_IMAGE_MAP"
PATH_MAP = "TRIALBUS_PATH_MAP"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStatus:
    """health: base URL of /healthz, /readyz and /metrics; None for a server."""

    pid: int | None
    state: str
    restarts: int = 0
    health: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StackStatus:
    """Addresses are URLs but `grpc`, which is host:port. owned: it ends with the last `run`.
    image_map, path_map: what stands for images and their paths. nats_auth: folder with the
    identities of the bus; empty: anybody on this machine may connect. prometheus: empty: the stack
    is not observed."""

    http: str
    grpc: str
    nats: str
    mongo: str
    pid: int
    data_dir: str
    owned: bool = False
    services: dict[str, ProcessStatus] = field(default_factory=dict)
    servers: dict[str, ProcessStatus] = field(default_factory=dict)
    image_map: dict[str, str] = field(default_factory=dict)
    path_map: dict[str, str] = field(default_factory=dict)
    nats_auth: str = ""
    prometheus: str = ""

    @property
    def ready(self) -> bool:
        return all(each.state == "ready" for each in self.services.values())


def mapping_in(environ: Mapping[str, str], variable: str) -> dict[str, str]:
    """A setting with names and values. Raises ValueError."""
    found = json.loads(environ.get(variable) or "{}")
    if not isinstance(found, dict):
        raise ValueError("must be a JSON object")  # noqa: TRY004 - a wrong text, not a wrong type
    return {str(name): str(value) for name, value in found.items()}


def write(folder: Path, status: StackStatus) -> None:
    """Replace the file at once."""
    new = folder / f"{FILE}.new"
    new.write_text(json.dumps(asdict(status), indent=2) + "\n")
    new.replace(folder / FILE)


def remove(folder: Path) -> None:
    (folder / FILE).unlink(missing_ok=True)


def read_running(folder: Path) -> StackStatus | None:
    """The stack of this folder; None if none runs, or it has not come so far yet."""
    if not is_held(folder):
        return None
    try:
        found = json.loads((folder / FILE).read_text())
    except FileNotFoundError:
        return None
    if not lives(found["pid"]):
        return None  # a killed one's: who holds the folder now is just about to remove it
    for kind in ("services", "servers"):
        found[kind] = {name: ProcessStatus(**each) for name, each in found[kind].items()}
    return StackStatus(**found)


def is_held(folder: Path) -> bool:
    """Whether a supervisor lives on this folder."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        # A shared lock, and only for an instant: those who look do not see one another.
        return not try_lock(descriptor, SHARED)
    finally:
        os.close(descriptor)


def open_lock(folder: Path, name: str) -> int:
    return os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o600)


def try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_used(folder: Path) -> bool:
    """Whether some `trialbus run` uses the stack. False also while it ends, which none can stop.
    Do not ask while the supervisor waits for the last to leave: it would wait a little longer."""
    descriptor = open_lock(folder, USERS)
    try:
        # Exclusive fails beside users and beside a supervisor that ends; shared beside the latter.
        return not try_lock(descriptor, EXCLUSIVE) and try_lock(descriptor, SHARED)
    finally:
        os.close(descriptor)


@contextmanager
def using(folder: Path) -> Iterator[bool]:
    """Keep an owned stack from ending. False: it is just ending."""
    descriptor = open_lock(folder, USERS)
    try:
        yield try_lock(descriptor, SHARED)
    finally:
        os.close(descriptor)
