"""What a webhook's receiver knows the sender by.

Source: Standard Webhooks 1.0.0, "Signature scheme": HMAC-SHA256 over `id.timestamp.body`.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence

PREFIX = "whsec_"
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 24, 64


def message_id(event_id: str) -> str:
    """The same for every attempt at an event. Without a full stop, which would let parts of what
    is signed be read as others."""
    return f"msg_{hashlib.sha256(event_id.encode('utf-8', 'replace')).hexdigest()[:32]}"


def headers_of(
    secrets: Sequence[bytes], event_id: str, timestamp: int, body: bytes
) -> Mapping[str, str]:
    """secrets: one signature for each, so that a receiver may have the old one or the new one.
    timestamp: of this attempt, whole seconds."""
    name = message_id(event_id)
    signatures = [signature(secret, name, timestamp, body) for secret in secrets]
    return {
        "webhook-id": name,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }


def signature(secret: bytes, name: str, timestamp: int, body: bytes) -> str:
    signed = f"{name}.{timestamp}.".encode() + body
    digest = hmac.new(secret, signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def read_secrets(text: str) -> tuple[bytes, ...]:
    """One a line, the newest first; `whsec_` and base64. ValueError says what is wrong, and never
    any of the text."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise ValueError("holds no secret")
    return tuple(_secret(number, line) for number, line in enumerate(lines, start=1))


def _secret(number: int, line: str) -> bytes:
    if not line.startswith(PREFIX):
        raise ValueError(f"line {number} does not begin with {PREFIX}")
    try:
        secret = base64.b64decode(line.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"line {number} is no base64 after {PREFIX}") from error
    if not MIN_SECRET_BYTES <= len(secret) <= MAX_SECRET_BYTES:
        wanted = f"{MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes"
        raise ValueError(f"line {number} has {len(secret)} bytes, {wanted} are needed")
    return secret
