"""What the system needs from a message bus. Real: JetStream; in tests also in memory."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from trialbus.contracts.messages import Message, Request

__all__ = [
    "Answer",
    "Backlog",
    "Bus",
    "Delivery",
    "Inbox",
    "Message",
    "Request",
    "Responder",
    "Tail",
]


class Delivery(Protocol):
    """One message in hand. Exactly one of the three answers must be given."""

    @property
    def message(self) -> Message: ...

    @property
    def attempt(self) -> int:
        """1 for the first delivery."""

    async def ack(self) -> None:
        """Done; returns when the server has recorded it. Raises Transient if that is not known."""

    async def retry(self, delay_s: float) -> None:
        """Give it out again later."""

    async def bury(self, reason: str) -> None:
        """Copy to the dead-letter stream with the reason, then never deliver it again."""


class Inbox(Protocol):
    """A durable, shared queue of one service over one partition of the experiments."""

    async def fetch(self, *, max_messages: int, timeout_s: float) -> Sequence[Delivery]:
        """What is there now, at least one if one comes in time, else nothing. Never raises for
        a server that is away: it goes on trying."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """Messages that a service has not done with. pending: not given out yet; in_hand: given out,
    and not acknowledged."""

    pending: int
    in_hand: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail(AsyncIterator[Message]):
    """The messages of `Bus.tail`. stored: how many of them there were when it began; they come
    first, and fewer only if the stream loses some meanwhile."""

    messages: AsyncIterator[Message]
    stored: int

    async def __anext__(self) -> Message:
        return await anext(self.messages)


# Answers a group of requests, one reply for each, in order; None: it is for others to answer.
# An answer may come later, while others are answered.
Answer = bytes | None | Awaitable[bytes | None]
Responder = Callable[[Sequence[Request]], Awaitable[Sequence[Answer]]]


class Bus(Protocol):
    async def publish(self, messages: Sequence[Message]) -> None:
        """Returns when the stream has all of them; raises Transient if that is not known for
        some (then publish them all again: the same id is stored once)."""

    def inbox(
        self, service: str, event_types: Sequence[str], partition: int
    ) -> AbstractAsyncContextManager[Inbox]:
        """The durable queue of `service` for these event types (`trial.created`, ...), over
        the experiments of one partition (0 .. limits.PARTITIONS - 1)."""

    async def backlog(self, service: str) -> Backlog:
        """Of its queues over all partitions; one that is not there yet has none. Raises
        Transient."""

    async def request(self, request: Request, *, timeout_s: float) -> bytes:
        """Ask whoever serves the subject. Raises Transient: nobody there, or no answer in time."""

    def serve(
        self,
        subject: str,
        queue: str,
        responder: Responder,
        *,
        max_group: int,
        max_groups: int = 1,
        gather_s: float = 0.0,
    ) -> AbstractAsyncContextManager[None]:
        """Answer requests on `subject` (may hold wildcards) as one of the group `queue`.
        Requests that come while `max_groups` are being answered form the next group. gather_s: so
        long one may be kept for others that come soon, as long as some do. When the
        responder raises Transient, the group gets no answer (senders repeat); anything else, and
        each of the group is answered alone, so that one bad request is nobody else's. What is to be
        answered later is waited for beside the groups, and given up when the service leaves."""

    def tail(self, subject: str, *, from_start: bool) -> AbstractAsyncContextManager[Tail]:
        """Follow the event stream in order, for people and web pages; nothing is acknowledged."""

    async def provision(self) -> None:
        """Create or update the streams. Idempotent."""

    @property
    def connected(self) -> bool: ...

    async def close(self) -> None:
        """Drain and leave."""
