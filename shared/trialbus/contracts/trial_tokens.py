"""The token of one attempt of one trial: it says what it is for, and a secret key proves it.

`tbt_<payload>.<seal>`, both base64url: the payload is the grant as JSON, the seal HMAC-SHA-256 of
the payload. Whoever has the key can check it without asking anybody; that the attempt still runs
is looked up beside.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import asdict, fields

from trialbus.kernel.access import TrialGrant

TRIAL_TOKEN_PREFIX = "tbt_"
# Of a key: as long as what HMAC-SHA-256 makes of it.
MIN_KEY_BYTES = 32
_MAX_TOKEN_CHARS = 2048
# Beside other uses that the same key might have one day.
_PURPOSE = b"trialbus trial token 1\0"


class NoKey(Exception):
    """What was given holds no key, or one that is too short."""


def read_keys(text: bytes) -> tuple[bytes, ...]:
    """One key a line: the first seals, all are believed, so that a key can be changed while trials
    run. Raises NoKey."""
    keys = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not keys or any(len(key) < MIN_KEY_BYTES for key in keys):
        raise NoKey(f"a key of at least {MIN_KEY_BYTES} characters is needed on each line")
    return keys


def trial_token(grant: TrialGrant, key: bytes) -> str:
    payload = json.dumps(asdict(grant), separators=(",", ":"), sort_keys=True).encode()
    return f"{TRIAL_TOKEN_PREFIX}{_text(payload)}.{_text(_seal(payload, key))}"


def read_trial_token(token: str, keys: Sequence[bytes]) -> TrialGrant | None:
    """None: it is none, or none of these keys made it."""
    if not token.startswith(TRIAL_TOKEN_PREFIX) or len(token) > _MAX_TOKEN_CHARS:
        return None
    said, _, sealed = token.removeprefix(TRIAL_TOKEN_PREFIX).partition(".")
    try:
        payload, seal = _bytes(said), _bytes(sealed)
    except (ValueError, binascii.Error):
        return None
    # All of them, whichever fits: how long it takes says nothing.
    if not any([hmac.compare_digest(_seal(payload, key), seal) for key in keys]):  # noqa: C419
        return None
    return _grant(payload)


def _grant(payload: bytes) -> TrialGrant | None:
    try:
        found = json.loads(payload)
    except ValueError:
        return None
    if not isinstance(found, dict) or set(found) != {field.name for field in fields(TrialGrant)}:
        return None
    if any(type(found[field.name]) is not field.type for field in fields(TrialGrant)):
        return None
    return TrialGrant(**found)


def _seal(payload: bytes, key: bytes) -> bytes:
    return hmac.new(key, _PURPOSE + payload, hashlib.sha256).digest()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
