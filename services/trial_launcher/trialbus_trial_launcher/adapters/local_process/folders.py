"""The folder of a run: its claim and its output, made whole and locked in one step.

The folder is prepared under another name and renamed: renaming onto a folder that is not empty
fails, so of all who try exactly one wins, and nobody ever sees a claim that is not yet locked.
"""

# On the path of every start and look: plain strings and descriptors are cheaper.
# ruff: noqa: PTH102, PTH103, PTH104, PTH116

import errno
import fcntl
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from trialbus.kernel.errors import Poison
from trialbus.ports.launcher import PRIVATE_FOLDER
from trialbus_trial_launcher.adapters.local_process.journal import (
    Claim,
    Journal,
    claim_line,
    parse,
)

CLAIM = "claim"
OUTPUT = "output.log"
_MAX_JOURNAL_BYTES = 64 * 1024
_PREPARED = ".new-"
_REMOVED = ".old-"
# Whoever prepared it has died long ago; if it still lives after all, its rename fails.
_ABANDONED_AFTER_S = 3600.0
# Names are made of ids, never of user text: one path part, and no hidden one.
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_FILE_NAME = re.compile(r"[a-z][a-z0-9-]{0,40}\.[a-z]{1,8}")


def boot_id() -> str:
    """Changes with every boot; an intent of another boot that left no trace here is lost."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


@dataclass(slots=True, kw_only=True)
class OpenClaim:
    """A claim that was just won. lock: while any copy of it is open, some process of the run
    lives. Trials get copies of `lock`, which they cannot write to."""

    lock: int
    journal: int
    output: int

    def close(self) -> None:
        for descriptor in (self.lock, self.journal, self.output):
            os.close(descriptor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """A run as its folder shows it. changed_at: when the last line of the journal was written."""

    journal: Journal
    locked: bool
    changed_at: float
    output_bytes: int

    @property
    def running(self) -> bool:
        return self.locked and self.journal.ending is None


class RunFolders:
    """All runs below one folder (0700), which must be on a local file system (flock)."""

    def __init__(self, root: Path) -> None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._root = str(root.resolve())
        self._remove_abandoned()

    def path(self, run_id: str) -> str:
        if _RUN_ID.fullmatch(run_id) is None:
            raise Poison(f"not a run id: {run_id!r}")
        return f"{self._root}/{run_id}"

    def file(self, run_id: str, name: str) -> str:
        """Of a file beside the claim and the output."""
        return f"{self.path(run_id)}/{_file_name(name)}"

    def exists(self, run_id: str) -> bool:
        return os.path.lexists(self.path(run_id))

    def claim(
        self,
        claim: Claim,
        *lines: bytes,
        files: Mapping[str, str] | None = None,
        folders: Iterable[str] = (),
    ) -> OpenClaim | None:
        """Makes the run's folder with `files` and private `folders`, its journal beginning with
        the claim and `lines`; None when it is there already. Raises OSError if this place has no
        room for it."""
        final = self.path(claim.run_id)
        prepared = f"{self._root}/{_PREPARED}{claim.run_id}-{secrets.token_hex(4)}"
        os.mkdir(prepared, 0o700)
        won = None
        try:
            won = _open_files(prepared)
            fcntl.flock(won.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _write_whole(won.journal, claim_line(claim) + b"".join(lines))
            for name, text in (files or {}).items():
                _write_file(f"{prepared}/{_file_name(name)}", text)
            for name in folders:
                os.makedirs(f"{prepared}/{PRIVATE_FOLDER}/{_folder_name(name)}", exist_ok=True)
            os.rename(prepared, final)
        except OSError as error:
            if won is not None:
                won.close()
            shutil.rmtree(prepared, ignore_errors=True)
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
                return None
            raise
        return won

    def append(self, run_id: str, line: bytes) -> None:
        """Adds a line to the journal of a run that exists; O_APPEND keeps lines apart."""
        with suppress(FileNotFoundError):  # forgotten meanwhile
            descriptor = os.open(
                f"{self.path(run_id)}/{CLAIM}", os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW
            )
            try:
                _write_whole(descriptor, line)
            finally:
                os.close(descriptor)

    def look(self, run_id: str) -> Sight | None:
        """What is known of the run; None if it never was here."""
        path = self.path(run_id)
        try:
            descriptor = os.open(f"{path}/{CLAIM}", os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        try:
            journal = parse(os.pread(descriptor, _MAX_JOURNAL_BYTES, 0))
            locked = _is_locked(descriptor)
            if journal.ending is None and not locked:
                # It may have ended between the two looks; the lock goes after the result.
                journal = parse(os.pread(descriptor, _MAX_JOURNAL_BYTES, 0))
            changed_at = os.fstat(descriptor).st_mtime
        finally:
            os.close(descriptor)
        return Sight(
            journal=journal,
            locked=locked,
            changed_at=changed_at,
            output_bytes=_size(f"{path}/{OUTPUT}"),
        )

    def read_output(self, run_id: str, from_byte: int, max_bytes: int) -> bytes:
        try:
            descriptor = os.open(f"{self.path(run_id)}/{OUTPUT}", os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return b""
        try:
            return os.pread(descriptor, max_bytes, from_byte)
        finally:
            os.close(descriptor)

    def tidy(self, run_ids: Iterable[str]) -> None:
        """Removes what is private to these runs."""
        for run_id in run_ids:
            _remove_tree(f"{self.path(run_id)}/{PRIVATE_FOLDER}")

    def withdraw(self, run_id: str) -> str | None:
        """Takes the folder away from its name at once; where it is now, for `delete`."""
        removed = f"{self._root}/{_REMOVED}{run_id}-{secrets.token_hex(4)}"
        try:
            os.rename(self.path(run_id), removed)
        except FileNotFoundError:
            return None
        return removed

    def delete(self, withdrawn: Iterable[str]) -> None:
        for path in withdrawn:
            _remove_tree(path)

    def _remove_abandoned(self) -> None:
        """What a crash left behind while it prepared or removed a folder."""
        oldest = time.time() - _ABANDONED_AFTER_S
        for entry in list(os.scandir(self._root)):
            if entry.name.startswith(_REMOVED):
                self.delete([entry.path])
            elif entry.name.startswith(_PREPARED):
                with suppress(FileNotFoundError):
                    if entry.stat(follow_symlinks=False).st_mtime < oldest:
                        taken = f"{self._root}/{_REMOVED}{secrets.token_hex(8)}"
                        os.rename(entry.path, taken)
                        self.delete([taken])


def _file_name(name: str) -> str:
    """A plain name that is none of ours; the names come from the product, never from users."""
    if _FILE_NAME.fullmatch(name) is None or name in (CLAIM, OUTPUT):
        raise Poison(f"not a file name: {name!r}")
    return name


def _folder_name(name: str) -> str:
    """Comes from users, as the path of a container: never one that leads out of the folder."""
    if "\0" in name or name.startswith("/") or ".." in name.split("/"):
        raise Poison(f"not a folder below another: {name!r}")
    return name


def _remove_tree(path: str) -> None:
    """As far as it can be removed. Folders that a trial has nested without end are too deep for
    Python's calls: they stay, and nobody waits for them."""
    with suppress(RecursionError):
        shutil.rmtree(path, ignore_errors=True)


def _write_file(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        _write_whole(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _open_files(folder: str) -> OpenClaim:
    """Makes the files. The lock is a description of its own, and for reading only."""
    make = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND
    opened: list[int] = []
    try:
        opened.append(os.open(f"{folder}/{CLAIM}", make, 0o600))
        opened.append(os.open(f"{folder}/{OUTPUT}", make, 0o600))
        opened.append(os.open(f"{folder}/{CLAIM}", os.O_RDONLY))
    except OSError:
        for descriptor in opened:
            os.close(descriptor)
        raise
    journal, output, lock = opened
    return OpenClaim(lock=lock, journal=journal, output=output)


def _write_whole(descriptor: int, data: bytes) -> None:
    if os.write(descriptor, data) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _is_locked(descriptor: int) -> bool:
    """Whether a process of the run lives. Those who only look take a shared lock for an instant,
    so that they never take each other for the run."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False


def _size(path: str) -> int:
    try:
        return os.stat(path, follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0
