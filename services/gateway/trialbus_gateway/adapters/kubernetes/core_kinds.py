"""Kubernetes' own kinds beside Katib's: what of them there is, and who answers for it."""

from collections.abc import Sequence
from typing import Protocol

from starlette.routing import Route

from trialbus_gateway.adapters.kubernetes.access_reviews import AccessReviews
from trialbus_gateway.adapters.kubernetes.claims import Claims
from trialbus_gateway.adapters.kubernetes.core_events import CoreEvents
from trialbus_gateway.adapters.kubernetes.discovery import KUBEFLOW, READ, Group, Resource
from trialbus_gateway.adapters.kubernetes.namespaces import Namespaces
from trialbus_gateway.adapters.kubernetes.pod_logs import PodLogs
from trialbus_gateway.adapters.kubernetes.pods import pods_and_jobs
from trialbus_gateway.app.showing import Showing

CORE = Group(
    name="",
    version="v1",
    resources=(
        Resource(
            name="namespaces",
            kind="Namespace",
            verbs=("get", "list", "create", "update", "patch"),
            namespaced=False,
            short_names=("ns",),
        ),
        Resource(name="pods", kind="Pod", verbs=READ, short_names=("po",), categories=("all",)),
        Resource(name="pods/log", kind="Pod", verbs=("get",)),
        Resource(name="events", kind="Event", verbs=READ, short_names=("ev",)),
        Resource(
            name="persistentvolumeclaims",
            kind="PersistentVolumeClaim",
            verbs=("get", "list"),
            short_names=("pvc",),
        ),
    ),
)
BATCH = Group(
    name="batch",
    version="v1",
    resources=(Resource(name="jobs", kind="Job", verbs=READ, categories=("all",)),),
)
AUTHORIZATION = Group(
    name="authorization.k8s.io",
    version="v1",
    resources=tuple(
        Resource(name=f"{kind.lower()}s", kind=kind, verbs=("create",), namespaced=False)
        for kind in ("SelfSubjectAccessReview", "SelfSubjectRulesReview")
    ),
)

# Every group that has a name.
GROUPS = (KUBEFLOW, BATCH, AUTHORIZATION)


class Piece(Protocol):
    def routes(self) -> list[Route]: ...


def core_pieces(showing: Showing) -> Sequence[Piece]:
    return (
        Namespaces(showing),
        *pods_and_jobs(showing),
        PodLogs(showing),
        CoreEvents(showing),
        Claims(showing),
        AccessReviews(),
    )
