"""A pseudo-random order of 0 .. size - 1 that is computed place by place, never listed."""

from dataclasses import dataclass, field

from trialbus_suggestion.core.seeds import keyed_bits

# Four make a Feistel network a strong permutation (Luby and Rackoff 1988); halves of a few bits
# mix slowly, so twice as many.
ROUNDS = 8


@dataclass(frozen=True, slots=True)
class Permutation:
    """The law: `at` maps 0..size-1 one to one onto itself.

    A Feistel network over the next even number of bits; what falls outside is sent through once
    more (cycle walking: Black and Rogaway 2002, "Ciphers with arbitrary finite domains"), fewer
    than four times on average.
    """

    size: int
    seed: int
    _half: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_half", max(1, ((self.size - 1).bit_length() + 1) // 2))

    def at(self, place: int) -> int:
        """What stands at `place`, 0-based."""
        value = self._mixed(place)
        while value >= self.size:
            value = self._mixed(value)
        return value

    def _mixed(self, value: int) -> int:
        left, right = value >> self._half, value & ((1 << self._half) - 1)
        for turn in range(ROUNDS):
            mask = keyed_bits(self._half, "permutation", self.seed, turn, right)
            left, right = right, left ^ mask
        return left << self._half | right
