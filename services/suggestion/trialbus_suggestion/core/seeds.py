"""Seeds that are the same on every machine and in every version."""

from hashlib import blake2b

from trialbus.kernel.spec import AlgorithmSpec


def experiment_seed(uid: str, algorithm: AlgorithmSpec) -> int:
    """From Katib's `random_state` if it is set, so that runs can be repeated; else from the uid."""
    state = algorithm.setting("random_state")
    return _hashed("experiment", uid if state is None else f"random_state={int(state)}")


def request_seed(seed: int, number: int) -> int:
    """The seed of the request with this number (64 bits)."""
    return _hashed("request", str(seed), str(number))


def _hashed(*parts: str) -> int:
    return int.from_bytes(blake2b("\0".join(parts).encode(), digest_size=8).digest(), "big")
