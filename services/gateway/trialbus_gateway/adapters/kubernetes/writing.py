"""Create, replace, patch, apply and delete experiments, as kubectl and Katib's client ask for it.

Suggestions and trials are written by the system, and so is every status: who tries is told so.
"""

import json
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trialbus.contracts.katib.models import API_VERSION
from trialbus.contracts.yaml_input import check_json
from trialbus.kernel.errors import Refused
from trialbus.kernel.limits import MAX_COMMIT_RETRIES, MAX_EXPERIMENT_NAME_CHARS
from trialbus_gateway.adapters.answers_json import JsonAnswer
from trialbus_gateway.adapters.kubernetes.bodies import (
    APPLY,
    JSON_PATCH,
    metadata_of,
    object_of,
    optional_object_of,
    patch_of,
)
from trialbus_gateway.adapters.kubernetes.field_validation import known_fields
from trialbus_gateway.adapters.kubernetes.list_options import scope_of
from trialbus_gateway.adapters.kubernetes.managed_fields import applied, updated
from trialbus_gateway.adapters.kubernetes.patches import PatchFailed, json_patch, merge_patch
from trialbus_gateway.adapters.kubernetes.reading import kind_of
from trialbus_gateway.adapters.kubernetes.status_objects import (
    StatusFailure,
    Target,
    already_exists,
    bad_request,
    conflict,
    failure_of,
    forbidden,
    method_not_allowed,
    success,
)
from trialbus_gateway.adapters.kubernetes.write_options import DeleteOptions, WriteOptions
from trialbus_gateway.app.changes_listing import ChangesListing
from trialbus_gateway.app.editing import AlreadyThere, EditedSince, Editing, Source
from trialbus_gateway.app.failures import NotThere
from trialbus_gateway.core.change_log import Kind

Object = dict[str, Any]
Endpoint = Callable[[Request], Awaitable[Response]]

_LIST = "/apis/kubeflow.org/v1beta1/namespaces/{namespace}/{resource}"
_ONE = f"{_LIST}/{{name}}"
# Of generated names, as in Kubernetes: no vowels, so no words.
_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX_CHARS = 5
_BY_THE_SYSTEM = {
    Kind.TRIALS: "trials are written by the system; they go with their experiment",
    Kind.SUGGESTIONS: "suggestions are written by the system; they go with their experiment",
}
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class Writing:
    def __init__(self, editing: Editing, listing: ChangesListing) -> None:
        self._editing = editing
        self._listing = listing

    def routes(self) -> list[Route]:
        return [
            Route(_LIST, _answering(self._create), methods=["POST"]),
            Route(_LIST, _answering(self._delete_all), methods=["DELETE"]),
            Route(_ONE, _answering(self._replace), methods=["PUT"]),
            Route(_ONE, _answering(self._patch), methods=["PATCH"]),
            Route(_ONE, _answering(self._delete), methods=["DELETE"]),
            Route(f"{_ONE}/status", _answering(self._status), methods=["PUT", "PATCH"]),
        ]

    async def _create(self, request: Request) -> Response:
        options = WriteOptions.parse(request)
        obj = _identified(await object_of(request), request)
        generated = not obj["metadata"].get("name")
        if obj["metadata"].get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        known = known_fields(obj, options.validation)
        for _ in range(MAX_COMMIT_RETRIES):
            named = _named(known.object)
            try:
                source = self._editing.source(named)
                owned = updated({}, source, options.manager, self._editing.now())
                namespace = request.path_params["namespace"]
                made = await self._editing.create(namespace, owned, dry_run=options.dry_run)
            except AlreadyThere:
                if not generated:
                    raise
                continue
            except Refused as error:
                name = str(named["metadata"].get("name") or "")
                raise failure_of(error, _target(request, name)) from error
            return _answer(made, known.warnings, status=201)
        raise already_exists(_target(request))

    async def _replace(self, request: Request) -> Response:
        options = WriteOptions.parse(request)
        obj = _identified(await object_of(request), request)
        known = known_fields(obj, options.validation)

        def replaced(there: Object, source: Source) -> Object:
            return updated(there, source(known.object), options.manager, self._editing.now())

        made = await self._editing.change(*_names(request), replaced, dry_run=options.dry_run)
        return _answer(made, known.warnings)

    async def _patch(self, request: Request) -> Response:
        options = WriteOptions.parse(request)
        kind, patch = await patch_of(request)
        if kind == APPLY:
            return await self._apply(request, options, patch)
        warnings: list[str] = []

        def patched(there: Object, source: Source) -> Object:
            new = _patched(there, kind, patch)
            known = known_fields(_identified(new, request), options.validation)
            warnings[:] = known.warnings
            return updated(there, source(known.object), options.manager, self._editing.now())

        made = await self._editing.change(*_names(request), patched, dry_run=options.dry_run)
        return _answer(made, tuple(warnings))

    async def _apply(self, request: Request, options: WriteOptions, patch: Object) -> Response:
        """Server-side; creates what is not there."""
        manager = options.applying_manager()
        config = _identified(patch, request)
        if config["metadata"].pop("managedFields", None):
            raise bad_request("metadata.managedFields must be nil")
        config.pop("status", None)
        known = known_fields(config, options.validation)

        def merged(there: Object, source: Source) -> Object:
            return applied(
                there,
                known.object,
                manager,
                self._editing.now(),
                defaulted=source,
                force=options.force,
            )

        for _ in range(MAX_COMMIT_RETRIES):
            try:
                made = await self._editing.change(*_names(request), merged, dry_run=options.dry_run)
                return _answer(made, known.warnings)
            except NotThere:
                if config["metadata"].get("uid"):
                    raise
            new = merged({}, self._editing.source)
            try:
                namespace = request.path_params["namespace"]
                made = await self._editing.create(namespace, new, dry_run=options.dry_run)
                return _answer(made, known.warnings, status=201)
            except AlreadyThere:
                continue  # somebody was faster: it is applied to what is there
        raise conflict(_target(request))

    async def _delete(self, request: Request) -> Response:
        options = DeleteOptions.parse(request, await optional_object_of(request))
        gone = await self._deleted(*_names(request), options)
        return _answer(success(_target(request), uid=str(gone["metadata"]["uid"])))

    async def _delete_all(self, request: Request) -> Response:
        """Those that the selectors fit, at the time of the call."""
        options = DeleteOptions.parse(request, await optional_object_of(request))
        # All of them first: so many ends at once would let a page's token expire.
        page = await self._listing.page(
            Kind.EXPERIMENTS, scope_of(request), limit=None, whole=False
        )
        gone = list[Object]()
        for item in page.items:
            metadata = item["metadata"]
            try:
                await self._deleted(metadata["namespace"], metadata["name"], options)
            except NotThere:
                continue
            gone.append(item)
        listed = {"apiVersion": API_VERSION, "kind": "ExperimentList", "metadata": {}}
        return _answer({**listed, "items": gone})

    async def _deleted(self, namespace: str, name: str, options: DeleteOptions) -> Object:
        return await self._editing.delete(
            namespace,
            name,
            uid=options.uid,
            resource_version=options.resource_version,
            dry_run=options.dry_run,
            keep_history=options.keep_history,
        )

    async def _status(self, request: Request) -> Response:
        raise forbidden(_target(request), "a status is written by the system")


