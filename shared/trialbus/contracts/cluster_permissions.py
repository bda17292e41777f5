"""What the services may do on a cluster: one table, which the charts' Roles, the page
docs/reference/cluster-permissions.md and `trialbus doctor --cluster` follow.

Nothing here reads a secret, writes a pod, or is a wildcard. SelfSubjectAccessReviews and discovery
need no role: every authenticated account has them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from trialbus.contracts.nats_identities import GATEWAY, TRIAL_LAUNCHER

__all__ = [
    "PERMISSIONS",
    "TRIAL_KINDS",
    "TRIAL_KIND_VERSIONS",
    "ClusterPermission",
    "When",
    "permissions_of",
    "trial_kind_permission",
]


class When(StrEnum):
    """What makes a service need a permission."""

    PLACE = "place is kubernetes"
    CUSTOM_RESOURCES = "custom_resources"
    KUBERNETES_AUDIENCE = "kubernetes_audience"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterPermission:
    """group: "" of the core. resource: plural, `pods/log` of a subresource. cluster_scope: given by
    a ClusterRole always; others by a Role in each namespace of kubernetes_namespaces, and by a
    ClusterRole if that is empty."""

    service: str
    group: str
    resource: str
    verbs: tuple[str, ...]
    why: str
    when: When = When.PLACE
    cluster_scope: bool = False


# Kinds of trials by the name that an installation lists them with: group and resource. Any other
# kind is `RESOURCE.GROUP`.
TRIAL_KINDS: dict[str, tuple[str, str]] = {
    "Job": ("batch", "jobs"),
    "PyTorchJob": ("kubeflow.org", "pytorchjobs"),
    "TFJob": ("kubeflow.org", "tfjobs"),
    "MPIJob": ("kubeflow.org", "mpijobs"),
    "XGBoostJob": ("kubeflow.org", "xgboostjobs"),
    "TrainJob": ("trainer.kubeflow.org", "trainjobs"),
    "JobSet": ("jobset.x-k8s.io", "jobsets"),
    "RayJob": ("ray.io", "rayjobs"),
    "Workflow": ("argoproj.io", "workflows"),
    "PipelineRun": ("tekton.dev", "pipelineruns"),
}

# With the version that each is usually served as; templates name their own.
TRIAL_KIND_VERSIONS: dict[str, str] = {
    "Job": "batch/v1",
    "PyTorchJob": "kubeflow.org/v1",
    "TFJob": "kubeflow.org/v1",
    "MPIJob": "kubeflow.org/v1",
    "XGBoostJob": "kubeflow.org/v1",
    "TrainJob": "trainer.kubeflow.org/v1alpha1",
    "JobSet": "jobset.x-k8s.io/v1alpha2",
    "RayJob": "ray.io/v1",
    "Workflow": "argoproj.io/v1alpha1",
    "PipelineRun": "tekton.dev/v1",
}

_TRIAL_OBJECT = ("get", "list", "watch", "create", "patch", "delete")


def trial_kind_permission(group: str, resource: str) -> ClusterPermission:
    """Of one more kind of trials, as the installation names it."""
    return ClusterPermission(
        service=TRIAL_LAUNCHER,
        group=group,
        resource=resource,
        verbs=_TRIAL_OBJECT,
        why="make the objects of runs, follow them to their end, and remove them",
    )


def _custom_resource(resource: str, verbs: tuple[str, ...], why: str) -> ClusterPermission:
    return ClusterPermission(
        service=GATEWAY,
        group="kubeflow.org",
        resource=resource,
        verbs=verbs,
        why=why,
        when=When.CUSTOM_RESOURCES,
    )


# Jobs are always among the kinds of trials; an installation adds others by trial_kind_permission.
PERMISSIONS: tuple[ClusterPermission, ...] = (
    trial_kind_permission("batch", "jobs"),
    ClusterPermission(
        service=TRIAL_LAUNCHER,
        group="",
        resource="pods",
        verbs=("list", "watch"),
        why="tell exit codes, evictions, image errors and waiting for room apart",
    ),
    ClusterPermission(
        service=TRIAL_LAUNCHER,
        group="",
        resource="pods/log",
        verbs=("get",),
        why="keep the end of a run's log, and follow metrics of pods without the wrapper",
    ),
    _custom_resource(
        "experiments",
        ("get", "list", "watch", "create", "patch", "delete"),
        "take what people apply, and show there what was made or changed elsewhere",
    ),
    _custom_resource("experiments/status", ("patch",), "show states and results"),
    _custom_resource(
        "suggestions", ("get", "create", "patch"), "show what the algorithm was asked and answered"
    ),
    _custom_resource("suggestions/status", ("patch",), "show states and results"),
    _custom_resource(
        "trials",
        ("get", "list", "create", "patch", "delete"),
        "show the trials, as many as Katib would keep",
    ),
    _custom_resource("trials/status", ("patch",), "show states and results"),
    ClusterPermission(
        service=GATEWAY,
        group="",
        resource="namespaces",
        verbs=("get",),
        why="know by a namespace's uid that this is still the cluster whose objects it keeps",
        when=When.CUSTOM_RESOURCES,
    ),
    ClusterPermission(
        service=GATEWAY,
        group="",
        resource="configmaps",
        verbs=("get",),
        why="read the trial templates that experiments only name",
        when=When.CUSTOM_RESOURCES,
    ),
    ClusterPermission(
        service=GATEWAY,
        group="",
        resource="events",
        verbs=("create",),
        why="tell beside an object why it is refused",
        when=When.CUSTOM_RESOURCES,
    ),
    ClusterPermission(
        service=GATEWAY,
        group="authentication.k8s.io",
        resource="tokenreviews",
        verbs=("create",),
        why="let the cluster say whose service account token a caller shows",
        when=When.KUBERNETES_AUDIENCE,
        cluster_scope=True,
    ),
)


def permissions_of(
    service: str, *, when: frozenset[When] = frozenset(When)
) -> Iterator[ClusterPermission]:
    """What a service needs under these conditions, of kinds of trials only Jobs."""
    return (each for each in PERMISSIONS if each.service == service and each.when in when)
