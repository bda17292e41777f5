"""Each route asks first whether its caller may: the table of needs, put in front of all of them."""

from collections.abc import Awaitable, Callable, Iterable

from starlette.requests import Request
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from trialbus.kernel.access import Action
from trialbus_gateway.adapters.access import needs
from trialbus_gateway.adapters.access.needs import Need
from trialbus_gateway.adapters.http_metrics import ROUTE
from trialbus_gateway.app import reach
from trialbus_gateway.app.failures import Forbidden, NotThere
from trialbus_gateway.core.identities import ANYBODY, Identity

# Any word of a trial by its name, as far as the caller sees it. Raises NotThere, Unreadable.
FindTrial = Callable[[str], Awaitable[object]]


def guard_routes(routes: Iterable[BaseRoute], find_trial: FindTrial) -> None:
    """In place: what fails here is told by the handlers of the application that has the route."""
    for route in flat(routes):
        route.app = _Guarded(route.app, route.path, find_trial)


def flat(routes: Iterable[BaseRoute]) -> Iterable[Route]:
    for route in routes:
        if isinstance(route, Route):
            yield route
        elif isinstance(route, Mount):
            yield from flat(route.routes)
        else:
            raise TypeError(f"{route} cannot be guarded")


class _Guarded:
    """path: the route's, with its parameters' names."""

    def __init__(self, app: ASGIApp, path: str, find_trial: FindTrial) -> None:
        self._app = app
        self._path = path
        self._need = needs.need_of(path)
        self._find_trial = find_trial

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[ROUTE] = self._path
        identity = reach.current()
        if self._need.scope is not needs.Scope.OPEN:
            request = Request(scope)
            if identity.trial is not None:
                _check_trial(identity, self._need, request)
            elif not await self._is_allowed(identity, request):
                raise Forbidden(f"the role {identity.role} may not {_wanted(self._need, request)}")
        await self._app(scope, receive, send)

    async def _is_allowed(self, identity: Identity, request: Request) -> bool:
        """Raises NotThere: what is of others does not exist, whatever the role."""
        may = any(identity.may(action) for action in _actions(self._need, request))
        match self._need.scope:
            case needs.Scope.NAMESPACE | needs.Scope.NAMED | needs.Scope.LISTED:
                namespace = _namespace(self._need, request)
                if namespace is not None and not identity.sees(namespace):
                    raise NotThere(f"there is no namespace {namespace[:100]}")
            case needs.Scope.TRIAL:
                if not may:
                    await self._find_trial(str(request.path_params["trial"]))
            case needs.Scope.ATTEMPT:
                if identity is ANYBODY:
                    return True
                await self._find_trial(str(request.path_params["trial"]))
                raise Forbidden("only a trial's own token may speak for its attempt")
            case needs.Scope.INSTALLATION:
                return may and not identity.is_limited
            case _:
                pass
        return may


def _check_trial(identity: Identity, need: Need, request: Request) -> None:
    """A trial's own token: for that trial, and its reports. Raises NotThere, Forbidden."""
    grant, path = identity.trial, request.path_params
    assert grant is not None
    may = any(identity.may(action) for action in _actions(need, request))
    match need.scope:
        case needs.Scope.ANYONE:
            return
        case needs.Scope.EACH if may and Action.REPORT in _actions(need, request):
            return
        case needs.Scope.ATTEMPT if path["attempt"] != str(grant.attempt):
            # Its own pod may have been given it: of others it learns nothing.
            raise NotThere(
                f"the token is good for attempt {grant.attempt} of {grant.trial}, and no other"
            )
        case needs.Scope.TRIAL | needs.Scope.ATTEMPT:
            if path["trial"] != grant.trial:
                raise NotThere(f"there is no trial {str(path['trial'])[:100]}")
            if may:
                return
        case needs.Scope.NAMESPACE | needs.Scope.NAMED | needs.Scope.LISTED:
            namespace = _namespace(need, request)
            if namespace is not None and namespace != grant.namespace:
                raise NotThere(f"there is no namespace {namespace[:100]}")
            if Action.REPORT in _actions(need, request):
                # Which trial, is judged where the report leaves.
                if path.get("name") != grant.experiment:
                    raise NotThere(f"there is no experiment {str(path.get('name'))[:100]}")
                return
        case _:
            pass
    raise Forbidden("a trial's token is good for that trial only")


def _actions(need: Need, request: Request) -> frozenset[Action]:
    return need.actions.get(request.method, frozenset({Action.OPERATE}))


def _namespace(need: Need, request: Request) -> str | None:
    """None: the request names none, and gets what its caller sees."""
    match need.scope:
        case needs.Scope.NAMESPACE:
            return str(request.path_params["namespace"])
        case needs.Scope.NAMED:
            return str(request.path_params["name"])
        case _:
            return request.query_params.get("namespace")


def _wanted(need: Need, request: Request) -> str:
    return " or ".join(sorted(_actions(need, request)))
