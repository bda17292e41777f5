"""One process that is started again whenever it ends."""

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Protocol

from trialbus.local.forking import ForkFailed, ForkServerGone
from trialbus.local.servers import ServerFailed
from trialbus.local.supervisor_log import log

FIRST_PAUSE_S = 0.1
LAST_PAUSE_S = 5.0
# A process that has lived this long has earned a short pause again.
SETTLED_AFTER_S = 30.0


class State(StrEnum):
    STARTING = "starting"
    READY = "ready"
    NOT_READY = "not ready"  # it runs, and says that it cannot work now
    PAUSED = "waits to be restarted"
    STOPPED = "stopped"


class Child(Protocol):
    """A process of ours."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None: ...

    async def wait(self) -> int: ...

    async def stop(self, grace_s: float) -> int: ...


class Kept:
    """start: makes the process; may raise what says that this try failed. changed: called
    whenever pid, state or restarts have changed."""

    def __init__(
        self, name: str, start: Callable[[], Awaitable[Child]], changed: Callable[[], None]
    ) -> None:
        self.name = name
        self.state = State.STARTING
        self.restarts = 0
        self._start = start
        self._changed = changed
        self._child: Child | None = None
        self._stopping = False
        self._keeping: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        return None if self._child is None else self._child.pid

    def keep(self, first: Child | None = None) -> None:
        """Go on for ever, from a process that runs already or from none."""
        self._child = first
        self._keeping = asyncio.create_task(self._keep(), name=f"keep {self.name}")

    def show(self, state: State) -> None:
        if state is not self.state:
            self.state = state
            self._changed()

    async def stop(self, grace_s: float) -> None:
        self._stopping = True
        child = self._child
        if child is not None and child.poll() is None:
            code = await child.stop(grace_s)
            log("ended", process=self.name, code=code)
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        if self._child is not None and self._child.poll() is None:  # it had just been started
            await self._child.stop(grace_s)
        self._child = None
        self.show(State.STOPPED)

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE_S
        while not self._stopping:
            began = loop.time()
            ended = await self._live()
            if self._stopping:
                return
            pause = FIRST_PAUSE_S if loop.time() - began > SETTLED_AFTER_S else pause
            self._child = None
            self.restarts += 1
            log("restarting", process=self.name, ended=ended, pause_s=pause)
            self.state = State.PAUSED
            self._changed()
            await asyncio.sleep(pause)
            pause = min(pause * 2, LAST_PAUSE_S)

    async def _live(self) -> str:
        """One life: how it ended."""
        if self._child is None:
            self.show(State.STARTING)
            try:
                self._child = await self._start()
            except (ServerFailed, ForkFailed, ForkServerGone, OSError) as error:
                return str(error)
            log("started", process=self.name, pid=self._child.pid)
        self._changed()
        return f"exit code {await self._child.wait()}"
