"""Asking again: when, and for how long. Every call carries an id or only reads, so it may be
repeated without a second effect."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from trialbus.client.calls import RETRIED, Answer, Call, Flow, Pause, Send, failure_of
from trialbus.client.failures import Unavailable

FIRST_PAUSE_S = 0.05
LAST_PAUSE_S = 2.0
# Of one try: a connection that has silently died is given up, and another one made.
TRY_S = 15.0
# A gateway that says when to come again is believed up to here.
MAX_RETRY_AFTER_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """seconds: for one call, all tries and pauses together."""

    seconds: float
    now: Callable[[], float] = time.monotonic
    draw: Callable[[], float] = random.random


def patiently(call: Call, patience: Patience) -> Flow[Answer]:
    """The first answer that is no "try again". Raises Unavailable with the last reason."""
    began, tries = patience.now(), 0
    while True:
        left = patience.seconds - (patience.now() - began)
        after: float | None = None
        try:
            answer = yield Send(call=call, timeout_s=max(min(left, TRY_S), 0.1) + call.holds_s)
            assert answer is not None
            if answer.status not in RETRIED:
                return answer
            failure, after = failure_of(answer), _retry_after(answer)
        except Unavailable as error:
            failure = error
        left = patience.seconds - (patience.now() - began)
        if left <= 0 or left < (after or 0.0):
            raise failure
        # The last try comes at the very end.
        yield Pause(seconds=min(_pause_s(tries, after, patience), left))
        tries += 1


def _pause_s(tries: int, after: float | None, patience: Patience) -> float:
    """Half of it by chance, so that those who failed together do not come back together."""
    most: float = min(FIRST_PAUSE_S * 2.0**tries, LAST_PAUSE_S)
    pause = most * (0.5 + 0.5 * patience.draw())
    return pause if after is None else max(pause, after)


def _retry_after(answer: Answer) -> float | None:
    """Seconds; a date or nonsense is none."""
    text = answer.headers.get("retry-after", "")
    return min(float(text), MAX_RETRY_AFTER_S) if text.isascii() and text.isdigit() else None
