"""Reading runs' output for people."""

from collections.abc import Sequence

from trialbus.contracts.logs import LogReply, LogRequest
from trialbus.kernel.errors import Poison
from trialbus.kernel.limits import MAX_PAYLOAD_BYTES
from trialbus.ports.bus import Request
from trialbus.ports.launcher import Launcher, RunState

# JSON may need six bytes for one.
_MAX_BYTES = MAX_PAYLOAD_BYTES // 8


class Logs:
    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher

    async def respond(self, requests: Sequence[Request]) -> Sequence[bytes]:
        return [(await self._answer(request)).to_bytes() for request in requests]

    async def _answer(self, request: Request) -> LogReply:
        try:
            asked = LogRequest.from_bytes(request.data)
        except Poison:
            return LogReply(known=False, ended=True)
        status = (await self._launcher.status([asked.run]))[asked.run]
        if status.state is RunState.ABSENT:
            return LogReply(known=False, ended=True)
        size = max(0, min(asked.max_bytes, _MAX_BYTES))
        data = await self._launcher.read(asked.run, max(0, asked.from_byte), size)
        following = asked.from_byte + len(data)
        over = status.state is not RunState.RUNNING and following >= status.output_bytes
        return LogReply(
            text=data.decode(errors="replace"), next_byte=following, ended=over, known=True
        )
