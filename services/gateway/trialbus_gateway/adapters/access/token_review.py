"""Kubernetes' service accounts: the API server says whose a token is (TokenReview)."""

import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from trialbus.kernel.access import Role
from trialbus.kernel.errors import Transient
from trialbus.kernel.ids import is_name
from trialbus.ports.clock import Clock
from trialbus_gateway.adapters.access.buckets import Buckets
from trialbus_gateway.app.failures import TooMany, Unauthenticated
from trialbus_gateway.core.identities import Identity

# A token that the API server no longer believes is good so long at most.
KEEP_S = 60.0
_KEEP_REFUSED_S = 10.0
_MOST_KEPT = 10_000
_REVIEWS_PER_S = 50.0
_TIMEOUT_S = 5.0
_PATH = "/apis/authentication.k8s.io/v1/tokenreviews"
_ACCOUNT = "system:serviceaccount:"

# The review's status. Raises Transient.
Review = Callable[[str], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    identity: Identity | None
    until: float


class TokenReviews:
    """A service account is in its own namespace, with one role for all of them: who may do more
    than others has another kind of token. audience: that the tokens must be made for."""

    def __init__(self, review: Review, clock: Clock, *, audience: str, role: Role) -> None:
        self._review = review
        self._clock = clock
        self._audience = audience
        self._role = role
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self._reviews = Buckets(rate=_REVIEWS_PER_S, burst=_REVIEWS_PER_S)

    def takes(self, token: str) -> bool:
        """Whatever nobody else has taken."""
        return bool(token)

    async def identify(self, token: str) -> Identity:
        """Raises Unauthenticated, Transient, TooMany."""
        digest, now = hashlib.sha256(token.encode()).digest(), self._clock.monotonic()
        kept = self._kept.get(digest)
        if kept is None or kept.until <= now:
            if (wait_s := self._reviews.take("", now)) > 0:
                raise TooMany("too many unknown tokens are being looked at", wait_s)
            identity = self._identity(await self._review(token))
            keep_s = _KEEP_REFUSED_S if identity is None else KEEP_S
            kept = _Kept(identity=identity, until=now + keep_s)
            self._kept[digest] = kept
            if len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        if kept.identity is None:
            raise Unauthenticated("Kubernetes does not know the token, or not for this audience")
        return kept.identity

    def _identity(self, status: dict[str, Any]) -> Identity | None:
        if status.get("authenticated") is not True:
            return None
        # A server that knows nothing of audiences leaves them out: then its word is worth nothing.
        if self._audience not in (status.get("audiences") or ()):
            return None
        user = status.get("user")
        name = str(user.get("username", "")) if isinstance(user, dict) else ""
        namespace, _, account = name.removeprefix(_ACCOUNT).partition(":")
        if not name.startswith(_ACCOUNT) or not is_name(namespace) or not account:
            return None
        return Identity(
            name=name,
            by="Kubernetes service account",
            role=self._role,
            namespaces=frozenset({namespace}),
        )


def reviewing(client: httpx.AsyncClient, *, api: str, credentials: Path, audience: str) -> Review:
    """credentials: a folder with our own `token`, which is read anew each time: it is renewed."""

    async def review(token: str) -> dict[str, Any]:
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [audience]},
        }
        try:
            own = (credentials / "token").read_text(encoding="utf-8").strip()
            answer = await client.post(
                f"{api.rstrip('/')}{_PATH}",
                json=body,
                headers={"authorization": f"Bearer {own}"},
                timeout=_TIMEOUT_S,
            )
            answer.raise_for_status()
            status = answer.json().get("status")
        except (OSError, ValueError, AttributeError, httpx.HTTPError) as error:
            # Neither token is in the text: httpx names the address and the status.
            raise Transient(f"Kubernetes cannot be asked for tokens: {error}") from None
        return status if isinstance(status, dict) else {}

    return review
