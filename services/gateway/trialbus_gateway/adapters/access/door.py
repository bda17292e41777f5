"""The door: from what a caller shows to who that is, and how much of that one is let in at once."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from trialbus.ports.clock import Clock
from trialbus_gateway.adapters.access.buckets import Buckets
from trialbus_gateway.app.failures import Forbidden, TooLarge, TooMany, Unauthenticated
from trialbus_gateway.core.identities import ANYBODY, Identity

_MAX_TOKEN_CHARS = 16 * 1024
# Wrong tokens of one address: for more it is told to wait, right ones pass as ever.
_WRONG_PER_S, _WRONG_AT_ONCE = 20.0, 100.0
_REASONS: Mapping[type[Exception], str] = {
    Unauthenticated: "unauthenticated",
    Forbidden: "forbidden",
    TooMany: "rate",
    TooLarge: "size",
}


class Way(Protocol):
    """One way to prove who one is."""

    def takes(self, token: str) -> bool:
        """Whether this way, and no other, judges the token."""

    async def identify(self, token: str) -> Identity:
        """Raises Unauthenticated, TooMany, Transient."""


class Door:
    """ways: asked in their order. Without any, everybody is `ANYBODY`, without limits.

    rate: requests a second of one identity, with bursts of twice as many. streams: answers that go
    on, of one identity, at the same time. wrong_at_once: wrong tokens of one address.
    """

    def __init__(
        self,
        clock: Clock,
        ways: Sequence[Way] = (),
        *,
        rate: float = 0.0,
        streams: int = 0,
        wrong_at_once: float = _WRONG_AT_ONCE,
    ) -> None:
        self._clock = clock
        self._ways = tuple(ways)
        self._asked = Buckets(rate=rate, burst=2 * rate) if rate else None
        self._wrong = Buckets(rate=_WRONG_PER_S, burst=wrong_at_once)
        self._most_streams = streams
        self._streams: Counter[str] = Counter()
        # Hears why somebody was not let in, where no HTTP status tells.
        self.on_refusal: Callable[[str], None] = lambda _: None

    @property
    def asks(self) -> bool:
        """Whether callers must say who they are."""
        return bool(self._ways)

    async def identify(self, shown: Sequence[str], address: str = "") -> Identity:
        """shown: the values of `Authorization`, of which there must be one. address: where the
        call comes from. Raises Unauthenticated, TooMany, Transient."""
        if not self.asks:
            return ANYBODY
        token = _bearer(shown)
        try:
            return await self._identify(token)
        except Unauthenticated:
            if (wait_s := self._wrong.take(address, self._clock.monotonic())) > 0:
                raise TooMany("too many wrong tokens", wait_s) from None
            raise

    def admit(self, identity: Identity) -> None:
        """One request more. Raises TooMany."""
        if self._asked is None or not self.asks:
            return
        if (wait_s := self._asked.take(identity.name, self._clock.monotonic())) > 0:
            raise TooMany("too many requests", wait_s)

    @contextmanager
    def streaming(self, identity: Identity) -> Iterator[None]:
        """While an answer goes on. Raises TooMany."""
        name = identity.name
        if self.asks and self._most_streams and self._streams[name] >= self._most_streams:
            raise TooMany(f"more than {self._most_streams} streams at once")
        self._streams[name] += 1
        try:
            yield
        finally:
            self._streams[name] -= 1
            if not self._streams[name]:
                del self._streams[name]

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Around a call of gRPC: tells whom it turns away."""
        try:
            yield
        except tuple(_REASONS) as error:
            self.on_refusal(_REASONS[type(error)])
            raise

    def open_streams(self, name: str) -> int:
        """Of the identity of this name, now."""
        return self._streams[name]

    async def _identify(self, token: str) -> Identity:
        for way in self._ways:
            if way.takes(token):
                return await way.identify(token)
        raise Unauthenticated("the token is not known")


def _bearer(shown: Sequence[str]) -> str:
    """Raises Unauthenticated."""
    if not shown:
        raise Unauthenticated("a token is needed: Authorization: Bearer ...")
    if len(shown) > 1:
        raise Unauthenticated("there is more than one Authorization")
    scheme, _, token = shown[0].strip().partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("only bearer tokens are taken: Authorization: Bearer ...")
    if len(token) > _MAX_TOKEN_CHARS or not token.isascii() or " " in token:
        raise Unauthenticated("the token cannot be read")
    return token
