"""OIDC: JSON web tokens of one issuer, for one audience."""

from dataclasses import dataclass
from typing import Any

import jwt

from trialbus_gateway.adapters.access.claims import identity_of
from trialbus_gateway.adapters.access.json_web_keys import KEY_TYPES, JsonWebKeys
from trialbus_gateway.app.failures import Unauthenticated
from trialbus_gateway.core.identities import Identity

# Clocks differ.
LEEWAY_S = 60
_MAX_KID_CHARS = 200
_REQUIRED = ["exp", "iss", "aud", "sub"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcSettings:
    issuer: str
    audience: str
    namespaces_claim: str
    role_claim: str


class Oidc:
    def __init__(self, settings: OidcSettings, keys: JsonWebKeys) -> None:
        self._settings = settings
        self._keys = keys

    def takes(self, token: str) -> bool:
        """By what the token says of itself: for the choice of who judges it, no more."""
        return claimed_issuer(token) == self._settings.issuer

    async def identify(self, token: str) -> Identity:
        """Raises Unauthenticated, Transient. Of the header only algorithm and key id are read: no
        key, and no address of one, is taken from a token."""
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
