"""Every route of the gateway as calls about one tenant's objects, and how many answer wrongly."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from starlette.routing import Route

from trialbus.contracts.collections import EXPERIMENTS
from trialbus.testkit.access_world import OURS, AccessWorld
from trialbus.testkit.gateway_world import katib
from trialbus_gateway.adapters.access.route_guard import flat

# What anybody may ask, as of an API server; written down once more, so that a change is noticed.
OPEN = {"/healthz", "/readyz", "/livez", "/version"}
# About the whole installation.
ADMINS = {"/metrics", "/v1/webhooks"}
# Not about any tenant.
COMMON = {
    "/v1/status",
    "/v1/identity",
    "/v1/openapi.json",
    "/api",
    "/apis",
    "/apis/{group}",
    "/api/v1",
    "/apis/kubeflow.org/v1beta1",
    "/apis/batch/v1",
    "/apis/authorization.k8s.io/v1",
    "/openapi/v2",
    "/openapi/v3",
    "/openapi/v3/{path:path}",
    "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
    "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
    "/prometheus/api/v1/labels",
    "/prometheus/api/v1/metadata",
    "/prometheus/api/v1/status/buildinfo",
}
# What a question has to say, beside its path.
QUESTIONS = {
    "/prometheus/api/v1/query": "?query=experiment_info",
    "/prometheus/api/v1/query_range": "?query=experiment_info&start=9e9&end=9e9&step=1",
    "/prometheus/api/v1/series": "?match[]=experiment_info",
}
BY_BODY = ("/v1/events", "/api/v1/namespaces")
WORK = ("/ask", "/report", "/heartbeat", "/tell", "/release")


@dataclass(frozen=True)
class Call:
    """One method of one route, about the objects of one tenant."""

    method: str
    route: str
    path: str
    more: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.method} {self.route}"

    @property
    def is_read(self) -> bool:
        return self.method == "GET" or self.route.startswith("/prometheus/")

    @property
    def is_work(self) -> bool:
        return self.route.endswith(WORK)

    @property
    def names_tenant(self) -> bool:
        """Whether path or body say whose it is; else it is a list, or about no tenant."""
        if self.route == "/api/v1/namespaces":
            return not self.is_read
        return "{namespace}" in self.route or "{trial}" in self.route or self._by_name

    @property
    def _by_name(self) -> bool:
        return self.route in ("/api/v1/namespaces/{name}", "/v1/events")


def routes_of(access: AccessWorld) -> Iterator[tuple[str, Route]]:
    for route in flat(access.world.app.routes):
        for method in sorted((route.methods or set()) - {"HEAD"}):
            yield method, route


def calls(access: AccessWorld, namespace: str) -> list[Call]:
    """Every route, with objects that this tenant has."""
    _, trial = access.ours if namespace == OURS else access.theirs
    made = []
    for method, route in routes_of(access):
        name = "tune"
        if "/pods/" in route.path or "/jobs/" in route.path:
            name = trial.name
        if route.path == "/api/v1/namespaces/{name}":
            name = namespace
        values = {
            "namespace": namespace,
            "name": name,
            "trial": trial.name,
            "attempt": "1",
            "resource": "experiments",
            "group": "batch",
            "path:path": "api/v1",
            "label": "namespace",
        }
        path = route.path
        for key, value in values.items():
            path = path.replace(f"{{{key}}}", value)
        body = body_of(method, route.path, namespace)
        path += QUESTIONS.get(route.path, "")
        made.append(Call(method, route.path, path, {} if body is None else {"json": body}))
    return made


def body_of(method: str, route: str, namespace: str) -> Any:
    if method in ("GET", "DELETE") or route.startswith("/prometheus/"):
        return None
    if route == "/v1/events":
        return {
            "specversion": "1.0",
            "id": f"e-{namespace}",
            "source": "/tests",
            "type": "io.trialbus.experiment.suspend.v1",
            "subject": f"{namespace}/tune",
        }
    if route == "/api/v1/namespaces":
        return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    if route.endswith("/experiments/{name}"):
        return {"object": katib("tune", namespace)}
    return katib("tune", namespace)


async def told(
    access: AccessWorld, token: str | None, found: list[Call], *expected: int
) -> list[str]:
    """Where the answer was another than expected."""
    wrong = []
    for call in found:
        status, text = await access.call(token, call.method, call.path, **call.more)
        if status not in expected:
            wrong.append(f"{call}: {status} {text[:120]}")
    return wrong


async def snapshot(access: AccessWorld) -> list[Any]:
    """Of all experiments, as they are stored."""
    return list(access.world.store.documents(EXPERIMENTS.name))
