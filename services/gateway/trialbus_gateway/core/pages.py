"""Where a page of a listing ended, as a token that means nothing to who carries it."""

import base64
import binascii
import json
import math
from dataclasses import dataclass

from trialbus.kernel.ids import is_name

MAX_TOKEN_CHARS = 256
# What a store can compare with.
_MAX_INDEX = 2**31 - 1
_MAX_SECTIONS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """After this experiment (None: before the first), or amid its trials, after this index.

    sort: the order of its trials, "": that of opening. section, key: in which part of that order
    the index stands, and behind which value (None: that part is in the order of indices).
    """

    created_at: float | None = None
    uid: str = ""
    index: int | None = None
    sort: str = ""
    section: int = 0
    key: float | None = None


def encode_place(place: Place) -> str:
    fields = [float(place.created_at or 0.0), place.uid, place.index]
    if place.sort:
        fields += [place.sort, place.section, None if place.key is None else float(place.key)]
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip("=")


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
        case [float() as created_at, str() as uid, int() | None as index] if _is_place(
            created_at, uid
        ) and (index is None or _is_index(index)):
            return Place(created_at=created_at, uid=uid, index=index)
        case [
            float() as created_at,
            str() as uid,
            int() as index,
            str() as sort,
            int() as section,
            float() | None as key,
        ] if (
            _is_place(created_at, uid)
            and _is_index(index)
            and sort
            and 0 <= section < _MAX_SECTIONS
            and not (key is not None and math.isnan(key))
        ):
            return Place(
                created_at=created_at, uid=uid, index=index, sort=sort, section=section, key=key
            )
    raise ValueError(f"not a token of a page: {token!r}")


def _is_place(created_at: float, uid: str) -> bool:
    return math.isfinite(created_at) and is_name(uid)


def _is_index(index: int) -> bool:
    return 0 <= index <= _MAX_INDEX
