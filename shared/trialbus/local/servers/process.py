"""One running server process, and the steps of starting one that are the same for both servers."""

import asyncio
import contextlib
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from trialbus.local.servers import guarded_exec, ports

# From spawn to listening. A large journal to recover on a slow disk takes longest.
START_DEADLINE_S = 60.0
# From listening to ready for writes.
READY_DEADLINE_S = 30.0
# mongod needs 0.9 s; a slow disk may have to write a checkpoint first.
STOP_GRACE_S = 15.0
# A killed predecessor may need this long to leave the folder.
LOCK_WAIT_S = 5.0
PORT_TRIES = 8
POLL_INTERVAL_S = 0.005
# Two log files of this size at most for each server.
MAX_LOG_BYTES = 16 * 1024 * 1024
LOG_CHECK_INTERVAL_S = 30.0
CANCEL_AGAIN_S = 1.0
COMPLAINT_BYTES = 2000


class ServerFailed(RuntimeError):
    """A server did not start, or ended while it was waited for. The text says why and where."""


class PortTaken(ServerFailed):
    """The server could not listen because something else has the port."""


class ServerProcess:
    """A server that listens. Bound to the event loop that started it."""

    def __init__(
        self,
        *,
        name: str,
        url: str,
        process: asyncio.subprocess.Process,
        log_path: Path,
        make_ready: Callable[[], Awaitable[None]],
        trim_log: Callable[[int], None] | None = None,
    ) -> None:
        self.name = name
        self.url = url
        self.log_path = log_path
        self._process = process
        self._make_ready = make_ready
        self._trimming = None if trim_log is None else asyncio.create_task(_keep(trim_log, process))

    @property
    def pid(self) -> int:
        return self._process.pid

    def poll(self) -> int | None:
        """The exit code (negative: the signal), or None while it runs."""
        return self._process.returncode

    async def wait(self) -> int:
        """Wait for its end, whoever caused it."""
        code = await self._process.wait()
        if self._trimming is not None:
            self._trimming.cancel()
        return code

    async def ready(self, deadline_s: float = READY_DEADLINE_S) -> None:
        """Return once it takes writes. Raises ServerFailed when it ends first or is too slow."""
        making = asyncio.ensure_future(self._make_ready())
        ending = asyncio.ensure_future(self._process.wait())
        try:
            await asyncio.wait(
                (making, ending), timeout=deadline_s, return_when=asyncio.FIRST_COMPLETED
            )
            if making.done():
                making.result()
            elif ending.done():
                raise ServerFailed(f"{self.name} ended with {ending.result()}, see {self.log_path}")
            else:
                raise ServerFailed(f"{self.name} not ready in {deadline_s} s, see {self.log_path}")
        finally:
            await _end(making, ending)

    async def stop(self, grace_s: float = STOP_GRACE_S) -> int:
        """SIGTERM, wait, SIGKILL. Also kills when it is itself cancelled. Returns the exit code."""
        try:
            _signal(self._process.terminate)
            await asyncio.wait((asyncio.ensure_future(self._process.wait()),), timeout=grace_s)
        finally:
            if self._process.returncode is None:
                _signal(self._process.kill)
        return await self.wait()


