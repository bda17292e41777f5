"""Where the services of one machine listen, told by a file of each: `run/<service>.grpc.json`."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trialbus.adapters.processes import lives


@contextmanager
def announcing(data_dir: Path, service: str, *, host: str, port: int) -> Iterator[str]:
    """The address is in the file while the context is open; whole or not there at all."""
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    path = _path(data_dir, service)
    path.parent.mkdir(parents=True, exist_ok=True)
    said = json.dumps({"grpc": address, "pid": os.getpid()})
    written = path.with_name(f"{path.name}.{os.getpid()}")
    written.write_text(said + "\n", encoding="utf-8")
    written.replace(path)
    try:
        yield address
    finally:
        # Another replica may have announced itself since.
        with suppress(FileNotFoundError):
            if path.read_text(encoding="utf-8").strip() == said:
                path.unlink()


def announced(data_dir: Path, service: str) -> str | None:
    """What the service says, if the process that said it lives: a port of the dead may have been
    given to anybody."""
    try:
        said = json.loads(_path(data_dir, service).read_text(encoding="utf-8"))
        pid, address = int(said["pid"]), str(said["grpc"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return address if lives(pid) else None


def _path(data_dir: Path, service: str) -> Path:
    return data_dir / "run" / f"{service}.grpc.json"
