"""Commands to copy: as this program was called, so that they work where they are shown."""

import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

NAME = "trialbus"
TOKEN_OPTION = "--token"
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
    """What was called, with more arguments; without a token, which nobody should copy."""
    return command_line(*_without_token(sys.argv[1:]), *more)


def _without_token(words: Sequence[str]) -> Iterator[str]:
    follows = False
    for word in words:
        if not follows and word != TOKEN_OPTION and not word.startswith(f"{TOKEN_OPTION}="):
            yield word
        follows = word == TOKEN_OPTION and not follows
