"""The last sign of life of a service, which it writes itself."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """Of all replicas of a service together. host: whose runs it follows, of a trial launcher;
    "" of others. heard_at: by the service's own clock."""

    id: str
    version: int
    service: str
    host: str
    heard_at: float


def heartbeat_id(service: str, host: str) -> str:
    return f"{service}@{host}" if host else service
