"""The HTTP API: what is served where. Each route under /v1 carries its description (`rest/`)."""

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from trialbus.ports.tracing import Tracing
from trialbus_gateway.adapters.access.door import Door
from trialbus_gateway.adapters.access.guard import AccessGuard
from trialbus_gateway.adapters.access.route_guard import guard_routes
from trialbus_gateway.adapters.event_ingress import EventIngress
from trialbus_gateway.adapters.failures import HANDLERS, told
from trialbus_gateway.adapters.http_metrics import HttpObserver, Observing
from trialbus_gateway.adapters.kubernetes import is_kubernetes
from trialbus_gateway.adapters.kubernetes import told as told_kubernetes
from trialbus_gateway.adapters.origins import OriginGuard
from trialbus_gateway.adapters.prometheus import is_prometheus
from trialbus_gateway.adapters.prometheus.failures import by_path
from trialbus_gateway.adapters.prometheus.failures import told as told_prometheus
from trialbus_gateway.adapters.prometheus.routes import PrometheusReading
from trialbus_gateway.adapters.rest.about import About
from trialbus_gateway.adapters.rest.access import Access
from trialbus_gateway.adapters.rest.commands import Commands
from trialbus_gateway.adapters.rest.experiments import ExperimentReading
from trialbus_gateway.adapters.rest.shipping import ShippingRoutes
from trialbus_gateway.adapters.rest.suggestions import SuggestionReading
from trialbus_gateway.adapters.rest.trials import TrialReading
from trialbus_gateway.adapters.rest.webhooks import WebhookReading
from trialbus_gateway.adapters.rest.workers import Workers
from trialbus_gateway.adapters.traced_requests import TracedRequests
from trialbus_gateway.app.commanding import Commanding
from trialbus_gateway.app.ingress import Ingress
from trialbus_gateway.app.questions import Questions
from trialbus_gateway.app.shipping import Shipping
from trialbus_gateway.app.webhooks import Webhooks
from trialbus_gateway.app.working import Working


def http_app(
    questions: Questions,
    commanding: Commanding,
    health: Sequence[BaseRoute],
    *,
    ingress: Ingress,
    working: Working,
    shipping: Shipping | None = None,
    webhooks: Webhooks | None = None,
    kubernetes: Sequence[BaseRoute] = (),
    listens_on: str = "127.0.0.1",
    door: Door | None = None,
    first: Sequence[Middleware] = (),
    observer: HttpObserver | None = None,
    tracing: Tracing | None = None,
) -> Starlette:
    """health: the pages that every service has. listens_on: where it will be served. door: who
    may come in; without one, everybody. first: what answers some requests before the door does.
    observer: is told of all requests. tracing: where their spans go."""
    described = [
        # First: routes are tried in their order, and these are called hundreds of times a second.
        *Workers(working).routes(),
        *(() if shipping is None else ShippingRoutes(shipping).routes()),
        *About(questions.status).routes(),
        *Access().routes(),
        *ExperimentReading(questions).routes(),
        *TrialReading(questions).routes(),
        *SuggestionReading(questions).routes(),
        *Commands(commanding).routes(),
        *EventIngress(ingress, tracing).routes(),
        *(() if webhooks is None else WebhookReading(webhooks).routes()),
        *PrometheusReading(questions.series).routes(),
    ]
    routes = [*health, *described, *kubernetes]
    guard_routes(routes, questions.trial)
    guards = []
    if tracing is not None and tracing.on:
        guards.append(Middleware(TracedRequests, tracing=tracing))
    if observer is not None:
        guards.append(Middleware(Observing, observer=observer))
    guards += [Middleware(OriginGuard, listens_on=listens_on), *first]
    if door is not None:
        guards.append(Middleware(AccessGuard, door=door, tell=_told))
    return Starlette(routes=routes, exception_handlers=by_path(HANDLERS), middleware=guards)


def _told(request: Request, error: Exception) -> Response:
    """What is found out before a route is looked for, in the words of the API that is meant."""
    if is_kubernetes(request.url.path):
        return told_kubernetes(error)
    if is_prometheus(request.url.path):
        return told_prometheus(error)
    return told(request, error)
