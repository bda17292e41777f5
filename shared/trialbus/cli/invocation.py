"""Commands to copy: as this program was called, so that they work where they are shown."""

import os
import shlex
import shutil
import sys
from pathlib import Path

NAME = "trialbus"
MODULE = "trialbus.cli.main"


def program() -> list[str]:
    """`trialbus` if a shell finds this very program by that name, else how it was called."""
    called = sys.argv[0]
    found = shutil.which(NAME)
    if os.path.basename(called) == called or (found and _same(found, called)):  # noqa: PTH119
        return [NAME]
    if os.access(called, os.X_OK):
        return [called]
    return [sys.executable, "-P", "-m", MODULE]


def _same(one: str, other: str) -> bool:
    return Path(other).exists() and os.path.samefile(one, other)  # noqa: PTH121


def command_line(*arguments: str) -> str:
    """A command of this program for a POSIX shell."""
    return shlex.join([*program(), *arguments])


def this_command(*more: str) -> str:
    """What was called, with more arguments."""
    return command_line(*sys.argv[1:], *more)
