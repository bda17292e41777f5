"""The bus over NATS: JetStream for events, request and reply for commands and metric chunks."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from trialbus.adapters.nats_bus.connection import Connection, ConnectionOptions
from trialbus.adapters.nats_bus.inbox import NatsInbox
from trialbus.adapters.nats_bus.publishing import Publisher, check_headers
from trialbus.adapters.nats_bus.serving import serving
from trialbus.adapters.nats_bus.streams import (
    backlog_of,
    check_stream,
    durable_config,
    ensure_durable,
    provision_stream,
    stream_configs,
)
from trialbus.adapters.nats_bus.tailing import tailing
from trialbus.contracts import subjects
from trialbus.contracts.messages import Message, Request
from trialbus.contracts.queues import QUEUES
from trialbus.kernel import limits
from trialbus.kernel.errors import NotPermitted
from trialbus.ports.bus import Backlog, Responder, Tail

CONNECT_WAIT_S = 5.0


class NatsBus:
    """One connection of one process. Made by `NatsBus.open`.

    provisions: whether it makes streams and durables. Else it only looks for them, and waits: with
    credentials they are the provisioner's.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        replicas: int,
        event_stream_bytes: int,
        publish_deadline_s: float,
        ack_wait_s: float,
        provisions: bool,
    ) -> None:
        self._connection = connection
        self._provisions = provisions
        self._configs = stream_configs(replicas=replicas, event_stream_bytes=event_stream_bytes)
        self._ack_wait_s = ack_wait_s
        self._publisher = Publisher(connection, self.provision, deadline_s=publish_deadline_s)
        self._provisioning = asyncio.Lock()

    @classmethod
    async def open(
        cls,
        options: ConnectionOptions,
        *,
        wait_s: float = CONNECT_WAIT_S,
        replicas: int = 1,
        event_stream_bytes: int = limits.EVENT_STREAM_BYTES,
        publish_deadline_s: float = limits.PUBLISH_DEADLINE_S,
        ack_wait_s: float = limits.ACK_WAIT_S,
        provisions: bool = True,
    ) -> "NatsBus":
        """Connected, or after `wait_s` still trying: see `connected`. It never gives up."""
        connection = Connection(options)
        await connection.open(wait_s=wait_s)
        return cls(
            connection,
            replicas=replicas,
            event_stream_bytes=event_stream_bytes,
            publish_deadline_s=publish_deadline_s,
            ack_wait_s=ack_wait_s,
            provisions=provisions,
        )

    @property
    def connected(self) -> bool:
        return self._connection.connected

    @property
    def last_error(self) -> str:
        """What the connection's last trouble said; empty while it is well."""
        return self._connection.last_error

    @property
    def reconnects(self) -> int:
        """How often a connection was made in place of a lost one."""
        return max(0, self._connection.generation - 1)

    async def denied(self) -> NotPermitted:
        """Returns when the server has refused something to this identity."""
        return await self._connection.denied()

    async def close(self) -> None:
        await self._connection.close()

    async def provision(self) -> None:
        async with self._provisioning:
            for config in self._configs:
                if self._provisions:
                    await provision_stream(self._connection, config)
                else:
                    await check_stream(self._connection, config["name"])

    async def provision_queues(self) -> None:
        """Create or update the durables of every service, from the stream's beginning. Idempotent.
        Raises Transient."""
        start = {"deliver_policy": "all"}
        for queue in QUEUES:
            wanted = [
                durable_config(queue.name, queue.event_types, number, ack_wait_s=self._ack_wait_s)
                for number in range(limits.PARTITIONS)
            ]
            await asyncio.gather(*(ensure_durable(self._connection, it, start) for it in wanted))

    async def publish(self, messages: Sequence[Message]) -> None:
        for message in messages:
            subjects.parse_event(message.subject)
        await self._publisher.publish(messages, stream=subjects.EVENT_STREAM)

    def inbox(
        self, service: str, event_types: Sequence[str], partition: int
    ) -> AbstractAsyncContextManager[NatsInbox]:
        return NatsInbox(
            self._connection,
            self._publisher,
            self.provision,
            service=service,
            provisions=self._provisions,
            durable=durable_config(service, event_types, partition, ack_wait_s=self._ack_wait_s),
        )

    async def backlog(self, service: str) -> Backlog:
        names = [subjects.durable(service, number) for number in range(limits.PARTITIONS)]
        found = await asyncio.gather(*(backlog_of(self._connection, name) for name in names))
        return Backlog(
            pending=sum(it.pending for it in found), in_hand=sum(it.in_hand for it in found)
        )

    async def request(self, request: Request, *, timeout_s: float) -> bytes:
        check_headers(dict(request.headers))
        answer = await self._connection.request(
            subjects.literal(request.subject),
            request.data,
            timeout_s=timeout_s,
            headers=request.headers or None,
        )
        return bytes(answer.data)

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
        return serving(
            self._connection,
            subject,
            queue,
            responder,
            max_group=max_group,
            max_groups=max_groups,
            gather_s=gather_s,
        )

    def tail(self, subject: str, *, from_start: bool) -> AbstractAsyncContextManager[Tail]:
        return tailing(self._connection, self.provision, subject, from_start=from_start)
