"""Token buckets: how often each may ask. Pure in the time that is given to it."""

from collections import OrderedDict

# As many as are remembered; who comes after the oldest is forgotten begins with a full bucket.
_MOST = 10_000


class Buckets:
    """rate: a second; burst: at once, after a pause."""

    def __init__(self, *, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str, now_s: float) -> float:
        """0.0: granted; else the seconds until one may be."""
        level, at = self._levels.pop(name, (self._burst, now_s))
        level = min(self._burst, level + (now_s - at) * self._rate)
        waits_s = 0.0 if level >= 1 else (1 - level) / self._rate
        self._levels[name] = (level - 1 if waits_s == 0 else level, now_s)
        if len(self._levels) > _MOST:
            self._levels.popitem(last=False)
        return waits_s
