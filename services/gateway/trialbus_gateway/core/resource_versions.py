"""What `metadata.resourceVersion` holds: a decimal integer of 63 bits.

| bits | meaning |
|---|---|
| 41 | milliseconds since the epoch, run ahead where many changes come at once |
| 6 | a number drawn by each index of changes, so that another gateway's versions are not its own |
| 16 | a check sum of the object's spec and metadata |

The first two, the *tick*, grow with every change, so versions of one index are ordered. The check
sum tells, without any memory, whether somebody edited the object since a version was read: a
status that moved on is no edit.
"""

import json
import zlib
from collections.abc import Mapping
from typing import Any

_EDIT_BITS = 16
_SALT_BITS = 6
SALTS = 1 << _SALT_BITS
_MAX_DIGITS = 19
# What changes without anybody editing the object.
_NOT_EDITED = frozenset({"resourceVersion", "managedFields"})


class Ticks:
    """Gives out ticks, each above all before it. salt: 0 .. SALTS - 1."""

    def __init__(self) -> None:
        self._last_ms = 0

    def next(self, now: float, salt: int) -> int:
        """now: seconds since the epoch."""
        self._last_ms = max(int(now * 1000), self._last_ms + 1)
        return self._last_ms << _SALT_BITS | salt


def version_of(tick: int, view: Mapping[str, Any] | None = None) -> str:
    """Of an object at this tick; without one, of the whole collection."""
    return str(tick << _EDIT_BITS | (0 if view is None else edit_sum(view)))


def tick_of(version: str) -> int:
    """Raises ValueError for what cannot be a version."""
    return _number(version) >> _EDIT_BITS


def edited_since(view: Mapping[str, Any], version: str) -> bool:
    """Whether spec or metadata differ from what they were at `version`; also True for what cannot
    be a version. One edit in 65,536 goes unnoticed."""
    try:
        return _number(version) & ((1 << _EDIT_BITS) - 1) != edit_sum(view)
    except ValueError:
        return True


def edit_sum(view: Mapping[str, Any]) -> int:
    metadata = {key: it for key, it in view["metadata"].items() if key not in _NOT_EDITED}
    text = json.dumps([metadata, view.get("spec")], sort_keys=True)
    return zlib.crc32(text.encode()) & ((1 << _EDIT_BITS) - 1)


def _number(version: str) -> int:
    if not (version.isascii() and version.isdigit() and len(version) <= _MAX_DIGITS):
        raise ValueError(f"not a resource version: {version[:100]!r}")
    return int(version)
