"""What the answer to a delivery means, and when it is tried again. Pure.

Source: Standard Webhooks 1.0.0, "Deliverability and reliability".
"""

from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum

# Between two attempts at one event: doubled from the first to the last, at random by half.
FIRST_DELAY_S = 1.0
LAST_DELAY_S = 300.0
# Of what a receiver may ask for.
MAX_RETRY_AFTER_S = 3600.0
# A webhook without any success for so long is paused: one event after the other tries it.
PAUSED_AFTER_S = 600.0
PROBE_INTERVAL_S = 300.0
# One event that is refused while others are taken is given up after this long; a webhook that takes
# none keeps them as long as the stream keeps events.
GIVEN_UP_AFTER_S = 24 * 3600.0
KEPT_S = 7 * 24 * 3600.0

_TRIED_AGAIN = frozenset({408, 425, 429})


class Verdict(Enum):
    DELIVERED = "delivered"
    AGAIN = "again"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """status: 0 if none came. why: then, what happened. retry_after: the header, "" without."""

    status: int
    why: str = ""
    retry_after: str = ""

    def told(self) -> str:
        if self.status == 0:
            return self.why
        if 300 <= self.status < 400:
            return f"answered {self.status}: redirects are not followed"
        return f"answered {self.status}"


def verdict_of(status: int) -> Verdict:
    """A redirect is tried again: it tells of the endpoint, not of the event."""
    if 200 <= status < 300:
        return Verdict.DELIVERED
    if 400 <= status < 500 and status not in _TRIED_AGAIN:
        return Verdict.REFUSED
    return Verdict.AGAIN


def delay_s(failures: int, chance: float) -> float:
    """After so many failures in a row (from 1). chance: at random in [0, 1)."""
    longest = min(LAST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(failures - 1, 30))
    return longest * (0.5 + chance / 2)


def retry_after_s(header: str, now: float) -> float:
    """Seconds or a date (RFC 9110, 10.2.3); 0 for anything else."""
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), MAX_RETRY_AFTER_S)
    try:
        then = parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return 0.0
    return min(max(0.0, then - now), MAX_RETRY_AFTER_S)


def is_paused(now: float, failing_since: float | None) -> bool:
    return failing_since is not None and now - failing_since >= PAUSED_AFTER_S


def is_given_up(now: float, queued_at: float, last_success_at: float | None) -> bool:
    age_s = now - queued_at
    others_are_taken = last_success_at is not None and last_success_at > queued_at
    return age_s > KEPT_S or (others_are_taken and age_s > GIVEN_UP_AFTER_S)