class ServerSpec(ABC):
    """How to start one server in one folder. A supervisor owns it and starts it again at will.

    The port is chosen at the first start and kept for this object's life, so clients reconnect.
    """

    name: str

    def __init__(self, *, binary: Path, folder: Path, port: int | None = None) -> None:
        self.binary = binary
        self.folder = folder
        self.port = port
        self.log_path = folder / f"{self.name}.log"
        self.config_path = folder / f"{self.name}.conf"

    @abstractmethod
    def command(self) -> list[str]:
        """The server's own command line; its settings are in the config file."""

    @abstractmethod
    def url(self, port: int) -> str:
        """What clients connect to."""

    @abstractmethod
    def _config(self, port: int) -> str: ...

    @abstractmethod
    def _listens(self, pid: int, new_log: str) -> bool:
        """Judged by what this very process wrote: a port may answer and be someone else's."""

    @abstractmethod
    async def _make_ready(self, port: int, pid: int) -> None: ...

    def _first_ports(self) -> Iterator[int]:
        return ports.free_ports(PORT_TRIES)

    def _log_trimmer(self) -> Callable[[int], None] | None:
        return None

    async def start(self) -> ServerProcess:
        """Start and return once it listens. Raises ServerFailed; then nothing is left running."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self.port is not None:
            return await self._start_on(self.port)
        for port in self._first_ports():
            try:
                process = await self._start_on(port)
            except PortTaken:
                continue  # lost the race for it
            self.port = port
            return process
        raise ServerFailed(f"{self.name}: no free port found on {ports.LOOPBACK}")

    async def _start_on(self, port: int) -> ServerProcess:
        self.config_path.write_text(self._config(port))
        log_from = self.log_path.stat().st_size if self.log_path.exists() else 0
        process = await self._spawn()
        try:
            await self._until_it_listens(process, port, log_from)
        except BaseException:  # also when cancelled: nobody else knows of the process
            _signal(process.kill)
            await process.wait()
            raise
        return ServerProcess(
            name=self.name,
            url=self.url(port),
            process=process,
            log_path=self.log_path,
            make_ready=lambda: self._make_ready(port, process.pid),
            trim_log=self._log_trimmer(),
        )

    async def _until_it_listens(
        self, process: asyncio.subprocess.Process, port: int, log_from: int
    ) -> None:
        deadline = time.monotonic() + START_DEADLINE_S
        while not self._listens(process.pid, self._log_since(log_from)):
            if process.returncode is not None:
                raise self._failure(port, process.returncode, log_from)
            if time.monotonic() > deadline:
                raise ServerFailed(
                    f"{self.name} does not listen after {START_DEADLINE_S} s, see {self.log_path}"
                )
            await asyncio.sleep(POLL_INTERVAL_S)

    async def _spawn(self) -> asyncio.subprocess.Process:
        guard = (sys.executable, "-I", "-S", guarded_exec.__file__, str(os.getpid()))
        lock = (str(self.folder / f"{self.name}.lock"), str(LOCK_WAIT_S))
        with self._output_path.open("wb") as output:
            return await asyncio.create_subprocess_exec(
                *guard,
                *lock,
                *self.command(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C in the terminal is for the parent alone
            )

    @property
    def _output_path(self) -> Path:
        return self.folder / f"{self.name}.out"

    def _log_since(self, start: int) -> str:
        if not self.log_path.exists():
            return ""
        with self.log_path.open("rb") as log:
            log.seek(start)
            return log.read().decode(errors="replace")

    def _failure(self, port: int, code: int, log_from: int) -> ServerFailed:
        said = self._output_path.read_text(errors="replace") + self._log_since(log_from)
        if "ddress already in use" in said:
            return PortTaken(f"{self.name}: port {port} of {ports.LOOPBACK} is in use")
        if code == guarded_exec.EXIT_FOLDER_IN_USE:
            return ServerFailed(f"{self.name}: another one still runs in {self.folder}")
        return ServerFailed(
            f"{self.name} ended with {code} while starting, see {self.log_path}: "
            f"{said[-COMPLAINT_BYTES:].strip() or 'it said nothing'}"
        )


def _signal(send: Callable[[], None]) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended already
        send()


async def _end(*tasks: asyncio.Future[Any]) -> None:
    """Cancel until they are over: a driver that loses its server may swallow a cancellation."""
    while alive := [task for task in tasks if not task.done()]:
        for task in alive:
            task.cancel()
        await asyncio.wait(alive, timeout=CANCEL_AGAIN_S)
    await asyncio.gather(*tasks, return_exceptions=True)


async def _keep(trim_log: Callable[[int], None], process: asyncio.subprocess.Process) -> None:
    while process.returncode is None:
        trim_log(process.pid)
        await asyncio.sleep(LOG_CHECK_INTERVAL_S)
