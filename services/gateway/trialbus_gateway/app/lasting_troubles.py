"""What goes on being wrong is said when it begins, again ever less often, and when it is over."""

from collections.abc import Hashable
from dataclasses import dataclass

from trialbus.ports.clock import Clock
from trialbus.runtime.telemetry import Logger

FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 60.0


@dataclass(slots=True)
class _Lasting:
    """next_at: when it is said again; after: how long after the last time. times: that it was met,
    all in all."""

    event: str
    since: float
    next_at: float
    after: float
    times: int = 1


class LastingTroubles:
    """Kept of each is a little, until it is over."""

    def __init__(self, clock: Clock, log: Logger) -> None:
        self._clock = clock
        self._log = log
        self._lasting: dict[Hashable, _Lasting] = {}

    def met(self, key: Hashable, event: str, **fields: object) -> None:
        """Said if it is new, or was not said for a while: then with the newest fields."""
        now, found = self._clock.monotonic(), self._lasting.get(key)
        if found is None:
            self._lasting[key] = _Lasting(event, now, now + FIRST_PAUSE_S, FIRST_PAUSE_S)
            self._log.warning(event, **fields)
            return
        found.event = event
        found.times += 1
        if now < found.next_at:
            return
        found.after = min(found.after * 2, LONGEST_PAUSE_S)
        found.next_at = now + found.after
        self._log.warning(event, **fields, times=found.times, since_s=round(now - found.since))

    def over(self, key: Hashable, **fields: object) -> None:
        found = self._lasting.pop(key, None)
        if found is not None:
            lasted_s = round(self._clock.monotonic() - found.since, 1)
            self._log.info(
                "trouble is over",
                trouble=found.event,
                times=found.times,
                lasted_s=lasted_s,
                **fields,
            )

    def forget(self) -> None:
        """They are somebody else's from now on."""
        self._lasting.clear()
