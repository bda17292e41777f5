"""Which stack a command talks to: the running one of a data folder, or an address."""

import os
from pathlib import Path

from trialbus.cli.api import Api
from trialbus.cli.failures import CommandFailed, Unreachable
from trialbus.cli.invocation import command_line, this_command
from trialbus.local import stack_file
from trialbus.local.stack_file import StackStatus

DEFAULT_DATA_DIR = Path(".trialbus")


def data_folder(given: Path | None) -> Path:
    return Path(os.path.abspath(given or DEFAULT_DATA_DIR))  # noqa: PTH100 - keeps links


def running_stack(folder: Path, *more: str) -> StackStatus:
    """Raises Unreachable, with the command that starts one and more lines."""
    status = stack_file.read_running(folder)
    if status is None:
        lines = [f"no stack runs on {folder}", f"start one with: {going_up(folder)}"]
        raise Unreachable([*lines, *more])
    return status


def connect(data_dir: Path | None, url: str | None) -> Api:
    """The API of the stack that is meant. Raises Unreachable."""
    if url is not None:
        api = Api(url, remedy="is the address right, and does a stack run there?")
        api.reach()
        return api
    folder = data_folder(data_dir)
    return api_of(running_stack(folder, f"and then again: {this_command()}"), folder)


def api_of(status: StackStatus, folder: Path) -> Api:
    return Api(
        status.http,
        remedy=f"see how it is with: {command_line('status', *_where(folder))}",
        has_ended=lambda: not stack_file.is_held(folder),
    )


def local_only(url: str | None) -> None:
    """For commands about processes of this machine."""
    if url is not None:
        raise CommandFailed("a stack is started and stopped where it runs: use --data-dir", 2)


def going_up(folder: Path) -> str:
    """The command that starts the folder's stack."""
    return command_line("up", *_where(folder))


def going_down(folder: Path) -> str:
    return command_line("down", *_where(folder))


def on_stack(data_dir: Path | None, url: str | None, *arguments: str) -> str:
    """A command to the same stack."""
    where = ["--url", url] if url is not None else _where(data_folder(data_dir))
    return command_line(*arguments, *where)


def _where(folder: Path) -> list[str]:
    return [] if folder == data_folder(None) else ["--data-dir", str(folder)]
