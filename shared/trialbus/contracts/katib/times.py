"""Times as Kubernetes writes them: RFC 3339 in UTC, whole seconds."""

from datetime import UTC, datetime


def rfc3339(at: float) -> str:
    """`at`: seconds since the epoch; parts of a second are cut off, as in Kubernetes."""
    return datetime.fromtimestamp(int(at // 1), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339_or_none(at: float | None) -> str | None:
    return None if at is None else rfc3339(at)
