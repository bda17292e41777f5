"""Where a page of a listing ended, as a token that means nothing to who carries it."""

import base64
import binascii
import json
import math
from dataclasses import dataclass

MAX_TOKEN_CHARS = 256
# What a store can compare with.
_MAX_INDEX = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """After this experiment (None: before the first), or amid its trials, after this index."""

    created_at: float | None = None
    uid: str = ""
    index: int | None = None


def encode_place(place: Place) -> str:
    text = json.dumps([float(place.created_at or 0.0), place.uid, place.index])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_place(token: str) -> Place:
    """Raises ValueError when `encode_place` did not make it."""
    if len(token) > MAX_TOKEN_CHARS:
        raise ValueError("not a token of a page: too long")
    try:
        padded = token.encode("ascii") + b"=" * (-len(token) % 4)
        fields = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError) as error:
        raise ValueError(f"not a token of a page: {token!r}") from error
    match fields:
        case [float() as created_at, str() as uid, int() | None as index] if (
            math.isfinite(created_at) and uid and (index is None or 0 <= index <= _MAX_INDEX)
        ):
            return Place(created_at=created_at, uid=uid, index=index)
    raise ValueError(f"not a token of a page: {token!r}")
