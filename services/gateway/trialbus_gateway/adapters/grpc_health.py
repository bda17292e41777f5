"""The gRPC port: the standard health service, which says whether the gateway can work now."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health

# How soon a server that went away shows.
LOOK_EVERY_S = 0.5
GRACE_S = 1.0


@asynccontextmanager
async def serving_grpc(ready: Callable[[], bool], *, host: str, port: int) -> AsyncIterator[int]:
    """Serves while the context is open; gives the port (a free one for port 0).

    Raises OSError when the address cannot be had.
    """
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        bound = server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(f"gRPC cannot listen on {address}: {error}") from error
    await _say(servicer, ready())
    await server.start()
    watching = asyncio.create_task(_watch(servicer, ready), name="grpc health")
    try:
        yield bound
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        await servicer.enter_graceful_shutdown()
        await server.stop(GRACE_S)


async def _watch(servicer: health.HealthServicer, ready: Callable[[], bool]) -> None:
    said = ready()
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        if ready() != said:
            said = not said
            await _say(servicer, said)


async def _say(servicer: health.HealthServicer, is_ready: bool) -> None:
    status = health_pb2.HealthCheckResponse
    await servicer.set("", status.SERVING if is_ready else status.NOT_SERVING)
