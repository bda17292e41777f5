"""A gRPC server with the standard health service, which says whether the service can work now."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import grpc
import grpc.aio
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health

from trialbus.adapters.grpc.addresses import announcing
from trialbus.adapters.grpc.call_metrics import CallObserver, ObservedCalls
from trialbus.adapters.grpc.traced_calls import TracedCalls
from trialbus.kernel.limits import MAX_GRPC_MESSAGE_BYTES
from trialbus.ports.tracing import Tracing

# How soon a server that went away shows.
LOOK_EVERY_S = 0.5
GRACE_S = 1.0
# Katib's own names for its health, which its probes ask for.
_KATIB_HEALTH_NAME = "grpc.health.v1.Health"
_SERVER_OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MAX_GRPC_MESSAGE_BYTES),
    ("grpc.max_send_message_length", -1),
)


@asynccontextmanager
async def serving_grpc(
    handlers: Sequence[grpc.GenericRpcHandler],
    *,
    ready: Callable[[], bool],
    host: str,
    port: int,
    names: Collection[str] = (),
    parts: Mapping[str, Callable[[], bool]] | None = None,
    observe: CallObserver | None = None,
    tracing: Tracing | None = None,
) -> AsyncIterator[int]:
    """Serves while the context is open; gives the port (a free one for port 0). names: what the
    health service is asked about, beside "" and Katib's name of the health service itself. parts:
    names of what may be ready or not by itself. observe: is told of every call, tracing: where
    their spans go.

    Raises OSError when the address cannot be had.
    """
    # The first is the outermost: what is observed is within the span.
    interceptors: list[grpc.aio.ServerInterceptor] = []
    if tracing is not None and tracing.on:
        interceptors.append(TracedCalls(tracing))
    if observe is not None:
        interceptors.append(ObservedCalls(observe))
    server = grpc.aio.server(interceptors=interceptors, options=_SERVER_OPTIONS)
    servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    server.add_generic_rpc_handlers(tuple(handlers))
    bound = _bind(server, host, port)
    told = dict.fromkeys(("", _KATIB_HEALTH_NAME, *names), ready) | dict(parts or {})
    said = await _say(servicer, told, {})
    await server.start()
    watching = asyncio.create_task(_watch(servicer, told, said), name="grpc health")
    try:
        yield bound
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        await servicer.enter_graceful_shutdown()
        await server.stop(GRACE_S)


async def serve_announced(
    service: str,
    handlers: Sequence[grpc.GenericRpcHandler],
    *,
    ready: Callable[[], bool],
    host: str,
    port: int,
    data_dir: Path,
    names: Collection[str] = (),
    observe: CallObserver | None = None,
    tracing: Tracing | None = None,
) -> None:
    """For ever: the server of one service, announced on this machine while it listens."""
    async with serving_grpc(
        handlers,
        ready=ready,
        host=host,
        port=port,
        names=names,
        observe=observe,
        tracing=tracing,
    ) as bound:
        with announcing(data_dir, service, host=host, port=bound) as address:
            structlog.get_logger().info("listening", service=service, grpc=address)
            await asyncio.Event().wait()


def _bind(server: grpc.aio.Server, host: str, port: int) -> int:
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        return int(server.add_insecure_port(address))
    except RuntimeError as error:
        raise OSError(f"gRPC cannot listen on {address}: {error}") from error


async def _watch(
    servicer: health.HealthServicer,
    told: Mapping[str, Callable[[], bool]],
    said: Mapping[str, bool],
) -> None:
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        said = await _say(servicer, told, said)


async def _say(
    servicer: health.HealthServicer,
    told: Mapping[str, Callable[[], bool]],
    said: Mapping[str, bool],
) -> dict[str, bool]:
    """Tell what is not as it was said before; what is said now."""
    status = health_pb2.HealthCheckResponse
    now = {name: is_ready() for name, is_ready in told.items()}
    for name, is_ready in now.items():
        if said.get(name) != is_ready:
            await servicer.set(name, status.SERVING if is_ready else status.NOT_SERVING)
    return now