def _answering(endpoint: Endpoint) -> Endpoint:
    """What is about one experiment is told with its name; other kinds are not written here."""

    async def answer(request: Request) -> Response:
        kind, target = kind_of(request), _target(request)
        if kind is not Kind.EXPERIMENTS:
            raise method_not_allowed(target, _VERBS[request.method], _BY_THE_SYSTEM[kind])
        try:
            return await endpoint(request)
        except AlreadyThere as error:
            raise already_exists(_target(request, str(error))) from error
        except EditedSince as error:
            raise conflict(target) from error

    return answer


def _target(request: Request, name: str = "") -> Target:
    found = request.path_params
    return Target(
        resource=str(found["resource"]),
        name=name or str(found.get("name", "")),
        kind="Experiment",
    )


def _names(request: Request) -> tuple[str, str]:
    return request.path_params["namespace"], request.path_params["name"]


def _identified(obj: Object, request: Request) -> Object:
    """With its kind, name and namespace, which the path says too. Raises StatusFailure."""
    version, kind = obj.get("apiVersion") or API_VERSION, obj.get("kind") or "Experiment"
    if version != API_VERSION:
        raise bad_request(
            f"the API version in the data ({version!s:.100}) does not match the expected API "
            f"version ({API_VERSION})"
        )
    if kind != "Experiment":
        raise bad_request(f'"{kind!s:.100}" is not the expected kind: Experiment')
    metadata, found = metadata_of(obj), request.path_params
    if (metadata.get("namespace") or found["namespace"]) != found["namespace"]:
        raise bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    name = metadata.get("name") or found.get("name")
    if found.get("name", name) != name:
        raise bad_request(
            f"the name of the object ({name!s:.100}) does not match the name on the URL "
            f"({found['name']})"
        )
    metadata["namespace"] = found["namespace"]
    if name:
        metadata["name"] = name
    return {**obj, "apiVersion": version, "kind": kind, "metadata": metadata}


def _named(obj: Object) -> Object:
    """With a generated name where only its beginning is given."""
    metadata = obj["metadata"]
    prefix = metadata.get("generateName")
    if metadata.get("name") or not isinstance(prefix, str) or not prefix:
        return obj
    suffix = "".join(secrets.choice(_SUFFIX_LETTERS) for _ in range(_SUFFIX_CHARS))
    name = prefix[: MAX_EXPERIMENT_NAME_CHARS - _SUFFIX_CHARS] + suffix
    return {**obj, "metadata": {**metadata, "name": name}}


def _patched(there: Object, kind: str, patch: Any) -> Object:
    try:
        new = json_patch(there, patch) if kind == JSON_PATCH else merge_patch(there, patch)
    except PatchFailed as error:
        raise StatusFailure(422, "Invalid", f"the patch cannot be applied: {error}") from error
    if not isinstance(new, dict):
        raise bad_request("the patch leaves no object")
    try:
        check_json(new)
    except Refused as error:
        raise bad_request(f"what the patch leaves cannot be taken: {error}") from error
    return new


def _answer(obj: Object, warnings: tuple[str, ...] = (), status: int = 200) -> Response:
    answer = JsonAnswer(obj, status_code=status)
    for text in warnings:
        # As JSON: a header takes neither quotes nor letters from afar.
        answer.headers.append("warning", f"299 - {json.dumps(text)}")
    return answer
