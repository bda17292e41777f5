"""The output of a run's container, followed while it runs: a stream that can be read from any byte
that its reader has not left behind."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress

from trialbus.kernel import limits
from trialbus.kernel.errors import Transient
from trialbus.ports.clock import Clock
from trialbus.ports.cluster import ClusterApi, ClusterError, Invalid, NotFound
from trialbus_trial_launcher.core.log_lines import LogLines

# Of what is read ahead; then the connection waits.
_MAX_AHEAD_BYTES = 256 * 1024


class LogStream:
    """One connection while the container runs, one more when it has ended. is_over: the container
    has. outside: of the span of a reader, whom the connection outlives."""

    def __init__(
        self,
        api: ClusterApi,
        clock: Clock,
        namespace: str,
        pod: str,
        container: str,
        is_over: Callable[[], bool],
        outside: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._api = api
        self._clock = clock
        self.pod = pod
        self._where = (namespace, pod, container)
        self._is_over = is_over
        self._outside = outside
        self._lines = LogLines()
        self._ahead = bytearray()
        self._ahead_from = 0
        self._tail = b""
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self.complete = False
        # It went with its pod before its end was seen.
        self.gone = False

    @property
    def length(self) -> int:
        """So far, or in all."""
        return self._lines.at

    @property
    def incomplete(self) -> bool:
        return self._lines.incomplete

    @property
    def tail(self) -> bytes:
        """The last bytes that came."""
        return self._tail

    async def read(self, from_byte: int, max_bytes: int) -> bytes:
        """What is there; of an ended container what comes, b"" at its end. Raises Transient."""
        if self._task is None or not self._ahead_from <= from_byte <= self._end:
            await self._begin(from_byte)
        del self._ahead[: from_byte - self._ahead_from]
        self._ahead_from = from_byte
        self._changed.set()
        if not self._ahead and not self.complete and self._is_over():
            await self._more()
        return bytes(self._ahead[:max_bytes])

    @property
    def _end(self) -> int:
        return self._ahead_from + len(self._ahead)

    async def _more(self) -> None:
        """Until something has come, or nothing more will."""
        try:
            async with asyncio.timeout(limits.CLUSTER_CALL_DEADLINE_S):
                while not self._ahead and not self.complete:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise Transient(f"the log of pod {self.pod} does not come") from None

    async def _begin(self, from_byte: int) -> None:
        """Anew: what lies before `from_byte` is passed over."""
        await self.close()
        self._lines = LogLines(skip_to=from_byte)
        self._ahead, self._ahead_from = bytearray(), from_byte
        self.complete = False
        with self._outside():
            self._task = asyncio.create_task(self._pump())

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _pump(self) -> None:
        pause_s = limits.CLUSTER_BACKOFF_S
        # Whether the last connection came to the log's end, as far as the server knows.
        ended = False
        while not self.complete:
            was_over = self._is_over()
            try:
                came = await self._follow()
            except NotFound:
                # Its pod is gone, and the log with it.
                self.gone = not ended
                self._finish()
                return
            except Invalid:
                if was_over:
                    # Its container never began.
                    self._finish()
                    return
                came = False
            except (Transient, ClusterError):
                came = ended = False
            else:
                ended = True
                if was_over:
                    self._finish()
                    return
            pause_s = (
                limits.CLUSTER_BACKOFF_S if came else min(2 * pause_s, limits.MAX_CLUSTER_BACKOFF_S)
            )
            await self._clock.sleep(limits.CLUSTER_BACKOFF_S if self._is_over() else pause_s)

    async def _follow(self) -> bool:
        """One connection, to its end; whether anything came."""
        namespace, pod, container = self._where
        since = self._lines.since
        came = False
        async with self._api.follow_log(
            namespace, pod, container=container, since=since, timestamps=True
        ) as pieces:
            self._lines.reconnected()
            async for piece in pieces:
                came = True
                self._keep(self._lines.feed(piece))
                while len(self._ahead) >= _MAX_AHEAD_BYTES:
                    self._changed.clear()
                    await self._changed.wait()
        return came

    def _keep(self, data: bytes) -> None:
        if data:
            self._ahead += data
            self._tail = (self._tail + data)[-limits.LOG_TAIL_BYTES :]
            self._changed.set()

    def _finish(self) -> None:
        self._keep(self._lines.finish())
        self.complete = True
        self._changed.set()
