"""Requests over the bus, repeated until somebody answers."""

from trialbus.kernel.errors import Transient
from trialbus.kernel.limits import REQUEST_TIMEOUT_S
from trialbus.ports.bus import Request
from trialbus.runtime.parts import Parts

# How long a caller is kept waiting for a service that is away.
ANSWER_DEADLINE_S = 10.0
_FIRST_PAUSE_S = 0.1
_LAST_PAUSE_S = 1.0


async def answered(
    parts: Parts,
    request: Request,
    *,
    attempt_s: float = REQUEST_TIMEOUT_S,
    deadline_s: float = ANSWER_DEADLINE_S,
) -> bytes:
    """attempt_s: how long the first try waits; each further one twice as long, at most
    `REQUEST_TIMEOUT_S` or this. Its effect must be the same however often it comes.

    Raises Transient when the deadline comes first: what became of it is not known.
    """
    clock = parts.clock
    deadline, pause = clock.monotonic() + deadline_s, _FIRST_PAUSE_S
    longest = max(attempt_s, REQUEST_TIMEOUT_S)
    while True:
        left = deadline - clock.monotonic()
        try:
            return await parts.bus.request(request, timeout_s=max(0.001, min(attempt_s, left)))
        except Transient as error:
            left = deadline - clock.monotonic()
            if left <= 0:
                raise Transient(f"the request was not answered: {error}") from error
            await clock.sleep(min(pause, left))
            pause = min(pause * 2, _LAST_PAUSE_S)
            attempt_s = min(attempt_s * 2, longest)
