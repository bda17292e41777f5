"""The public keys of an issuer, from its JWKS address and from nowhere else."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx
import jwt
import structlog

from trialbus.kernel.errors import Transient
from trialbus.ports.clock import Clock

KEEP_S = 300.0
# Tokens with made-up key ids must not make us ask the issuer for each.
REFRESH_EVERY_S = 30.0
# As long as there are none at all.
_FIRST_EVERY_S = 2.0
# While the issuer does not answer, what it said is believed so long.
STALE_S = 3600.0
_TIMEOUT_S = 5.0
_MAX_BYTES = 256 * 1024
_MAX_KEYS = 100
# By algorithm, the family of keys that it takes: a key is never used with another's.
KEY_TYPES: Mapping[str, str] = {"RS256": "RSA", "ES256": "EC"}
_CURVE = "P-256"

Fetch = Callable[[], Awaitable[bytes]]


class JsonWebKeys:
    """fetch: the document's bytes; OSError or httpx.HTTPError when it cannot be had."""

    def __init__(self, fetch: Fetch, clock: Clock) -> None:
        self._fetch = fetch
        self._clock = clock
        self._keys: dict[tuple[str, str], jwt.PyJWK] = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._lock = asyncio.Lock()

    async def key(self, kid: str | None, algorithm: str) -> jwt.PyJWK | None:
        """None: the issuer has no such key. Raises Transient: it cannot be asked now."""
        if self._is_older_than(KEEP_S):
            await self._refresh()
        found = self._known(kid, algorithm)
        if found is None:
            await self._refresh()
            found = self._known(kid, algorithm)
        if self._is_older_than(STALE_S):
            raise Transient("the keys of the issuer of tokens cannot be had")
        return found

    def _known(self, kid: str | None, algorithm: str) -> jwt.PyJWK | None:
        if kid is not None:
            return self._keys.get((algorithm, kid))
        # Without a key id there must be no choice.
        fitting = [key for (of, _), key in self._keys.items() if of == algorithm]
        return fitting[0] if len(fitting) == 1 else None

    def _is_older_than(self, seconds: float) -> bool:
        return self._fetched_at is None or self._clock.monotonic() - self._fetched_at > seconds

    async def _refresh(self) -> None:
        async with self._lock:
            now = self._clock.monotonic()
            pause_s = _FIRST_EVERY_S if self._fetched_at is None else REFRESH_EVERY_S
            if self._tried_at is not None and now - self._tried_at < pause_s:
                return
            self._tried_at = now
            try:
                self._keys = keys_in(await self._fetch())
                self._fetched_at = self._clock.monotonic()
            except (OSError, ValueError, httpx.HTTPError) as error:
                structlog.get_logger().warning("keys of the issuer not read", why=str(error))


def keys_in(document: bytes) -> dict[tuple[str, str], jwt.PyJWK]:
    """By algorithm and key id; what is for other uses, or unreadable, is left out. ValueError: it
    is no JWKS."""
    found = json.loads(document)
    entries = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(entries, list):
        raise ValueError("not a JWKS: it has no list of keys")  # noqa: TRY004 - of what was fetched
    keys = {}
    for entry in entries[:_MAX_KEYS]:
        algorithm = _algorithm_of(entry) if isinstance(entry, dict) else None
        if algorithm is not None:
            try:
                keys[algorithm, str(entry.get("kid", ""))] = jwt.PyJWK(entry, algorithm)
            except jwt.PyJWTError:
                continue
    return keys


def _algorithm_of(entry: Mapping[str, Any]) -> str | None:
    """None: nothing that we take is signed by it; symmetric keys never are."""
    if entry.get("use", "sig") != "sig":
        return None
    for algorithm, key_type in KEY_TYPES.items():
        if entry.get("kty") == key_type and entry.get("alg", algorithm) == algorithm:
            return algorithm if key_type != "EC" or entry.get("crv") == _CURVE else None
    return None


def fetching(url: str, client: httpx.AsyncClient) -> Fetch:
    async def fetch() -> bytes:
        pieces, size = [], 0
        # All of it in time: whoever shows a token waits for it.
        async with (
            asyncio.timeout(_TIMEOUT_S),
            client.stream("GET", url, timeout=_TIMEOUT_S) as response,
        ):
            response.raise_for_status()
            async for piece in response.aiter_bytes():
                size += len(piece)
                if size > _MAX_BYTES:
                    raise ValueError("the document of keys is too large")
                pieces.append(piece)
        return b"".join(pieces)

    return fetch
