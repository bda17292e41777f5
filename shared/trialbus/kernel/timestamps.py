"""Times as people and programs write them, to seconds since the epoch."""

import re
from datetime import UTC, datetime

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)", re.ASCII)
_ZONED = re.compile(r"([^.]{19})(\.\d+)?([+-]\d\d:\d\d)", re.ASCII)
_DECIMAL = re.compile(r"[+-]?(?:\d++\.?\d*+|\.\d+)(?:[Ee][+-]?\d+)?", re.ASCII)
# The years that RFC 3339 can write in UTC: 1 to 9999.
_EARLIEST_S = -62_135_596_800.0
_LATEST_S = 253_402_300_799.0


def rfc3339_seconds(text: str) -> float | None:
    """None: it is none, or no such time exists. Exact to the microsecond, beyond which a float of
    today's seconds has no digits; further ones are cut."""
    if _RFC3339.fullmatch(text) is None:
        return None
    try:
        return _dated(datetime.fromisoformat(text).timestamp())
    except ValueError:
        return None


def in_utc(text: str) -> str:
    """The same moment of RFC 3339 written with Z, with all digits of its seconds; what is no such
    time as it is."""
    zoned = _ZONED.fullmatch(text)
    seconds = None if zoned is None else rfc3339_seconds(f"{zoned[1]}{zoned[3]}")
    if zoned is None or seconds is None:
        return text
    whole = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}{zoned[2] or ''}Z"


def epoch_seconds(value: object) -> float | None:
    """Of a number, or of text that is RFC 3339 or a decimal number; None: no time that has a
    year."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str):
        text = value.strip()
        if (at := rfc3339_seconds(text)) is not None:
            return at
        if _DECIMAL.fullmatch(text) is None:
            return None
        value = text
    try:
        seconds = float(value)
    except OverflowError:
        return None
    return _dated(seconds)


def _dated(seconds: float) -> float | None:
    """None: it has no year that could be written (nor has NaN)."""
    return seconds if _EARLIEST_S <= seconds <= _LATEST_S else None
