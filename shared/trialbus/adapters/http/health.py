"""What every service says of itself over HTTP: alive, able to work, and its metrics."""

import os
from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route


def health_app(ready: Callable[[], bool], registry: CollectorRegistry | None) -> Starlette:
    """The pages of a service that has no others, see `health_routes`."""
    return Starlette(routes=health_routes(ready, registry))


def health_routes(
    ready: Callable[[], bool], registry: CollectorRegistry | None
) -> Sequence[BaseRoute]:
    """/healthz says that the loop runs; /readyz is 503 while a server is away, and whose word that
    is (`pid`); /metrics, in OpenMetrics with exemplars for who takes it. ready: whether the service
    can do its work now. registry: of this process; None: metrics are switched off."""

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"alive": True})

    async def readyz(_request: Request) -> Response:
        is_ready = ready()
        said = {"ready": is_ready, "pid": os.getpid()}
        return JSONResponse(said, status_code=200 if is_ready else 503)

    async def metrics(request: Request) -> Response:
        if registry is None:
            return PlainTextResponse("Metrics are switched off: TRIALBUS_METRICS.\n", 404)
        encode, content_type = _encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"content-type": content_type})

    return (Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics))


def _encoder(accept: str) -> tuple[Callable[[CollectorRegistry], bytes], str]:
    """What writes a registry as the caller wants it, and the name of that format."""
    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is none
        return generate_latest, CONTENT_TYPE_PLAIN_0_0_4
