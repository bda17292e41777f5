"""Namespaces: every name exists, because nothing has to be made for an experiment to have one."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trialbus.contracts.katib.times import rfc3339
from trialbus.contracts.yaml_input import load_document
from trialbus.kernel.access import Action
from trialbus.kernel.errors import Refused
from trialbus.kernel.ids import is_name
from trialbus_gateway.adapters.bodies import limited
from trialbus_gateway.adapters.kubernetes.core_answers import CoreAnswers, CoreKind, Wanted
from trialbus_gateway.adapters.kubernetes.core_columns import NAMESPACE_COLUMNS
from trialbus_gateway.adapters.kubernetes.protobuf_names import name_in
from trialbus_gateway.adapters.kubernetes.status_objects import (
    Cause,
    invalid,
    method_not_allowed,
    not_found,
)
from trialbus_gateway.app import reach
from trialbus_gateway.app.showing import Showing

Object = dict[str, Any]

NAMESPACES = CoreKind(
    api_version="v1",
    resource="namespaces",
    kind="Namespace",
    columns=NAMESPACE_COLUMNS,
    fields=("metadata.name", "status.phase"),
)

_ALL = "/api/v1/namespaces"
_ONE = f"{_ALL}/{{name}}"
_DEFAULT = "default"
_WHY = "a namespace is there as long as its experiments are: delete those"


class Namespaces:
    def __init__(self, showing: Showing) -> None:
        self._showing = showing
        self._answers = CoreAnswers(showing.clock)

    def routes(self) -> list[Route]:
        return [
            Route(_ALL, self._list, methods=["GET"]),
            Route(_ALL, self._create, methods=["POST"]),
            Route(_ONE, self._get, methods=["GET"]),
            Route(_ONE, self._patch, methods=["PATCH", "PUT"]),
            Route(_ONE, self._delete, methods=["DELETE"]),
        ]

    async def _list(self, request: Request) -> Response:
        """`default`, or those of the caller, and those of living experiments."""
        wanted = Wanted.of(request, NAMESPACES)
        always = reach.current().namespaces or {_DEFAULT}
        since: dict[str, float | None] = {
            **dict.fromkeys(always, None),
            **await self._showing.namespaces(),
        }
        found = [namespace_object(name, since[name]) for name in sorted(since)]
        version = str(int(self._showing.clock.now() * 1e6))
        return self._answers.many(NAMESPACES, found, wanted, version=version)

    async def _get(self, request: Request) -> Response:
        return self._answer(request, _name(request))

    async def _create(self, request: Request) -> Response:
        """Says yes: it is there already, and a script that makes sure of it goes on."""
        metadata = await _metadata(request)
        name = metadata.get("name")
        if not isinstance(name, str) or not is_name(name):
            cause = Cause(
                reason="FieldValueInvalid",
                message=f"Invalid value: {name!r}",
                field="metadata.name",
            )
            raise invalid(NAMESPACES.target(str(name)), [cause])
        reach.demand(Action.COMMAND, name)
        return self._answer(request, name, metadata, status=201)

    async def _patch(self, request: Request) -> Response:
        """Answers as if the labels were kept; nothing here asks for them."""
        return self._answer(request, _name(request), await _metadata(request))

    def _answer(
        self,
        request: Request,
        name: str,
        metadata: Mapping[str, Any] | None = None,
        *,
        status: int = 200,
    ) -> Response:
        view = namespace_object(name)
        for field in ("labels", "annotations"):
            given = (metadata or {}).get(field)
            if isinstance(given, Mapping):
                kept = {**view["metadata"].get(field, {}), **given}
                view["metadata"][field] = {key: it for key, it in kept.items() if it is not None}
        return self._answers.one(NAMESPACES, view, Wanted.of(request, NAMESPACES), status)

    async def _delete(self, request: Request) -> Response:
        raise method_not_allowed(NAMESPACES.target(_name(request)), "delete", _WHY)


def _name(request: Request) -> str:
    name = str(request.path_params["name"])
    if not is_name(name):
        raise not_found(NAMESPACES.target(name))
    return name


async def _metadata(request: Request) -> Mapping[str, Any]:
    """Of an object or a merge patch; other bodies change nothing here. YAML is JSON's superset."""
    body = await limited(request)
    if (name := name_in(body)) is not None:
        return {"name": name}
    try:
        metadata = load_document(body).get("metadata")
    except Refused:
        return {}
    return metadata if isinstance(metadata, Mapping) else {}


def namespace_object(name: str, created_at: float | None = None) -> Object:
    metadata: Object = {
        "name": name,
        "uid": f"namespace.{name}",
        "resourceVersion": "1",
        "labels": {
            "kubernetes.io/metadata.name": name,
            "katib.kubeflow.org/metrics-collector-injection": "enabled",
        },
    }
    if created_at is not None:
        metadata["creationTimestamp"] = rfc3339(created_at)
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": metadata,
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }
