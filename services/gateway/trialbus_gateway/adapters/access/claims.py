"""From the claims of a verified token to an identity; pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from trialbus.kernel.access import EVERY_NAMESPACE, GIVEN_ROLES, Role
from trialbus.kernel.ids import is_name
from trialbus_gateway.app.failures import Unauthenticated
from trialbus_gateway.core.identities import Identity

_MAX_NAME_CHARS = 200
# Of several roles the one that allows most counts.
_BY_STRENGTH = (Role.ADMIN, Role.WRITER, Role.READER, Role.WORKER)


def identity_of(claims: Mapping[str, Any], *, namespaces_claim: str, role_claim: str) -> Identity:
    """Raises Unauthenticated where a claim is missing or names nothing here."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject:
        raise Unauthenticated("the token names nobody (sub)")
    role = _role(texts_of(claims, role_claim))
    if role is None:
        known = ", ".join(GIVEN_ROLES)
        raise Unauthenticated(f"the token has no role in {role_claim}: one of {known}")
    named = texts_of(claims, namespaces_claim)
    every = EVERY_NAMESPACE in named
    namespaces = frozenset(name for name in named if is_name(name))
    if not every and not namespaces:
        raise Unauthenticated(f"the token has no namespaces in {namespaces_claim}")
    return Identity(
        name=f"oidc:{subject[:_MAX_NAME_CHARS]}",
        by="OIDC token",
        role=role,
        namespaces=None if every else namespaces,
        expires_at=float(claims["exp"]),
    )


def texts_of(claims: Mapping[str, Any], name: str) -> Sequence[str]:
    """A claim by its name, or by a path with dots into objects: a list of texts, or words."""
    found: Any = claims.get(name)
    if found is None:
        found = claims
        for part in name.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    if isinstance(found, str):
        return found.replace(",", " ").split()
    if isinstance(found, list):
        return [item for item in found if isinstance(item, str)]
    return ()


def _role(named: Sequence[str]) -> Role | None:
    return next((role for role in _BY_STRENGTH if role.value in named), None)
