"""The HTTP API, route by route; docs/reference/http.md describes it."""

from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import PackageNotFoundError, version

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from trialbus.contracts.commands import Verb
from trialbus_gateway.adapters.answers_json import JsonAnswer
from trialbus_gateway.adapters.bodies import apply_body, command_names, count, flag
from trialbus_gateway.adapters.event_ingress import EventIngress
from trialbus_gateway.adapters.failures import HANDLERS
from trialbus_gateway.adapters.origins import OriginGuard
from trialbus_gateway.adapters.streams import event_stream, text_stream
from trialbus_gateway.app.commanding import Accepted, Commanding, Conditions
from trialbus_gateway.app.ingress import Ingress
from trialbus_gateway.app.listing import PageRequest
from trialbus_gateway.app.questions import Questions

_EXPERIMENT = "/v1/namespaces/{namespace}/experiments/{name}"
_MAX_TAIL_LINES = 100_000

Endpoint = Callable[[Request], Awaitable[Response]]


def http_app(
    questions: Questions,
    commanding: Commanding,
    health: Sequence[BaseRoute],
    *,
    ingress: Ingress,
    kubernetes: Sequence[BaseRoute] = (),
    listens_on: str = "127.0.0.1",
) -> Starlette:
    """health: the pages that every service has. listens_on: where it will be served."""
    reading, writing = _Reading(questions), _Writing(commanding)
    events = EventIngress(ingress)
    routes = [*health, *reading.routes(), *writing.routes(), *events.routes(), *kubernetes]
    guard = Middleware(OriginGuard, listens_on=listens_on)
    return Starlette(routes=routes, exception_handlers=dict(HANDLERS), middleware=[guard])


class _Reading:
    def __init__(self, questions: Questions) -> None:
        self._questions = questions

    def routes(self) -> list[Route]:
        return [
            _get("/v1/status", self._status),
            _get("/v1/experiments", self._experiments),
            _get(_EXPERIMENT, self._experiment),
            _get(f"{_EXPERIMENT}/progress", self._progress),
            _get(f"{_EXPERIMENT}/events", self._events),
            _get(f"{_EXPERIMENT}/explain", self._explain_experiment),
            _get(f"{_EXPERIMENT}/suggestion", self._suggestion),
            _get("/v1/suggestions", self._suggestions),
            _get("/v1/trials", self._trials),
            _get("/v1/trials/{trial}", self._trial),
            _get("/v1/trials/{trial}/log", self._log),
            _get("/v1/trials/{trial}/metrics", self._metrics),
            _get("/v1/trials/{trial}/explain", self._explain_trial),
        ]

    async def _status(self, _request: Request) -> Response:
        return JsonAnswer({"version": _version(), "services": self._questions.status()})

    async def _experiments(self, request: Request) -> Response:
        namespace = request.query_params.get("namespace")
        if flag(request, "deleted"):
            return JsonAnswer(await self._questions.archived(namespace))
        return JsonAnswer(await self._questions.experiments(namespace, _page(request)))

    async def _experiment(self, request: Request) -> Response:
        return JsonAnswer(await self._questions.experiment(*_experiment(request)))

    async def _progress(self, request: Request) -> Response:
        return JsonAnswer(await self._questions.progress(*_experiment(request)))

    async def _events(self, request: Request) -> Response:
        follow = flag(request, "follow")
        # What a browser sends when its stream broke off.
        last = request.headers.get("last-event-id", "")
        events = await self._questions.events(*_experiment(request), follow=follow, after=last)
        return await event_stream(events)

    async def _explain_experiment(self, request: Request) -> Response:
        return JsonAnswer(await self._questions.explain_experiment(*_experiment(request)))

    async def _suggestion(self, request: Request) -> Response:
        return JsonAnswer(await self._questions.suggestion(*_experiment(request)))

    async def _suggestions(self, request: Request) -> Response:
        namespace = request.query_params.get("namespace")
        return JsonAnswer(await self._questions.suggestions(namespace, _page(request)))

    async def _trials(self, request: Request) -> Response:
        query = request.query_params
        page = _page(request)
        found = await self._questions.trials(
            query.get("namespace"), query.get("experiment"), page, uid=query.get("uid")
        )
        return JsonAnswer(found)

    async def _trial(self, request: Request) -> Response:
        return JsonAnswer(await self._questions.trial(_trial(request)))

    async def _log(self, request: Request) -> Response:
        tail = count(request, "tail", _MAX_TAIL_LINES)
        follow = flag(request, "follow")
        pieces = await self._questions.log(_trial(request), follow=follow, tail=tail)
        return await text_stream(pieces)

    async def _metrics(self, request: Request) -> Response:
        return JsonAnswer(await self._questions.metrics(_trial(request)))

    async def _explain_trial(self, request: Request) -> Response:
        return JsonAnswer(await self._questions.explain_trial(_trial(request)))


class _Writing:
    def __init__(self, commanding: Commanding) -> None:
        self._commanding = commanding

    def routes(self) -> list[Route]:
        return [
            Route(_EXPERIMENT, self._apply, methods=["PUT"]),
            Route(_EXPERIMENT, self._telling(Verb.DELETE), methods=["DELETE"]),
            Route(f"{_EXPERIMENT}/suspend", self._telling(Verb.SUSPEND), methods=["POST"]),
            Route(f"{_EXPERIMENT}/resume", self._telling(Verb.RESUME), methods=["POST"]),
            Route(f"{_EXPERIMENT}/stop", self._telling(Verb.STOP), methods=["POST"]),
        ]

    async def _apply(self, request: Request) -> Response:
        namespace, name = _experiment(request)
        body = await apply_body(request)
        accepted = await self._commanding.apply(
            namespace,
            name,
            body.object,
            working_dir=body.working_dir,
            command_id=body.id,
            only=Conditions(uid=body.uid),
        )
        content = {
            **_accepted(accepted),
            "created": accepted.created,
            "changed": accepted.created or accepted.changed,
        }
        return JsonAnswer(content, status_code=201 if accepted.created else 200)

    def _telling(self, verb: Verb) -> Endpoint:
        async def tell(request: Request) -> Response:
            namespace, name = _experiment(request)
            names = command_names(request)
            accepted = await self._commanding.tell(
                namespace,
                name,
                verb,
                command_id=names.id,
                only=Conditions(uid=names.uid),
                keep_history=flag(request, "keepHistory"),
            )
            return JsonAnswer(_accepted(accepted), status_code=202)

        return tell


def _get(path: str, endpoint: Endpoint) -> Route:
    return Route(path, endpoint, methods=["GET"])


def _experiment(request: Request) -> tuple[str, str]:
    return request.path_params["namespace"], request.path_params["name"]


def _trial(request: Request) -> str:
    return str(request.path_params["trial"])


def _page(request: Request) -> PageRequest:
    query = request.query_params
    return PageRequest.parse(query.get("limit"), query.get("after"))


def _accepted(accepted: Accepted) -> dict[str, str]:
    return {"id": accepted.id, "uid": accepted.uid}


def _version() -> str:
    try:
        return version("trialbus")
    except PackageNotFoundError:
        return "unknown"
