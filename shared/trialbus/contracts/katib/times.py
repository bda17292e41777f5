"""Times as Kubernetes writes them (RFC 3339 in UTC, whole seconds), and as Katib's metrics have
them (parts of a second down to nanoseconds)."""

import re
from datetime import UTC, datetime

_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(at: float) -> str:
    """`at`: seconds since the epoch; parts of a second are cut off, as in Kubernetes."""
    return datetime.fromtimestamp(int(at // 1), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339_or_none(at: float | None) -> str | None:
    return None if at is None else rfc3339(at)


def parse_rfc3339_ns(text: str) -> int:
    """Nanoseconds since the epoch, exactly. Raises ValueError."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"not a time of RFC 3339 with at most nine digits of a second: {text!r}")
    date, clock, fraction, zone = match.groups()
    since = datetime.fromisoformat(f"{date}T{clock}{zone.upper()}") - _EPOCH
    seconds = since.days * 86400 + since.seconds
    return seconds * 10**9 + int((fraction or "").ljust(9, "0"))


def rfc3339_us(at_us: int) -> str:
    """Microseconds since the epoch, with as many digits of a second as are needed."""
    seconds, fraction = divmod(at_us, 10**6)
    digits = f".{fraction:06d}".rstrip("0").rstrip(".")
    return rfc3339(seconds).removesuffix("Z") + digits + "Z"
