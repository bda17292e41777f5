"""A program of its own, started as `inherit.py FROM TO COMMAND...`: makes the folder TO a copy of
FROM unless it is there, then becomes the command.

The copy gets its name when it is complete and on disk, so that TO is never half of one, whatever
is killed and when. Links are copied as links, never followed; those into FROM lead into TO.
"""

# Nothing but the standard library, and of that what starts fast.
# ruff: noqa: PTH102, PTH104, PTH112, PTH115, PTH118, PTH120, PTH208, PTH211

import errno
import os
import shutil
import signal
import sys

_UNFINISHED = ".unfinished-"
_NOT_STARTED = 126
_NOT_FOUND = 127


class _Stopped(BaseException):
    """Somebody wants no copy any more."""


def _stop(_signal: int, _frame: object) -> None:
    raise _Stopped


def inherit(parent: str, own: str) -> None:
    """Raises OSError."""
    if os.path.isdir(own):
        return
    _remove_unfinished(own)
    unfinished = f"{own}{_UNFINISHED}{os.getpid()}"
    try:
        _copy(parent, unfinished, (parent, own))
        os.rename(unfinished, own)
    except OSError as error:
        # Another attempt, taken for lost, was faster.
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    _to_disk(os.path.dirname(own))


def _remove_unfinished(own: str) -> None:
    """What earlier attempts of this trial have left."""
    folder, name = os.path.split(own)
    for entry in os.listdir(folder):
        if entry.startswith(name + _UNFINISHED):
            shutil.rmtree(os.path.join(folder, entry), ignore_errors=True)


def _copy(source: str, target: str, moved: tuple[str, str]) -> None:
    """moved: the folder that links may lead into, and what it becomes."""
    os.mkdir(target)
    with os.scandir(source) as entries:
        for entry in entries:
            to = os.path.join(target, entry.name)
            if entry.is_symlink():
                os.symlink(_led(os.readlink(entry.path), moved), to)
            elif entry.is_dir():
                _copy(entry.path, to, moved)
            elif entry.is_file():  # a socket or pipe is of a process that has ended
                shutil.copyfile(entry.path, to, follow_symlinks=False)
                _to_disk(to)
                shutil.copystat(entry.path, to, follow_symlinks=False)
    shutil.copystat(source, target, follow_symlinks=False)
    _to_disk(target)


def _led(link: str, moved: tuple[str, str]) -> str:
    parent, own = moved
    return own + link[len(parent) :] if f"{link}/".startswith(f"{parent}/") else link


def _to_disk(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def main(arguments: list[str]) -> int:
    """Returns only if the command cannot be started."""
    parent, own, *command = arguments
    signal.signal(signal.SIGTERM, _stop)
    try:
        inherit(parent, own)
    except _Stopped:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
    except (OSError, shutil.Error, RecursionError) as error:
        sys.stderr.write(f"trialbus: cannot copy the checkpoint {parent}: {error}\n")
        return _NOT_STARTED
    # Python ignores some of these, and what is ignored stays so for the command.
    for name in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM):
        signal.signal(name, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.stderr.write(f"trialbus: {command[0]}: {error.strerror}\n")
        return _NOT_FOUND if error.errno == errno.ENOENT else _NOT_STARTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
