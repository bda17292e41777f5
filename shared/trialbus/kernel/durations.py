"""Lengths of time as people write them, as Go does and with days: `90s`, `2h30m`, `1d`, `1.5h`."""

import re
from collections.abc import Mapping

_UNITS_S: Mapping[str, float] = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[dhms])", re.ASCII)
_WHOLE = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)
# A hundred years: more is a slip of the keyboard.
_LONGEST_S = 100 * 365 * 86400.0


def duration_s(text: str) -> float:
    """Units stand in any order and as often as one likes. Raises ValueError, which says what would
    be right: also for nothing, and for more than a hundred years."""
    if len(text) > 64 or _WHOLE.fullmatch(text) is None:
        raise ValueError("must be a duration like 90s, 2h30m or 1d")
    seconds = sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(text))
    if not 0 < seconds <= _LONGEST_S:
        raise ValueError("must be a duration above 0 and of at most a hundred years")
    return seconds


def duration_text(seconds: float) -> str:
    """In whole seconds, the largest units first: `1d2h`, `1m30s`; `duration_s` reads it."""
    left, parts = round(seconds), []
    for unit in ("d", "h", "m", "s"):
        count, left = divmod(left, round(_UNITS_S[unit]))
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
