"""One process for one stack: nats-server, mongod and the services, kept alive and in order.

    python -P -m trialbus.local.supervisor --data-dir FOLDER [--owned] [--secure] [--observe]
        [--service NAME]...

It says on stdout, in one line of JSON, whether it has begun (`{"started": true}`) or why not
(`{"refused": [...], "in_use": bool}`), and logs on stderr. It ends, services first, at SIGTERM or
SIGINT, and with --owned when its stdin closes and no other `trialbus run` uses the stack, unless it
has been told by SIGUSR1 to stay.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trialbus.local import stack_file
from trialbus.local.failures import FolderInUse, StackFailed
from trialbus.local.forking import ForkServer
from trialbus.local.supervisor_log import log

if TYPE_CHECKING:
    from trialbus.local.stack import Stack

# Those who only look at the lock hold it for an instant.
LOCK_TRIES = 20
LOCK_PAUSE_S = 0.025
USERS_LOOK_S = 0.1
# In the order in which they are stopped: those that make work first.
SERVICES = (
    "gateway",
    "experiment",
    "suggestion",
    "early_stopping",
    "trial_launcher",
    "metrics_collector",
)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="trialbus.local.supervisor")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--owned", action="store_true")
    parser.add_argument("--secure", action="store_true")
    parser.add_argument("--observe", action="store_true")
    parser.add_argument("--service", action="append", dest="services")
    chosen = parser.parse_args(arguments)
    try:
        chosen.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = chosen.data_dir.resolve()
        services = chosen.services or SERVICES
        asyncio.run(
            _supervise(
                folder,
                services,
                owned=chosen.owned,
                secure=chosen.secure,
                observe=chosen.observe,
            )
        )
    except (FolderInUse, StackFailed, OSError) as error:
        log("refused", error=str(error))
        _answer({"refused": str(error).splitlines(), "in_use": isinstance(error, FolderInUse)})
        return 1
    return 0


async def _supervise(
    folder: Path, services: Sequence[str], *, owned: bool, secure: bool, observe: bool
) -> None:
    lock = await _take(folder)
    fork_server = ForkServer()
    # Only now: what this imports and what the fork server imports load side by side.
    from trialbus.local.stack import Stack  # noqa: PLC0415

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    gone = loop.create_task(_until_owner_goes(folder, stop)) if owned else None
    stack = Stack(folder, services, fork_server, owned=owned, secure=secure, observe=observe)
    if stack.is_secure:
        # The libraries that it takes speak on stdout unless they are told where.
        import_module("trialbus.local.service_logs").log_as_json("warning")
    if gone is not None:
        loop.add_signal_handler(signal.SIGUSR1, _stay, stack, gone)
    try:
        await _unless(stop, stack.start())
        if not stop.is_set():
            _answer({"started": True})
            log("started", http=stack.status.http, pid=os.getpid())
        await stop.wait()
    finally:
        log("stopping")
        await stack.stop()
        stack_file.remove(folder)
        if gone is not None:
            gone.cancel()
        log("stopped")
        os.close(lock)


def _stay(stack: "Stack", gone: "asyncio.Task[None]") -> None:
    """Whoever asks uses the stack, so it is not ending."""
    gone.cancel()
    stack.keep()


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Do the work to its end, or leave it when the stop comes first."""
    working = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        for task in (working, stopping):
            task.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)


async def _take(folder: Path) -> int:
    """The folder's lock, as an open descriptor. Raises FolderInUse."""
    descriptor = stack_file.open_lock(folder, stack_file.LOCK)
    for _ in range(LOCK_TRIES):
        if stack_file.try_lock(descriptor, stack_file.EXCLUSIVE):
            stack_file.remove(folder)
            return descriptor
        await asyncio.sleep(LOCK_PAUSE_S)
    os.close(descriptor)
    running = stack_file.read_running(folder)
    by = f" (process {running.pid})" if running else ""
    raise FolderInUse(f"a stack already runs on {folder}{by}")


async def _until_owner_goes(folder: Path, stop: asyncio.Event) -> None:
    """Until stdin closes and nobody else uses the stack; then nobody can begin to."""
    loop = asyncio.get_running_loop()
    owner = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(owner), sys.stdin)
    with suppress(ConnectionError):
        await owner.read()
    users = stack_file.open_lock(folder, stack_file.USERS)  # held until this process ends
    # Another process's lock: there is nothing to wait for but its absence.
    while not stack_file.try_lock(users, stack_file.EXCLUSIVE):  # noqa: ASYNC110
        await asyncio.sleep(USERS_LOOK_S)
    stop.set()


def _answer(message: dict[str, object]) -> None:
    with suppress(OSError, ValueError):  # whoever asked has gone
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()
        # Nobody waits for more: a pipe that stays open would keep its reader.
        with open(os.devnull, "wb") as null:  # noqa: PTH123
            os.dup2(null.fileno(), 1)


if __name__ == "__main__":
    code = main()
    # Somebody waits for this end: taking the interpreter apart has no other effect than time.
    with suppress(OSError):
        sys.stderr.flush()
    os._exit(code)
