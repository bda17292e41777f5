"""Which stack a command talks to: the running one of a data folder, or an address."""

import os
import shlex
from pathlib import Path

from trialbus.cli.api import Api
from trialbus.cli.failures import CommandFailed, Unreachable
from trialbus.local import stack_file
from trialbus.local.stack_file import StackStatus

DEFAULT_DATA_DIR = Path(".trialbus")


def data_folder(given: Path | None) -> Path:
    return Path(os.path.abspath(given or DEFAULT_DATA_DIR))  # noqa: PTH100 - keeps links


def running_stack(folder: Path) -> StackStatus:
    """Raises Unreachable, with the command that starts one."""
    status = stack_file.read_running(folder)
    if status is None:
        raise Unreachable([f"no stack runs on {folder}", f"start one with: {up_command(folder)}"])
    return status


def connect(data_dir: Path | None, url: str | None) -> Api:
    """The API of the stack that is meant. Raises Unreachable."""
    if url is not None:
        return Api(url, remedy="is the address right, and does a stack run there?")
    folder = data_folder(data_dir)
    return api_of(running_stack(folder), folder)


def api_of(status: StackStatus, folder: Path) -> Api:
    return Api(
        status.http,
        remedy=f"see how it is with: trialbus status{_where(folder)}",
        has_ended=lambda: not stack_file.is_held(folder),
    )


def local_only(url: str | None) -> None:
    """For commands about processes of this machine."""
    if url is not None:
        raise CommandFailed("a stack is started and stopped where it runs: use --data-dir", 2)


def up_command(folder: Path) -> str:
    return f"trialbus up{_where(folder)}"


def _where(folder: Path) -> str:
    if folder == data_folder(None):
        return ""
    return f" --data-dir {shlex.quote(str(folder))}"
