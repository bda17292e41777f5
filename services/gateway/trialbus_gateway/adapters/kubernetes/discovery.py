"""What there is: the documents that Kubernetes' clients begin with."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from trialbus.contracts.katib.schemas import CATEGORIES, KINDS
from trialbus_gateway.adapters.answers_json import JsonAnswer
from trialbus_gateway.adapters.kubernetes.status_objects import path_not_found

Object = dict[str, Any]
Endpoint = Callable[[Request], Awaitable[Response]]

# Of the Kubernetes API whose rules are followed: clients choose their ways by it.
MAJOR, MINOR = "1", "32"
READ = ("get", "list", "watch")
WRITE = ("create", "update", "patch", "delete")
_DISCOVERY_GROUP = "apidiscovery.k8s.io"
_AGGREGATED = "APIGroupDiscoveryList"
_AGGREGATED_VERSIONS = ("v2", "v2beta1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """name: with its part, as in `pods/log`."""

    name: str
    kind: str
    verbs: Sequence[str]
    namespaced: bool = True
    short_names: Sequence[str] = ()
    categories: Sequence[str] = ()

    @property
    def singular(self) -> str:
        return "" if "/" in self.name else self.kind.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """name "": the core of Kubernetes."""

    name: str
    version: str
    resources: Sequence[Resource]

    @property
    def group_version(self) -> str:
        return f"{self.name}/{self.version}" if self.name else self.version

    @property
    def path(self) -> str:
        return f"/apis/{self.group_version}" if self.name else f"/api/{self.version}"


def _katib() -> list[Resource]:
    verbs = {"Experiment": (*READ, *WRITE)}
    resources = []
    for kind in KINDS:
        resources.append(
            Resource(
                name=kind.plural,
                kind=kind.name,
                verbs=verbs.get(kind.name, READ),
                categories=CATEGORIES,
            )
        )
        resources.append(Resource(name=f"{kind.plural}/status", kind=kind.name, verbs=("get",)))
    return resources


KUBEFLOW = Group(name="kubeflow.org", version="v1beta1", resources=tuple(_katib()))


class Discovery:
    """core: the group without a name. groups: the others."""

    def __init__(self, core: Group, groups: Sequence[Group]) -> None:
        self._core = core
        self._groups = groups

    def routes(self) -> list[Route]:
        routes = [
            Route("/version", self._version),
            Route("/livez", _alive),
            Route("/api", self._api),
            Route("/apis", self._apis),
            Route("/apis/{group}", self._group),
        ]
        for group in (self._core, *self._groups):
            routes.append(Route(group.path, _answering(resource_list(group))))
        return routes

    async def _version(self, _request: Request) -> Response:
        return JsonAnswer(
            {
                "major": MAJOR,
                "minor": MINOR,
                "gitVersion": f"v{MAJOR}.{MINOR}.0+trialbus-{_own_version()}",
                "gitCommit": "",
                "gitTreeState": "clean",
                "buildDate": "1970-01-01T00:00:00Z",
                "goVersion": "",
                "compiler": "",
                "platform": "",
            }
        )

    async def _api(self, request: Request) -> Response:
        aggregated = _aggregated_version(request)
        if aggregated is not None:
            return _aggregated(aggregated, [self._core])
        address = {"clientCIDR": "0.0.0.0/0", "serverAddress": request.url.netloc}
        return _json(
            {
                "kind": "APIVersions",
                "versions": [self._core.version],
                "serverAddressByClientCIDRs": [address],
            }
        )

    async def _apis(self, request: Request) -> Response:
        aggregated = _aggregated_version(request)
        if aggregated is not None:
            return _aggregated(aggregated, self._groups)
        groups = [_group_document(group) for group in self._groups]
        return _json({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})

    async def _group(self, request: Request) -> Response:
        name = request.path_params["group"]
        for group in self._groups:
            if group.name == name:
                return _json({"kind": "APIGroup", "apiVersion": "v1", **_group_document(group)})
        raise path_not_found()


def resource_list(group: Group) -> Object:
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group.group_version,
        "resources": [_resource_document(resource) for resource in group.resources],
    }


def aggregated_list(version_: str, groups: Sequence[Group]) -> Object:
    """version_: of the discovery API, v2 or v2beta1."""
    return {
        "kind": _AGGREGATED,
        "apiVersion": f"{_DISCOVERY_GROUP}/{version_}",
        "metadata": {},
        "items": [_aggregated_group(group) for group in groups],
    }


def _resource_document(resource: Resource) -> Object:
    document: Object = {
        "name": resource.name,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        document["shortNames"] = list(resource.short_names)
    if resource.categories:
        document["categories"] = list(resource.categories)
    return document


def _group_document(group: Group) -> Object:
    version_ = {"groupVersion": group.group_version, "version": group.version}
    return {"name": group.name, "versions": [version_], "preferredVersion": version_}


def _aggregated_group(group: Group) -> Object:
    metadata = {"name": group.name} if group.name else {}
    resources = [_aggregated_resource(group, it) for it in group.resources if "/" not in it.name]
    version_ = {"version": group.version, "resources": resources, "freshness": "Current"}
    return {"metadata": metadata, "versions": [version_]}


def _aggregated_resource(group: Group, resource: Resource) -> Object:
    kind = {"group": group.name, "version": group.version, "kind": resource.kind}
    parts = [it for it in group.resources if it.name.startswith(f"{resource.name}/")]
    document: Object = {
        "resource": resource.name,
        "responseKind": kind,
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        document["shortNames"] = list(resource.short_names)
    if resource.categories:
        document["categories"] = list(resource.categories)
    if parts:
        document["subresources"] = [
            {
                "subresource": part.name.partition("/")[2],
                "responseKind": kind,
                "verbs": list(part.verbs),
            }
            for part in parts
        ]
    return document


def _aggregated_version(request: Request) -> str | None:
    """The version that the Accept header wants first, None: it wants the plain documents."""
    for clause in request.headers.get("accept", "").split(","):
        media, *parameters = (piece.strip() for piece in clause.split(";"))
        wanted = dict(it.split("=", 1) for it in parameters if "=" in it)
        if media != "application/json":
            continue
        if wanted.get("as") is None:
            return None
        found = wanted.get("as") == _AGGREGATED and wanted.get("g") == _DISCOVERY_GROUP
        if found and wanted.get("v") in _AGGREGATED_VERSIONS:
            return wanted["v"]
    return None


def _aggregated(version_: str, groups: Sequence[Group]) -> Response:
    media = f"application/json;g={_DISCOVERY_GROUP};v={version_};as={_AGGREGATED}"
    return _json(aggregated_list(version_, groups), media)


def _json(content: Object, media: str = "application/json") -> Response:
    return JsonAnswer(content, media_type=media, headers={"vary": "Accept"})


def _answering(content: Object) -> Endpoint:
    async def answer(_request: Request) -> Response:
        return _json(content)

    return answer


async def _alive(_request: Request) -> Response:
    return PlainTextResponse("ok")


def _own_version() -> str:
    try:
        return version("trialbus").replace("+", "-")
    except PackageNotFoundError:
        return "unknown"
