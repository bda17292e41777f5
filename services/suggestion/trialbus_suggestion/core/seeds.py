"""Seeds that are the same on every machine and in every version."""

from hashlib import blake2b, shake_128


def request_seed(seed: int, number: int) -> int:
    """The seed of the request with this number (64 bits)."""
    return _hashed("request", str(seed), str(number))


def point_seed(seed: int, index: int) -> int:
    """The seed of the point with this index (64 bits), however requests are cut."""
    return _hashed("point", str(seed), str(index))


def keyed_bits(count: int, *parts: object) -> int:
    """`count` bits that look random, a function of the parts alone."""
    stretched = shake_128("\0".join(map(str, parts)).encode()).digest(-(-count // 8))
    return int.from_bytes(stretched, "big") & ((1 << count) - 1)


def _hashed(*parts: str) -> int:
    return int.from_bytes(blake2b("\0".join(parts).encode(), digest_size=8).digest(), "big")
