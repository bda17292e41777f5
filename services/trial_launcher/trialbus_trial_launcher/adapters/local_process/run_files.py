"""Files of a run beside its claim and output: what its command leaves in its private folder, and
what launchers keep for each other."""

# Paths are put together as the kernel does it, never normalised.
# ruff: noqa: PTH116

import errno
import fcntl
import os
import stat
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

from trialbus.kernel.errors import Poison
from trialbus.ports.launcher import PRIVATE_FOLDER, PrivateFile
from trialbus_trial_launcher.adapters.local_process.folders import RunFolders

# More files and folders than these are not looked at: a trial may leave any number.
_MAX_LISTED = 10_000
# The run is forgotten, or its command has put something else in the place.
_NO_FILE = frozenset({errno.ENOENT, errno.ELOOP, errno.EISDIR, errno.ENXIO})


class RunFiles:
    def __init__(self, folders: RunFolders) -> None:
        self._folders = folders

    def private_files(self, run_id: str, folder: str) -> list[PrivateFile]:
        top = self._private(run_id, folder)
        found = []
        for path in _walk(top):
            with suppress(OSError):  # it has just gone
                looks = os.stat(path)
                if stat.S_ISREG(looks.st_mode):
                    name = path[len(top) + 1 :]
                    found.append(PrivateFile(path=name, size_bytes=looks.st_size))
        return sorted(found, key=lambda file: file.path)

    def read_private(self, run_id: str, path: str, from_byte: int, max_bytes: int) -> bytes:
        return _read(self._private(run_id, path), from_byte, max_bytes)

    def read_kept(self, run_id: str, name: str, from_byte: int, max_bytes: int) -> bytes:
        return _read(self._kept(run_id, name), from_byte, max_bytes, os.O_NOFOLLOW)

    def keep(self, run_id: str, name: str, at_byte: int, data: bytes) -> bool:
        """All or nothing, also for others who do the same at this time; never waits for them."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(self._kept(run_id, name), flags | os.O_NONBLOCK, 0o600)
        except OSError as error:
            if error.errno in _NO_FILE:
                return False
            raise
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            seen = os.fstat(descriptor)
            if seen.st_size != at_byte or not stat.S_ISREG(seen.st_mode):
                return False
            _write_or_undo(descriptor, at_byte, data)
            return True
        except BlockingIOError:  # another holds the lock just now
            return False
        finally:
            os.close(descriptor)

    def _private(self, run_id: str, path: str) -> str:
        if "\0" in path or path.startswith("/") or ".." in path.split("/"):
            raise Poison(f"not a path below another: {path!r}")
        return f"{self._folders.path(run_id)}/{PRIVATE_FOLDER}/{path}".rstrip("/")

    def _kept(self, run_id: str, name: str) -> str:
        return self._folders.file(run_id, name)


def _walk(top: str) -> Iterator[str]:
    """Paths of what is no folder; links to folders are not followed, they may lead anywhere. The
    nearest come first, however deep the folders are."""
    folders, left = deque([top]), _MAX_LISTED
    while folders and left:
        try:
            with os.scandir(folders.popleft()) as found:
                entries = sorted(islice(found, left), key=lambda entry: entry.name)
        except OSError:
            continue
        left -= len(entries)
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            else:
                yield entry.path


def _read(path: str, from_byte: int, max_bytes: int, flags: int = 0) -> bytes:
    """b"" for what is no file: opening a pipe must not wait for its writer."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | flags)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO):
            raise
        return b""
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return b""
        return os.pread(descriptor, max_bytes, from_byte)
    finally:
        os.close(descriptor)


def _write_or_undo(descriptor: int, at_byte: int, data: bytes) -> None:
    written = 0
    try:
        written = os.write(descriptor, data)
    finally:
        if written != len(data):
            os.ftruncate(descriptor, at_byte)
    if written != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
