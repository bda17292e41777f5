"""Sobol's sequence in base 2, scrambled, with access to any place.

Antonov and Saleev 1979 (order by Gray code), Joe and Kuo 2008 (direction numbers), Matousek 1998
(scrambling by a random linear map and a digital shift, which keeps every net property).
"""

from trialbus_suggestion.core.joe_kuo import PRIMITIVES
from trialbus_suggestion.core.seeds import keyed_bits

# Every double in [0, 1) that is a multiple of 2^-52; and so many points.
BITS = 52
MAX_DIMENSIONS = len(PRIMITIVES)


def directions(dimension: int) -> list[int]:
    """The direction numbers of one dimension as fractions of 2^BITS (Joe and Kuo, equation 2)."""
    polynomial, *odd = PRIMITIVES[dimension]
    degree = polynomial.bit_length() - 1
    if degree == 0:  # the first dimension: van der Corput's sequence
        odd = [1] * BITS
    for j in range(len(odd), BITS):
        value = odd[j - degree]
        for k in range(1, degree + 1):
            if polynomial >> (degree - k) & 1:
                value ^= odd[j - k] << k
        odd.append(value)
    return [value << (BITS - 1 - j) for j, value in enumerate(odd)]


class ScrambledSobol:
    """`at(i)` is the i-th point of (0, 1)^dimensions, a function of seed and i."""

    def __init__(self, dimensions: int, seed: int) -> None:
        if not 0 < dimensions <= MAX_DIMENSIONS:
            raise ValueError(f"{dimensions} dimensions, but 1 to {MAX_DIMENSIONS} are known")
        self._directions = [_scrambled(directions(d), seed, d) for d in range(dimensions)]
        self._shifts = [keyed_bits(BITS, "shift", seed, d) for d in range(dimensions)]

    def at(self, index: int) -> list[float]:
        gray = index ^ (index >> 1)
        chosen = [j for j in range(gray.bit_length()) if gray >> j & 1]
        cube = []
        for numbers, shift in zip(self._directions, self._shifts, strict=True):
            bits = shift
            for j in chosen:
                bits ^= numbers[j]
            # The middle of the cell: neither 0 nor 1.
            cube.append((bits + 0.5) / 2**BITS)
        return cube


def _scrambled(numbers: list[int], seed: int, dimension: int) -> list[int]:
    """Each digit becomes itself plus a random sum of the digits before it."""
    rows = []
    for place in range(BITS):  # 0 is the last digit
        before = keyed_bits(BITS - 1 - place, "scramble", seed, dimension, place)
        rows.append((before << 1 | 1) << place)
    return [
        sum(((row & number).bit_count() & 1) << place for place, row in enumerate(rows))
        for number in numbers
    ]
