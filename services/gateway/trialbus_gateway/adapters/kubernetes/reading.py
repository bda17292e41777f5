"""Get, list and watch of Katib's objects."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trialbus_gateway.adapters.answers_json import JsonAnswer
from trialbus_gateway.adapters.kubernetes.list_options import ListOptions, options_of, scope_of
from trialbus_gateway.adapters.kubernetes.status_objects import path_not_found
from trialbus_gateway.adapters.kubernetes.tables import SCHEMAS, form_of, shown, shown_list
from trialbus_gateway.adapters.kubernetes.watching import Watching
from trialbus_gateway.app.changes import Changes
from trialbus_gateway.app.changes_listing import ChangesListing, ListPage
from trialbus_gateway.app.failures import Expired
from trialbus_gateway.core.change_log import Kind, Object
from trialbus_gateway.core.resource_versions import tick_of

ROOT = "/apis/kubeflow.org/v1beta1"
_LIST = f"{ROOT}/namespaces/{{namespace}}/{{resource}}"
_ONE = f"{_LIST}/{{name}}"


class Reading:
    def __init__(self, changes: Changes, listing: ChangesListing) -> None:
        self._changes = changes
        self._listing = listing
        self._watching = Watching(changes, listing)

    def routes(self) -> list[Route]:
        return [
            Route(f"{ROOT}/{{resource}}", self._list, methods=["GET"]),
            Route(_LIST, self._list, methods=["GET"]),
            Route(_ONE, self._get, methods=["GET"]),
            # The status is a part of the object, never another.
            Route(f"{_ONE}/status", self._get, methods=["GET"]),
        ]

    async def _get(self, request: Request) -> Response:
        kind, form = kind_of(request), form_of(request)
        namespace, name = request.path_params["namespace"], request.path_params["name"]
        match kind:
            case Kind.EXPERIMENTS:
                view = await self._changes.experiment(namespace, name)
            case Kind.SUGGESTIONS:
                view = await self._changes.suggestion(namespace, name)
            case Kind.TRIALS:
                view = await self._changes.trial(namespace, name)
        return _answer(shown(SCHEMAS[kind], view, form))

    async def _list(self, request: Request) -> Response:
        kind, form, scope = kind_of(request), form_of(request), scope_of(request)
        options = options_of(request)
        if options.watch:
            return await self._watching.answer(kind, form, scope, options)
        page = await self._listing.page(
            kind, scope, limit=options.limit, token=options.token, whole=form.whole
        )
        _check_version(options, page)
        metadata = {"resourceVersion": page.version}
        if page.next:
            metadata["continue"] = page.next
        return _answer(shown_list(SCHEMAS[kind], page.items, form, metadata))


def kind_of(request: Request) -> Kind:
    """Raises StatusFailure 404."""
    resource = request.path_params["resource"]
    if resource not in tuple(Kind):
        raise path_not_found()
    return Kind(resource)


def _check_version(options: ListOptions, page: ListPage) -> None:
    """Only the present can be listed."""
    if options.exact and tick_of(options.version) != tick_of(page.version):
        told = f"The resourceVersion for the provided list is too old: {options.version}"
        raise Expired(told)


def _answer(content: Object) -> Response:
    return JsonAnswer(content, headers={"vary": "Accept"})
