"""What was seen lately."""

from collections import OrderedDict

# Repeats come within seconds.
MOST = 5000


class Recent:
    """Ids of events: the same one may come again, and is no other event."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._ids: OrderedDict[str, None] = OrderedDict()

    def is_new(self, event_id: str) -> bool:
        """And remember it."""
        if event_id in self._ids:
            return False
        self._ids[event_id] = None
        if len(self._ids) > self._most:
            self._ids.popitem(last=False)
        return True
