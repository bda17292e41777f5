"""What the reading side of a shipped stream remembers between two requests.

It travels with the stream: the sender gets a note with each answer and returns it with the next
request, so any replica can answer. A trial that forges its note spoils its own metrics only.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """since: the collector has the stream up to here; what was read after it held no points.
    exact: places among the wanted metrics of those that had a tag of their own; longer: place ->
    the best of the longer tags. again: the records come a second time, for those."""

    since: int = 0
    exact: frozenset[int] = frozenset()
    longer: Mapping[int, str] = field(default_factory=dict)
    again: bool = False

    @property
    def missing(self) -> dict[int, str]:
        """Metrics without a tag of their own, with the tag that is taken for theirs."""
        return {place: tag for place, tag in self.longer.items() if place not in self.exact}


def written(note: Note, most_chars: int) -> str:
    """base64url. What is too much of longer tags is left out, of the last metrics first."""
    longer = dict(sorted(note.missing.items()))
    while True:
        said = {
            "since": note.since,
            "exact": sorted(note.exact),
            "longer": {str(place): tag for place, tag in longer.items()},
            "again": note.again,
        }
        short = {key: value for key, value in said.items() if value}
        data = json.dumps(short, separators=(",", ":"), ensure_ascii=False).encode()
        text = base64.urlsafe_b64encode(data).decode().rstrip("=")
        if len(text) <= most_chars or not longer:
            return text
        longer.popitem()


def read(text: str) -> Note | None:
    """None: it is none of ours."""
    if not text:
        return Note()
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        said: Json = json.loads(data)
    except (ValueError, binascii.Error, RecursionError):
        return None
    match said:
        case dict():
            return _note(said)
    return None


def _note(said: Mapping[str, Json]) -> Note | None:
    since, exact = said.get("since", 0), said.get("exact", [])
    longer, again = said.get("longer", {}), said.get("again", False)
    good = (
        _is_place(since)
        and isinstance(exact, list)
        and all(map(_is_place, exact))
        and isinstance(longer, dict)
        and all(it.isdecimal() and isinstance(tag, str) for it, tag in longer.items())
        and isinstance(again, bool)
    )
    if not good:
        return None
    return Note(
        since=since,
        exact=frozenset(exact),
        longer={int(place): tag for place, tag in longer.items()},
        again=again,
    )


def _is_place(value: Json) -> bool:
    return type(value) is int and value >= 0
