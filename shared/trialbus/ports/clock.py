"""Time, ids and waiting, injected so that a simulation can replay them."""

from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Seconds since the epoch, rounded to milliseconds."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start, never backwards: for durations and deadlines."""

    async def sleep(self, delay_s: float) -> None: ...


class Ids(Protocol):
    def new_id(self) -> str:
        """A fresh, unique id (a UUID)."""
