"""The HTTP API: what is served where. Each route under /v1 carries its description (`rest/`)."""

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from trialbus_gateway.adapters.event_ingress import EventIngress
from trialbus_gateway.adapters.failures import HANDLERS
from trialbus_gateway.adapters.origins import OriginGuard
from trialbus_gateway.adapters.rest.about import About
from trialbus_gateway.adapters.rest.commands import Commands
from trialbus_gateway.adapters.rest.experiments import ExperimentReading
from trialbus_gateway.adapters.rest.suggestions import SuggestionReading
from trialbus_gateway.adapters.rest.trials import TrialReading
from trialbus_gateway.adapters.rest.webhooks import WebhookReading
from trialbus_gateway.adapters.rest.workers import Workers
from trialbus_gateway.app.commanding import Commanding
from trialbus_gateway.app.ingress import Ingress
from trialbus_gateway.app.questions import Questions
from trialbus_gateway.app.webhooks import Webhooks
from trialbus_gateway.app.working import Working


def http_app(
    questions: Questions,
    commanding: Commanding,
    health: Sequence[BaseRoute],
    *,
    ingress: Ingress,
    working: Working,
    webhooks: Webhooks | None = None,
    kubernetes: Sequence[BaseRoute] = (),
    listens_on: str = "127.0.0.1",
) -> Starlette:
    """health: the pages that every service has. listens_on: where it will be served."""
    described = [
        *About(questions.status).routes(),
        *ExperimentReading(questions).routes(),
        *TrialReading(questions).routes(),
        *SuggestionReading(questions).routes(),
        *Commands(commanding).routes(),
        *EventIngress(ingress).routes(),
        *Workers(working).routes(),
        *(() if webhooks is None else WebhookReading(webhooks).routes()),
    ]
    routes = [*health, *described, *kubernetes]
    guard = Middleware(OriginGuard, listens_on=listens_on)
    return Starlette(routes=routes, exception_handlers=dict(HANDLERS), middleware=[guard])
