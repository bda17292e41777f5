"""What every service says of itself over HTTP: alive, able to work, and its metrics."""

from collections.abc import Callable, Sequence

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route


def health_app(ready: Callable[[], bool], registry: CollectorRegistry) -> Starlette:
    """The pages of a service that has no others. ready: whether it can do its work now."""
    return Starlette(routes=health_routes(ready, registry))


def health_routes(ready: Callable[[], bool], registry: CollectorRegistry) -> Sequence[BaseRoute]:
    """/healthz says that the loop runs; /readyz is 503 while a server is away; /metrics."""

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"alive": True})

    async def readyz(_request: Request) -> Response:
        is_ready = ready()
        return JSONResponse({"ready": is_ready}, status_code=200 if is_ready else 503)

    async def metrics(_request: Request) -> Response:
        return Response(generate_latest(registry), headers={"content-type": CONTENT_TYPE_LATEST})

    return (Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics))
