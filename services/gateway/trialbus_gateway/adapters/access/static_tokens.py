"""Static tokens out of a file, which is read again when it changes."""

import hmac
import os
import secrets
from hashlib import sha256
from pathlib import Path

import structlog

from trialbus.contracts.token_file import StaticToken, hash_of, read_tokens
from trialbus.kernel.access import EVERY_NAMESPACE
from trialbus.kernel.errors import Refused
from trialbus.ports.clock import Clock
from trialbus_gateway.app.failures import Unauthenticated
from trialbus_gateway.core.identities import Identity

# How often the file is looked at; a token that is taken out is good so long at most.
LOOK_EVERY_S = 1.0
_Stamp = tuple[int, int, int]


class StaticTokens:
    """A file that cannot be read, at the start, is a failure of the start (OSError, Refused);
    later the tokens known before stay good, and the log says so."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        # Found by a hash that nobody else can compute, so that no time taken says anything.
        self._key = secrets.token_bytes(32)
        self._stamp = self._stamped()
        self._tokens = self._read()
        self._looked_at = clock.monotonic()

    def takes(self, token: str) -> bool:
        self._look()
        return self._found(token) is not None

    async def identify(self, token: str) -> Identity:
        """Raises Unauthenticated."""
        found = self._found(token)
        if found is None:
            raise Unauthenticated("the token is not known")
        if found.is_expired(self._clock.now()):
            raise Unauthenticated("the token has expired")
        return _identity(found)

    def _found(self, token: str) -> StaticToken | None:
        digest = hash_of(token)
        found = self._tokens.get(self._blinded(digest))
        return found if found and hmac.compare_digest(found.sha256, digest) else None

    def _look(self) -> None:
        now = self._clock.monotonic()
        if now - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = now
        try:
            stamp = self._stamped()
            if stamp != self._stamp:
                self._tokens, self._stamp = self._read(), stamp
                structlog.get_logger().info("tokens read again", count=len(self._tokens))
        except (OSError, Refused) as error:
            structlog.get_logger().error("tokens cannot be read, the old ones stay", why=str(error))

    def _stamped(self) -> _Stamp:
        found = os.stat(self._path)  # noqa: PTH116 - as below, beside it
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _read(self) -> dict[bytes, StaticToken]:
        return {self._blinded(it.sha256): it for it in read_tokens(self._path.read_bytes())}

    def _blinded(self, digest: str) -> bytes:
        return hmac.digest(self._key, digest.encode(), sha256)


def _identity(token: StaticToken) -> Identity:
    every = token.namespaces == EVERY_NAMESPACE
    return Identity(
        name=f"token:{token.name}",
        by="static token",
        role=token.role,
        namespaces=None if every else frozenset(token.namespaces),
        expires_at=None if token.expires is None else token.expires.timestamp(),
    )
