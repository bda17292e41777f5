"""The file of static tokens as `trialbus auth token` changes it: whole, and one after the other."""

import fcntl
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from trialbus.cli.failures import REFUSED, CommandFailed
from trialbus.contracts.token_file import StaticToken, read_tokens, write_tokens
from trialbus.kernel.errors import Refused

Tokens = Sequence[StaticToken]


def read(path: Path) -> Tokens:
    """() where there is no file yet. Raises CommandFailed."""
    try:
        return read_tokens(path.read_bytes())
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise CommandFailed(f"cannot read {path}: {error.strerror}", REFUSED) from error
    except Refused as refusal:
        lines = [f"  {problem}" for problem in refusal.problems]
        raise CommandFailed([f"{path} cannot be read, and stays:", *lines], REFUSED) from refusal


def change(path: Path, changed: Callable[[Tokens], Tokens]) -> None:
    """By rename, so that a gateway never reads half of it; for its owner only when it is new.
    Raises CommandFailed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(f"{path}.lock", "a", encoding="utf-8") as lock:  # noqa: PTH123 - beside the file
            fcntl.flock(lock, fcntl.LOCK_EX)
            _replace(path, write_tokens(changed(read(path))))
    except OSError as error:
        raise CommandFailed(f"cannot write {path}: {error.strerror}", REFUSED) from error


def _replace(path: Path, data: bytes) -> None:
    """A link stays a link, and whoever could read the file still can."""
    target = Path(os.path.realpath(path))
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            with suppress(FileNotFoundError):
                os.fchmod(file.fileno(), target.stat().st_mode & 0o777)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(target)
    finally:
        with suppress(FileNotFoundError):
            Path(name).unlink()
