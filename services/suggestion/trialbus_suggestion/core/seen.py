"""Which points have been proposed, kept small, and how to draw one that has not."""

from array import array
from bisect import bisect_left
from hashlib import blake2b
from typing import TYPE_CHECKING

from trialbus.kernel.space import Point, SearchSpace

if TYPE_CHECKING:
    from random import Random

# Draws before giving up: past this, all but a few per cent of the probability is spent.
MAX_DRAWS = 100
# Fewer new keys than this are not worth a merge.
MIN_MERGE = 1024
KEY_BYTES = 8
MAX_KEY = 2 ** (8 * KEY_BYTES)


class SeenPoints:
    """A set of points in 8 to 30 bytes each, however many there are.

    A finite space is keyed by index, so it is spent exactly; else 64-bit hashes, which two of a
    million points share with a chance of 3e-8, and then a fresh point is passed over.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._cardinality = space.cardinality()
        self._exact = self._cardinality is not None and self._cardinality <= MAX_KEY
        self._sorted = array("Q")
        self._recent: set[int] = set()

    def __len__(self) -> int:
        return len(self._sorted) + len(self._recent)

    def __contains__(self, point: Point) -> bool:
        return self._has(self._key(point))

    def add(self, point: Point) -> None:
        key = self._key(point)
        if self._has(key):
            return
        self._recent.add(key)
        if len(self._recent) >= max(MIN_MERGE, len(self._sorted) // 4):
            self._sorted = array("Q", sorted((*self._sorted, *self._recent)))
            self._recent = set()

    @property
    def is_spent(self) -> bool:
        """Whether every point of the space has been seen."""
        return self._cardinality is not None and len(self) >= self._cardinality

    def _has(self, key: int) -> bool:
        if key in self._recent:
            return True
        at = bisect_left(self._sorted, key)
        return at < len(self._sorted) and self._sorted[at] == key

    def _key(self, point: Point) -> int:
        if self._exact:
            return self._space.index_of(point)
        text = repr(self._space.key(point)).encode()
        return int.from_bytes(blake2b(text, digest_size=KEY_BYTES).digest(), "big")


def draw(space: SearchSpace, rng: "Random") -> Point:
    """A point by the distributions of its parameters."""
    return space.from_unit([rng.random() for _ in space.axes])


def draw_unseen(space: SearchSpace, seen: SeenPoints, rng: "Random") -> Point | None:
    """A point that has not been seen; None: there is none left.

    Draws by the distributions; when those hit only seen points, the next unseen one from a
    random place on, so that the last points are found without listing the space.
    """
    if seen.is_spent:
        return None
    for _ in range(MAX_DRAWS):
        point = draw(space, rng)
        if point not in seen:
            return point
    cardinality = space.cardinality()
    if cardinality is None:  # a range of a few neighbouring doubles
        return None
    start = rng.randrange(cardinality)
    probes = (space.point_at((start + i) % cardinality) for i in range(cardinality))
    return next(point for point in probes if point not in seen)
