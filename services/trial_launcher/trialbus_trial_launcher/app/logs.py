"""Reading runs' output for people."""

import codecs
from collections.abc import Sequence
from typing import Protocol

from trialbus.contracts.logs import LogReply, LogRequest
from trialbus.kernel.errors import Poison
from trialbus.kernel.limits import MAX_PAYLOAD_BYTES
from trialbus.ports.bus import Request
from trialbus.ports.launcher import RunState, RunStatus

_LONGEST_CHARACTER_BYTES = 4
# JSON may need six bytes for one.
_MAX_BYTES = MAX_PAYLOAD_BYTES // 8


class Readable(Protocol):
    """The part of a launcher that is asked here."""

    async def status(self, run_ids: Sequence[str]) -> dict[str, RunStatus]: ...

    async def read(self, run_id: str, from_byte: int, max_bytes: int) -> bytes: ...


class Logs:
    def __init__(self, launcher: Readable) -> None:
        self._launcher = launcher

    async def respond(self, requests: Sequence[Request]) -> Sequence[bytes]:
        return [(await self._answer(request)).to_bytes() for request in requests]

    async def _answer(self, request: Request) -> LogReply:
        try:
            asked = LogRequest.from_bytes(request.data)
            status = (await self._launcher.status([asked.run]))[asked.run]
        except Poison:
            return LogReply(known=False, ended=True)
        if status.state is RunState.ABSENT:
            return LogReply(known=False, ended=True)
        size = max(_LONGEST_CHARACTER_BYTES, min(asked.max_bytes, _MAX_BYTES))
        start = min(asked.from_byte, status.output_bytes)
        if start < 0:
            start = max(0, status.output_bytes + start)
        data = await self._launcher.read(asked.run, start, size)
        at_end = start + len(data) >= status.output_bytes
        over = at_end and status.state is not RunState.RUNNING
        text, taken = _whole_characters(data, final=over)
        return LogReply(text=text, next_byte=start + taken, ended=over, known=True)


def _whole_characters(data: bytes, *, final: bool) -> tuple[str, int]:
    """The text of `data`, and how many bytes it took: a character that the piece cuts waits for
    the next piece."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    text = decoder.decode(data, final)
    waiting, _ = decoder.getstate()
    return text, len(data) - len(waiting)
