"""OIDC: JSON web tokens of one issuer, for one audience."""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import jwt

from trialbus.ports.clock import Clock
from trialbus_gateway.adapters.access.claims import identity_of
from trialbus_gateway.adapters.access.json_web_keys import KEY_TYPES, JsonWebKeys
from trialbus_gateway.app.failures import Unauthenticated
from trialbus_gateway.core.identities import Identity

# Clocks differ.
LEEWAY_S = 60
# A signature is judged again so often; it costs as much as the rest of a request.
KEEP_S = 30.0
_MOST_KEPT = 10_000
_MAX_KID_CHARS = 200
_REQUIRED = ["exp", "iss", "aud", "sub"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcSettings:
    issuer: str
    audience: str
    namespaces_claim: str
    role_claim: str


class Oidc:
    def __init__(self, settings: OidcSettings, keys: JsonWebKeys, clock: Clock) -> None:
        self._settings = settings
        self._keys = keys
        self._clock = clock
        # By hash of the token: who it is, and until when (now) that is believed.
        self._kept: OrderedDict[bytes, tuple[Identity, float]] = OrderedDict()

    def takes(self, token: str) -> bool:
        """By what the token says of itself: for the choice of who judges it, no more."""
        return _digest(token) in self._kept or claimed_issuer(token) == self._settings.issuer

    async def identify(self, token: str) -> Identity:
        """Raises Unauthenticated, Transient."""
        digest, now = _digest(token), self._clock.now()
        identity, until = self._kept.get(digest, (None, now))
        if identity is not None and now < until:
            return identity
        self._kept.pop(digest, None)
        identity = await self._judged(token)
        ends_at = now if identity.expires_at is None else identity.expires_at
        self._kept[digest] = identity, min(now + KEEP_S, ends_at + LEEWAY_S)
        if len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)
        return identity

    async def _judged(self, token: str) -> Identity:
        """As `identify`. Of the header only algorithm and key id are read: no key, and no address
        of one, is taken from a token."""
        algorithm, kid = _header(token)
        key = await self._keys.key(kid, algorithm)
        if key is None:
            raise Unauthenticated("the token is signed by no key of its issuer")
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self._settings.audience,
                issuer=self._settings.issuer,
                leeway=LEEWAY_S,
                options={"require": _REQUIRED, "verify_iat": True},
            )
        except jwt.PyJWTError as error:
            raise Unauthenticated(_told(error)) from None
        return identity_of(
            claims,
            namespaces_claim=self._settings.namespaces_claim,
            role_claim=self._settings.role_claim,
        )


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def claimed_issuer(token: str) -> str | None:
    """None: it is no JSON web token, or says none."""
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError):
        return None
    issuer = claims.get("iss")
    return issuer if isinstance(issuer, str) else None


def _header(token: str) -> tuple[str, str | None]:
    """Algorithm and key id."""
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise Unauthenticated("the token cannot be read") from None
    algorithm, kid = header.get("alg"), header.get("kid")
    if algorithm not in KEY_TYPES:
        raise Unauthenticated(f"the token must be signed by {' or '.join(KEY_TYPES)}")
    if "crit" in header or not header.get("b64", True):
        raise Unauthenticated("the token needs extensions that are not known here")
    if kid is not None and (not isinstance(kid, str) or len(kid) > _MAX_KID_CHARS):
        raise Unauthenticated("the token's key id cannot be read")
    return str(algorithm), kid


def _told(error: jwt.PyJWTError) -> str:
    """Without what the token holds."""
    match error:
        case jwt.ExpiredSignatureError():
            return "the token has expired"
        case jwt.InvalidAudienceError():
            return "the token is for another audience"
        case jwt.InvalidIssuerError():
            return "the token is of another issuer"
        case jwt.MissingRequiredClaimError():
            return f"the token lacks the claim {error.claim}"
        case _:
            return "the token is not valid"
