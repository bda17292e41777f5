"""The gRPC port: every call of Katib's API goes, as the bytes that came, to the service that owns
what it is about; calls of workers are answered here; the health service says who can work now."""

import asyncio
import math
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio

from trialbus.adapters.grpc import (
    CALL_ID,
    CallObserver,
    announced,
    full_name,
    open_channel,
    serving_grpc,
)
from trialbus.adapters.grpc.failures import fit
from trialbus.contracts.envelope import TRACEPARENT
from trialbus.kernel.errors import Transient
from trialbus.kernel.limits import GRPC_DEADLINE_S, GRPC_REACH_DEADLINE_S
from trialbus.kernel.traces import TraceContext
from trialbus.ports.tracing import NoTracing, SpanKind, Tracing
from trialbus_gateway.adapters.access.door import Door
from trialbus_gateway.adapters.access.katib_calls import REFUSALS, KatibCalls
from trialbus_gateway.adapters.access.route_guard import FindTrial
from trialbus_gateway.adapters.worker_calls import SERVICE, worker_calls
from trialbus_gateway.app.working import Working

# Who answers for what.
OWNERS: Mapping[str, str] = {
    "DBManager": "metrics_collector",
    "Suggestion": "suggestion",
    "EarlyStopping": "early_stopping",
}
# What the probes of Katib's own images ask for.
_PROBED_SUGGESTION = "manager.v1beta1.Suggestion"
_LOOK_EVERY_S = 0.1
_Metadata = Sequence[tuple[str, str]]
# Calls under way on a connection that is given up.
_CLOSE_GRACE_S = 60.0


