"""A trial's output: asked of the launcher on the host of its run."""

from collections import deque
from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager, aclosing, nullcontext
from dataclasses import dataclass, replace

from trialbus.contracts import subjects
from trialbus.contracts.collections import CHUNKS
from trialbus.contracts.logs import LogReply, LogRequest
from trialbus.kernel.errors import Poison, Transient
from trialbus.kernel.ids import collector_run_id
from trialbus.kernel.limits import MAX_PAYLOAD_BYTES, REQUEST_TIMEOUT_S
from trialbus.kernel.run import Run
from trialbus.kernel.trial import Trial
from trialbus.ports.bus import Request
from trialbus.ports.store import Query
from trialbus.runtime.parts import Parts
from trialbus_gateway.app.documents import Documents
from trialbus_gateway.app.failures import NotThere
from trialbus_gateway.core.log_times import LogTimes, Stretch

# JSON may need six bytes for one.
PIECE_BYTES = MAX_PAYLOAD_BYTES // 8
# Of a long output the last lines are looked for in so much of its end.
TAIL_WINDOW_BYTES = 4 * 1024 * 1024
POLL_S = 0.2
# A launcher that restarts in the middle of a log is waited for.
PATIENCE_S = 10.0
_PAUSE_S = 0.5
_MAX_STRETCHES = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """begin: the byte of the output at which it begins, None where that is not known."""

    text: str = ""
    begin: int | None = None


class Logs:
    def __init__(
        self, parts: Parts, *, poll_s: float = POLL_S, patience_s: float = PATIENCE_S
    ) -> None:
        self._parts = parts
        self._documents = Documents(parts.store)
        self._poll_s = poll_s
        self._patience_s = patience_s

    async def read(
        self, trial: Trial, *, follow: bool, tail: int | None, previous: bool = False
    ) -> AsyncGenerator[str, None]:
        """The text of `pieces`."""
        pieces = self.pieces(trial, follow=follow, tail=tail, previous=previous)
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece.text

    async def pieces(
        self,
        trial: Trial,
        *,
        follow: bool,
        tail: int | None,
        previous: bool = False,
        of_collector: bool = False,
    ) -> AsyncGenerator[Piece, None]:
        """The output of its newest attempt, the first piece of which may be empty.

        tail: only so many lines of what is there now. previous: of the attempt before.
        of_collector: of its custom metrics collector. Raises NotThere when there is none before,
        Transient when the launcher of a run that lives is away.
        """
        run = await self._documents.run(trial, before=int(previous))
        if run is None and previous:
            raise NotThere(f"{trial.name} has no attempt before this one")
        while run is None and follow and not trial.ended:
            yield Piece()
            await self._parts.clock.sleep(self._poll_s)
            with self._untraced():
                trial = await self._documents.trial(trial.name)
                run = await self._documents.run(trial)
        kept = "" if of_collector else (run.log_tail if run else "") or trial.log_tail
        if run is not None and run.leased:
            kept = f"what worker {run.worker!r} prints is kept by it\n"
        if run is None:
            yield Piece(text=last_lines(kept, tail))
            return
        if of_collector:
            run = replace(run, id=collector_run_id(run.id))
        start = -TAIL_WINDOW_BYTES if tail is not None else 0
        try:
            reply = await self._ask(run, start)
        except Transient:
            if not run.ended:
                raise
            reply = LogReply(known=False)
        if not reply.known:
            yield Piece(text=last_lines(kept, tail))
            return
        begin = 0
        if tail is not None:
            lines = LastLines(tail)
            while reply.text:
                lines.add(reply.text)
                reply = await self._patiently(run, reply.next_byte)
            begin = reply.next_byte
            size = len(lines.text.encode("utf-8", "replace"))
            yield Piece(text=lines.text, begin=max(0, begin - size))
        async for piece in self._rest(run, reply, begin, follow=follow):
            yield piece

    async def _rest(
        self, run: Run, reply: LogReply, begin: int, *, follow: bool
    ) -> AsyncGenerator[Piece, None]:
        yield Piece(text=reply.text, begin=begin)
        while not reply.ended and reply.known:
            if not reply.text:
                if not follow:
                    return
                await self._parts.clock.sleep(self._poll_s)
            begin = reply.next_byte
            with self._untraced() if follow else nullcontext():
                reply = await self._patiently(run, begin)
            if reply.text:
                yield Piece(text=reply.text, begin=begin)

    def _untraced(self) -> AbstractContextManager[object]:
        """Who follows asks for hours: each question would be one more span of one trace. Not
        around what is yielded, for that would be the reader's context, too."""
        return self._parts.telemetry.tracing.outside()

    async def times(self, run: Run) -> LogTimes:
        """When a run wrote what. Of a long chain of chunks only the newest are looked at; what was
        written before them is said to be as new as they are."""
        query = Query(
            prefix=f"{run.id}@",
            order="-_id",
            limit=_MAX_STRETCHES,
            fields=("to_byte", "pushed", "stored_at"),
        )
        found = await self._parts.store.find(CHUNKS.name, query)
        return LogTimes(
            Stretch(to_byte=it["to_byte"] - it.get("pushed", 0), at=float(it["stored_at"]))
            for it in found
        )

    async def _patiently(self, run: Run, from_byte: int) -> LogReply:
        clock = self._parts.clock
        deadline = clock.monotonic() + self._patience_s
        while True:
            try:
                return await self._ask(run, from_byte)
            except Transient:
                if clock.monotonic() >= deadline:
                    raise
                await clock.sleep(_PAUSE_S)

    async def _ask(self, run: Run, from_byte: int) -> LogReply:
        if run.leased:
            return LogReply(known=False)  # its worker has it
        asked = LogRequest(run=run.id, from_byte=from_byte, max_bytes=PIECE_BYTES)
        request = Request(subject=subjects.log(run.host), data=asked.to_bytes())
        try:
            answer = await self._parts.bus.request(request, timeout_s=REQUEST_TIMEOUT_S)
            return LogReply.from_bytes(answer)
        except Poison as error:
            raise Transient(f"unreadable answer about a log: {error}") from error


class LastLines:
    """The last `count` lines of a text that comes in pieces; of very long ones fewer, so that
    they fit into the window."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._lines: deque[str] = deque()
        self._size = 0
        self._open = ""

    def add(self, piece: str) -> None:
        *lines, rest = (self._open + piece).split("\n")
        # A line without an end may not grow for ever.
        self._open = rest[-TAIL_WINDOW_BYTES:]
        for line in lines:
            self._lines.append(f"{line}\n")
            self._size += len(line) + 1
        while self._lines and (len(self._lines) > self._count or self._size > TAIL_WINDOW_BYTES):
            self._size -= len(self._lines.popleft())

    @property
    def text(self) -> str:
        lines = [*self._lines, self._open] if self._open else list(self._lines)
        return "".join(lines[-self._count :] if self._count else [])


def last_lines(text: str, count: int | None) -> str:
    if count is None:
        return text
    lines = LastLines(count)
    lines.add(text)
    return lines.text
