"""The supervisor's side of the fork server: starts it, gives orders, hears of ends."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from contextlib import suppress
from typing import Any

from trialbus.local.fork_server import PACKET_BYTES, Order

# A process whose end was not seen because the fork server died, which killed it.
KILLED = -signal.SIGKILL


class ForkServerGone(RuntimeError):
    """The fork server died before it had answered; the next order starts another."""


class ForkFailed(RuntimeError):
    """The machine gave no process; a later order may get one."""


class ForkedService:
    """A process made by the fork server."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def poll(self) -> int | None:
        return self._code.result() if self._code.done() else None

    async def wait(self) -> int:
        """The exit code; negative: the signal."""
        return await asyncio.shield(self._code)

    async def stop(self, grace_s: float) -> int:
        """SIGTERM, wait, SIGKILL."""
        self._signal(signal.SIGTERM)
        try:
            return await asyncio.wait_for(self.wait(), grace_s)
        except TimeoutError:
            self._signal(signal.SIGKILL)
        return await self.wait()

    def _signal(self, number: int) -> None:
        if not self._code.done():
            with suppress(ProcessLookupError):  # its end is about to be told
                os.kill(self.pid, number)

    def ended(self, code: int) -> None:
        if not self._code.done():
            self._code.set_result(code)


class ForkServer:
    """Begins to load when it is made; dies with this process."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[ForkedService]] = deque()
        self._children: dict[int, ForkedService] = {}
        self._listening: asyncio.Task[None] | None = None
        self._begin()

    def _begin(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = (sys.executable, "-P", "-m", "trialbus.local.fork_server", str(os.getpid()))
        with theirs:
            self._process = subprocess.Popen(
                command, stdin=theirs.fileno(), stdout=subprocess.DEVNULL
            )
        ours.setblocking(False)
        self._socket = ours

    @property
    def pid(self) -> int:
        return int(self._process.pid)

    async def fork(self, order: Order) -> ForkedService:
        """A new process. Raises ForkServerGone, ForkFailed."""
        loop = asyncio.get_running_loop()
        if self._listening is not None and self._listening.done():
            self._socket.close()
            self._begin()
            self._listening = None
        if self._listening is None:
            self._listening = loop.create_task(self._listen(self._socket))
        answer: asyncio.Future[ForkedService] = loop.create_future()
        self._waiting.append(answer)
        try:
            await loop.sock_sendall(self._socket, order.encode())
        except OSError as error:
            with suppress(ValueError):  # the listener has failed it already
                self._waiting.remove(answer)
            answer.cancel()
            raise ForkServerGone(str(error)) from error
        return await answer

    async def _listen(self, orders: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with suppress(ConnectionError):
            while packet := await loop.sock_recv(orders, PACKET_BYTES):
                self._take(json.loads(packet))
        await asyncio.to_thread(self._process.wait)
        for child in self._children.values():
            child.ended(KILLED)
        self._children.clear()
        for answer in self._waiting:
            if not answer.done():
                answer.set_exception(ForkServerGone("the fork server has ended"))
        self._waiting.clear()

    def _take(self, message: dict[str, Any]) -> None:
        if "started" in message:
            child = ForkedService(message["started"])
            self._children[child.pid] = child
            answer = self._waiting.popleft()
            if answer.done():  # nobody waits for it any more
                os.kill(child.pid, signal.SIGKILL)
            else:
                answer.set_result(child)
            return
        if "failed" in message:
            answer = self._waiting.popleft()
            if not answer.done():
                answer.set_exception(ForkFailed(f"cannot fork: {message['failed']}"))
            return
        child = self._children.pop(message["ended"])
        child.ended(message["code"])

    async def close(self) -> None:
        """End it, and whatever of its children still runs."""
        self._process.kill()
        self._process.wait()
        if self._listening is not None:
            await self._listening
        self._socket.close()