class Owner:
    """A way to one service. given: its address from the settings, "" if it announces itself."""

    def __init__(self, service: str, *, given: str, data_dir: Path) -> None:
        self.service = service
        self._given = given
        self._data_dir = data_dir
        self._address: str | None = None
        self._channel: grpc.aio.Channel | None = None
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str | None:
        """Where it listens now; None: it has not said so, or has gone."""
        return self._given or announced(self._data_dir, self.service)

    async def reach(self, within_s: float) -> grpc.aio.Channel:
        """A connection that stands; it may be of a service that is just starting. Raises Transient
        when there is none in time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_s
        while True:
            channel = self._current()
            if channel is None:
                await asyncio.sleep(_LOOK_EVERY_S)
            elif await _stands(channel):
                return channel
            if loop.time() >= deadline:
                where = f"at {self._address}" if self._address else "anywhere"
                raise Transient(f"the service {self.service} does not listen {where}")

    def _current(self) -> grpc.aio.Channel | None:
        address = self.address
        if address != self._address:
            self._leave()
            self._address = address
            self._channel = None if address is None else open_channel(address)
        return self._channel

    def _leave(self) -> None:
        if self._channel is not None:
            closing = asyncio.ensure_future(self._channel.close(_CLOSE_GRACE_S))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        for task in self._closing:
            task.cancel()
        if self._channel is not None:
            await self._channel.close()


async def _stands(channel: grpc.aio.Channel) -> bool:
    """Whether it is connected, or gets so in the time of one look."""
    ready = grpc.ChannelConnectivity.READY
    state = channel.get_state(try_to_connect=True)
    if state is not ready:
        try:
            async with asyncio.timeout(_LOOK_EVERY_S):
                await channel.wait_for_state_change(state)
        except TimeoutError:
            return False
    return channel.get_state() is ready


class Forwarding(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Knows the services, not their methods: an owner answers for what it does not have."""

    def __init__(self, owners: Mapping[str, Owner], calls: KatibCalls, tracing: Tracing) -> None:
        self._owners = {full_name(name): owner for name, owner in owners.items()}
        self._calls = calls
        self._tracing = tracing

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler | None:
        method = handler_call_details.method
        owner = self._owners.get(method.rpartition("/")[0].removeprefix("/"))
        if owner is None:
            return None

        async def forward(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
            shown = _texts(context.invocation_metadata(), "authorization")
            try:
                await self._calls.check(method, request, shown, context.peer())
            except tuple(REFUSALS) as error:
                await context.abort(REFUSALS[type(error)], fit(str(error)))
            with self._tracing.span(f"forward {method[1:]}", kind=SpanKind.CLIENT):
                return await _forward(owner, method, request, context, self._tracing.current())

        return grpc.unary_unary_rpc_method_handler(forward)


async def _forward(
    owner: Owner,
    method: str,
    request: bytes,
    context: grpc.aio.ServicerContext,
    traced: TraceContext | None,
) -> bytes:
    """The client's deadline holds for all of it."""
    left = context.time_remaining()
    within_s = GRPC_DEADLINE_S if left is None or math.isinf(left) else left
    metadata = _with_id(context.invocation_metadata())
    if traced is not None:
        metadata = (*metadata, (TRACEPARENT, str(traced)))
    try:
        return await _ask(owner, method, request, metadata, within_s)
    except Transient as error:
        code, details = grpc.StatusCode.UNAVAILABLE, f"a server is away, try again: {error}"
    except grpc.aio.AioRpcError as error:
        code, details = error.code(), error.details() or ""
    await context.abort(code, details)
    raise AssertionError("abort raises")


async def _ask(
    owner: Owner, method: str, request: bytes, metadata: _Metadata, within_s: float
) -> bytes:
    """Where the answer was lost with its connection, the call is repeated under the same id, which
    makes that harmless. Raises Transient, AioRpcError."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while True:
        waited_s = loop.time() - began
        channel = await owner.reach(min(within_s, GRPC_REACH_DEADLINE_S) - waited_s)
        left_s = max(within_s - (loop.time() - began), 0.0)
        try:
            ask = channel.unary_unary(method)
            return bytes(await ask(request, timeout=left_s, metadata=metadata))
        except grpc.aio.AioRpcError as error:
            if not _is_lost(error):
                raise
            if loop.time() - began >= GRPC_REACH_DEADLINE_S:
                raise Transient(f"{owner.service} went away: {error.details()}") from error


def _is_lost(error: grpc.aio.AioRpcError) -> bool:
    """Whether the connection failed; a service that cannot answer now says so itself."""
    away = error.code() is grpc.StatusCode.UNAVAILABLE
    return away and "try again" not in (error.details() or "")


def _texts(given: _Metadata | None, name: str) -> list[str]:
    return [text for key, text in given or () if key == name and isinstance(text, str)]


def _with_id(given: _Metadata | None) -> _Metadata:
    own = [(key, value) for key, value in given or () if key == CALL_ID]
    return tuple(own) or ((CALL_ID, str(uuid.uuid4())),)


@asynccontextmanager
async def serving_gateway(
    ready: Callable[[], bool],
    working: Working,
    door: Door,
    *,
    find_trial: FindTrial | None = None,
    host: str,
    port: int,
    data_dir: Path,
    given: Mapping[str, str],
    observe: CallObserver | None = None,
    tracing: Tracing | None = None,
) -> AsyncIterator[int]:
    """Serves while the context is open; gives the port (a free one for port 0). given: addresses
    of services from the settings. find_trial: for a door that asks who calls. observe: is told of
    every call.

    Raises OSError when the address cannot be had.
    """
    owners = {
        name: Owner(service, given=given.get(service, ""), data_dir=data_dir)
        for name, service in OWNERS.items()
    }

    def reaches(owner: Owner) -> Callable[[], bool]:
        return lambda: ready() and owner.address is not None

    parts = {full_name(name): reaches(owner) for name, owner in owners.items()}
    parts[_PROBED_SUGGESTION] = parts[full_name("Suggestion")]
    parts[full_name(SERVICE)] = ready
    forwarding = Forwarding(owners, KatibCalls(door, find_trial), tracing or NoTracing())
    handlers = [worker_calls(working, door), forwarding]
    serving = serving_grpc(
        handlers,
        ready=ready,
        host=host,
        port=port,
        parts=parts,
        observe=observe,
        tracing=tracing,
    )
    try:
        async with serving as bound:
            yield bound
    finally:
        for owner in owners.values():
            await owner.close()
