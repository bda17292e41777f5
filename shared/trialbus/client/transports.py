"""How calls travel: HTTP, or NATS when the address says so."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Protocol

from trialbus.client.addresses import Address
from trialbus.client.async_http import AsyncHttp
from trialbus.client.calls import Answer, Call
from trialbus.client.http1 import Base
from trialbus.client.sync_http import SyncHttp


class SyncTransport(Protocol):
    """answers_questions: False where only commands and workers' words can be sent."""

    @property
    def answers_questions(self) -> bool: ...
    def send(self, call: Call, timeout_s: float) -> Answer: ...
    def stream(
        self, call: Call, silence_s: float | None
    ) -> AbstractContextManager[Iterator[bytes]]: ...
    def close(self) -> None: ...


class AsyncTransport(Protocol):
    @property
    def answers_questions(self) -> bool: ...
    async def send(self, call: Call, timeout_s: float) -> Answer: ...
    def stream(
        self, call: Call, silence_s: float | None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]: ...
    async def close(self) -> None: ...


def sync_transport(address: Address) -> SyncTransport:
    """Raises ValueError for what is no address."""
    if address.is_nats:
        # Loads the client library of NATS, which others do without.
        from trialbus.client.over_nats import SyncNats  # noqa: PLC0415

        return SyncNats(address)
    return SyncHttp(Base(address.url, address.token))


def async_transport(address: Address) -> AsyncTransport:
    """Raises ValueError for what is no address."""
    if address.is_nats:
        from trialbus.client.over_nats import AsyncNats  # noqa: PLC0415

        return AsyncNats(address)
    return AsyncHttp(Base(address.url, address.token))
