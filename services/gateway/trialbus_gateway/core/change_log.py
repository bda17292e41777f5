"""What changed lately, in order: bounded, so that who lags too far behind must read anew."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

# As text; in memory a view is some four times as large.
MAX_SIZE = 8_000_000

Object = dict[str, Any]
Labels = Mapping[str, str]


class Kind(StrEnum):
    """Katib's kinds, by their names in paths."""

    EXPERIMENTS = "experiments"
    SUGGESTIONS = "suggestions"
    TRIALS = "trials"


class ChangeType(StrEnum):
    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """view: the object with its new resourceVersion; of a deleted one its last state, as far as it
    is known. before: its labels before the change, None when it was not there."""

    tick: int
    type: ChangeType
    kind: Kind
    view: Object
    before: Labels | None


class Forgotten(Exception):
    """The log does not reach back to this tick, or never gave it out."""


class ChangeLog:
    """start: the tick at which nothing had changed yet. capacity: how many changes are kept at
    least, unless they are larger than `max_size` together; twice as much at most."""

    def __init__(self, start: int, capacity: int, *, max_size: int = MAX_SIZE) -> None:
        self.capacity = capacity
        self._max_size = max_size
        # All changes after this tick are here.
        self._floor = start
        self._changes: list[Change] = []
        self._sizes: list[int] = []
        self._size = 0

    @property
    def newest(self) -> int:
        return self._changes[-1].tick if self._changes else self._floor

    def append(self, change: Change, size: int = 0) -> None:
        """size: about that of its view as text."""
        self._changes.append(change)
        self._sizes.append(size)
        self._size += size
        if len(self._changes) > 2 * self.capacity or self._size > 2 * self._max_size:
            # Now and then, so that an append costs little.
            self._forget()

    def _forget(self) -> None:
        """The newest one stays in any case."""
        count = max(0, len(self._changes) - self.capacity - 1)
        size = self._size - sum(self._sizes[:count])
        while size > self._max_size and count < len(self._changes) - 1:
            size -= self._sizes[count]
            count += 1
        if count:
            self._floor, self._size = self._changes[count - 1].tick, size
            del self._changes[:count], self._sizes[:count]

    def begin_anew(self, tick: int) -> None:
        """Nothing before this tick is known any more."""
        self._floor, self._size = tick, 0
        self._changes.clear()
        self._sizes.clear()

    def knows(self, tick: int) -> bool:
        if tick == self._floor:
            return True
        place = bisect_right(self._changes, tick, key=_tick)
        return place > 0 and self._changes[place - 1].tick == tick

    def after(self, tick: int, limit: int) -> Sequence[Change]:
        """The next ones, oldest first. Raises Forgotten."""
        if not self.knows(tick):
            raise Forgotten
        place = bisect_right(self._changes, tick, key=_tick)
        return self._changes[place : place + limit]

    def last_views(self, kind: Kind, uids: str) -> dict[str, Object]:
        """By uid, of the objects whose uids begin so. The metadata is the caller's own."""
        views = {}
        for change in self._changes:
            uid = str(change.view["metadata"]["uid"])
            if change.kind is kind and uid.startswith(uids):
                views[uid] = {**change.view, "metadata": {**change.view["metadata"]}}
        return views


def _tick(change: Change) -> int:
    return change.tick
