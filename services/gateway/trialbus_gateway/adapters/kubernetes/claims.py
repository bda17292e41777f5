"""Persistent volume claims, as Katib makes one for an experiment with `resumePolicy: FromVolume`.

Nothing is mounted: what an algorithm knows is in the store, and outlives it anyway.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trialbus.contracts.katib.times import rfc3339
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.limits import MAX_PAGE_ITEMS
from trialbus.kernel.spec import ResumePolicy
from trialbus_gateway.adapters.kubernetes.core_answers import CoreAnswers, CoreKind, Wanted
from trialbus_gateway.adapters.kubernetes.core_columns import CLAIM_COLUMNS
from trialbus_gateway.adapters.kubernetes.status_objects import method_not_allowed, not_found
from trialbus_gateway.app.failures import NotThere, Unreadable
from trialbus_gateway.app.listing import ExperimentSelection, PageRequest
from trialbus_gateway.app.showing import Showing

CLAIMS = CoreKind(
    api_version="v1",
    resource="persistentvolumeclaims",
    kind="PersistentVolumeClaim",
    columns=CLAIM_COLUMNS,
)
_BASE = "/api/v1"
# What Katib asks for unless its configuration says otherwise.
_SIZE = "1Gi"


class Claims:
    def __init__(self, showing: Showing) -> None:
        self._showing = showing
        self._answers = CoreAnswers(showing.clock)

    def routes(self) -> list[Route]:
        within = f"{_BASE}/namespaces/{{namespace}}/{CLAIMS.resource}"
        refused = ["POST", "PUT", "PATCH", "DELETE"]
        return [
            Route(f"{_BASE}/{CLAIMS.resource}", self._list, methods=["GET"]),
            Route(within, self._list, methods=["GET"]),
            Route(within, self._refuse, methods=refused),
            Route(f"{within}/{{name}}", self._get, methods=["GET"]),
            Route(f"{within}/{{name}}", self._refuse, methods=refused),
        ]

    async def _list(self, request: Request) -> Response:
        wanted = Wanted.of(request, CLAIMS)
        namespace, after = request.path_params.get("namespace"), None
        found = []
        within = ExperimentSelection(namespace=namespace)
        while True:
            page_request = PageRequest.parse(str(MAX_PAGE_ITEMS), after)
            page = await self._showing.listing.experiments(within, page_request)
            found += [_claim(state) for state in page.items if _has_one(state)]
            after = page.next
            if after is None:
                break
        version = str(int(self._showing.clock.now() * 1e6))
        return self._answers.many(CLAIMS, found, wanted, version=version)

    async def _get(self, request: Request) -> Response:
        namespace, name = request.path_params["namespace"], request.path_params["name"]
        at = name.find("-")
        while at > 0:
            state = await self._living(namespace, name[:at])
            if state is not None and _has_one(state) and _name(state) == name:
                return self._answers.one(CLAIMS, _claim(state), Wanted.of(request, CLAIMS))
            at = name.find("-", at + 1)
        raise not_found(CLAIMS.target(name))

    async def _refuse(self, request: Request) -> Response:
        target = CLAIMS.target(request.path_params.get("name", ""))
        raise method_not_allowed(target, request.method, "there are no volumes on one machine")

    async def _living(self, namespace: str, name: str) -> Experiment | None:
        try:
            return await self._showing.documents.living(namespace, name)
        except (NotThere, Unreadable):
            return None


def _has_one(state: Experiment) -> bool:
    return state.spec.resume_policy is ResumePolicy.FROM_VOLUME


def _name(state: Experiment) -> str:
    return f"{state.name}-{state.spec.algorithm.name}"


def _claim(state: Experiment) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": _name(state),
            "namespace": state.namespace,
            "uid": f"{state.id}.claim",
            "resourceVersion": "1",
            "creationTimestamp": rfc3339(state.created_at),
            "labels": {"katib.kubeflow.org/experiment": state.name},
        },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": _SIZE}},
            "volumeName": "",
        },
        "status": {
            "phase": "Bound",
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": _SIZE},
        },
    }
