"""Starting and stopping the stack of a data folder."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from trialbus.cli.failures import CommandFailed
from trialbus.local import stack_file
from trialbus.local.stack_file import StackStatus

# A journal to replay on a slow disk takes longest.
START_DEADLINE_S = 120.0
# Services drain for 15 s at most, then the servers stop for 15 s at most.
STOP_DEADLINE_S = 45.0
LOOK_S = 0.02
USERS_LOOK_S = 0.5
LOG_LINES = 8


class InUse(CommandFailed):
    """Somebody else has just started a stack there."""


def start_supervisor(
    folder: Path, *, owned: bool, secure: bool = False, observe: bool = False
) -> subprocess.Popen[bytes]:
    """Return when its servers take work. Raises InUse, or CommandFailed with the reasons."""
    logs = folder / "logs"
    logs.mkdir(parents=True, exist_ok=True, mode=0o700)
    # -P: a folder with modules of the user's must not come before ours.
    command = [sys.executable, "-P", "-m", "trialbus.local.supervisor", "--data-dir", str(folder)]
    if secure:
        command.append("--secure")
    if observe:
        command.append("--observe")
    with (logs / "supervisor.log").open("ab") as log:
        process = subprocess.Popen(
            [*command, "--owned"] if owned else command,
            stdin=subprocess.PIPE if owned else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,  # Ctrl-C in the terminal is for us alone
        )
    try:
        answer = _first_line(process)
    except BaseException:
        process.terminate()
        raise
    if "refused" in answer:
        process.wait()
        kind = InUse if answer["in_use"] else CommandFailed
        raise kind(answer["refused"])
    if "started" not in answer:
        process.kill()
        raise CommandFailed(["the stack did not start; its log ends so:", *_log_end(log.name)])
    return process


def _first_line(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    assert process.stdout is not None
    with process.stdout:
        readable, _, _ = select.select([process.stdout], [], [], START_DEADLINE_S)
        line = process.stdout.readline() if readable else b""
    answer: dict[str, Any] = json.loads(line) if line else {}
    return answer


def _log_end(path: str) -> list[str]:
    lines = Path(path).read_text(errors="replace").splitlines()
    return [f"  {line}" for line in lines[-LOG_LINES:]]


def wait_until(folder: Path, condition: Callable[[StackStatus], bool], what: str) -> StackStatus:
    """Return the status that meets the condition. Raises CommandFailed when the stack goes away
    or the deadline passes."""
    deadline = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < deadline:
        status = stack_file.read_running(folder)
        if status is not None and condition(status):
            return status
        if status is None and not stack_file.is_held(folder):
            lines = _log_end(str(folder / "logs" / "supervisor.log"))
            raise CommandFailed(["the stack has ended; its log ends so:", *lines])
        time.sleep(LOOK_S)
    raise CommandFailed(f"not within {START_DEADLINE_S:.0f} s: {what} (logs: {folder / 'logs'})")


def gateway_ready(status: StackStatus) -> bool:
    return status.services["gateway"].state == "ready"


def stop_running(folder: Path) -> bool:
    """SIGTERM to the supervisor and wait for its end. False: none runs."""
    status = stack_file.read_running(folder)
    if status is None:
        return False
    with suppress(ProcessLookupError):
        os.kill(status.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_DEADLINE_S
    while stack_file.is_held(folder):
        if time.monotonic() > deadline:
            raise CommandFailed(f"the stack (process {status.pid}) does not stop")
        time.sleep(LOOK_S)
    return True


@contextmanager
def using_stack(folder: Path, *, keep_up: bool, observe: bool = False) -> Iterator[StackStatus]:
    """The folder's stack: the running one, or one that is started here and, unless `keep_up`,
    ends when this process and all others that use it have left. Leaving waits for that end."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    owned: subprocess.Popen[bytes] | None = None
    try:
        with _joined(folder):
            if not stack_file.is_held(folder):
                owned = _start(folder, keep_up=keep_up, observe=observe)
            yield wait_until(folder, gateway_ready, "the gateway answers")
    finally:
        if owned is not None:
            _stop_owned(owned, folder)


def keep_up(folder: Path, *, secure: bool = False, observe: bool = False) -> StackStatus:
    """The folder's stack, started if need be; it stays until it is stopped, whoever began it.
    Raises CommandFailed."""
    with _joined(folder):
        if not stack_file.is_held(folder):
            _start(folder, keep_up=True, secure=secure, observe=observe)
        status = wait_until(folder, gateway_ready, "the gateway answers")
        if status.owned:
            os.kill(status.pid, signal.SIGUSR1)
        return wait_until(folder, _all_ready_to_stay, "all services are ready")


def _all_ready_to_stay(status: StackStatus) -> bool:
    return status.ready and not status.owned


@contextmanager
def _joined(folder: Path) -> Iterator[None]:
    """While inside, the stack does not end for want of users."""
    deadline = time.monotonic() + STOP_DEADLINE_S
    while True:
        with stack_file.using(folder) as joined:
            if joined:
                yield
                return
        if time.monotonic() > deadline:
            raise CommandFailed(f"the stack on {folder} is ending, and does not end")
        time.sleep(LOOK_S)


def _start(
    folder: Path, *, keep_up: bool, secure: bool = False, observe: bool = False
) -> "subprocess.Popen[bytes] | None":
    """A supervisor that is ours to end, or None."""
    with suppress(InUse):  # somebody was quicker: theirs will do
        process = start_supervisor(folder, owned=not keep_up, secure=secure, observe=observe)
        return None if keep_up else process
    return None


def _stop_owned(process: "subprocess.Popen[bytes]", folder: Path) -> None:
    """Close its stdin and wait for its end; or not, if others use the stack: then it ends with
    the last of them."""
    assert process.stdin is not None
    # Asked first: from then on the supervisor itself waits for that lock.
    used = _is_left(folder)
    process.stdin.close()
    deadline = time.monotonic() + STOP_DEADLINE_S
    while not used:
        try:
            process.wait(USERS_LOOK_S)
        except subprocess.TimeoutExpired:
            used = _is_left(folder)  # somebody may have come at the last moment
        else:
            return
        if not used and time.monotonic() > deadline:
            _kill_unused(process, folder)
            return


def _is_left(folder: Path) -> bool:
    """Whether others use it, or somebody has said that it is to stay."""
    status = stack_file.read_running(folder)
    return (status is not None and not status.owned) or stack_file.is_used(folder)


def _kill_unused(process: "subprocess.Popen[bytes]", folder: Path) -> None:
    """All of its processes die with it, so nobody may come to use them meanwhile."""
    users = stack_file.open_lock(folder, stack_file.USERS)
    try:
        alone = stack_file.try_lock(users, stack_file.EXCLUSIVE)
        if not alone and stack_file.try_lock(users, stack_file.SHARED):
            return
        process.kill()
        process.wait()
    finally:
        os.close(users)
    raise CommandFailed("the stack did not stop in time and was killed")
