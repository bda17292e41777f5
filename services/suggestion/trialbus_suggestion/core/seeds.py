"""Seeds that are the same on every machine and in every version."""

from hashlib import blake2b


def request_seed(seed: int, number: int) -> int:
    """The seed of the request with this number (64 bits)."""
    return _hashed("request", str(seed), str(number))


def _hashed(*parts: str) -> int:
    return int.from_bytes(blake2b("\0".join(parts).encode(), digest_size=8).digest(), "big")
