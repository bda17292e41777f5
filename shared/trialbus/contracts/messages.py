"""Bytes on the bus, before they mean anything."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Bytes with a subject. `id` makes a repeat harmless (Nats-Msg-Id)."""

    subject: str
    data: bytes
    id: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A command or a metric chunk that wants an answer after the commit."""

    subject: str
    data: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
