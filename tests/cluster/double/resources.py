"""The kinds that the server serves: built-in ones and those of custom resource definitions."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.cluster.double.schemas import Node, builtin_node, crd_node

Object = dict[str, Any]
VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One served version. columns: of its Table, as a definition writes them."""

    name: str
    node: Node | None
    status: bool
    columns: tuple[Object, ...] = ()
    selectable: tuple[str, ...] = ()
    schema: Object | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    group: str
    kind: str
    plural: str
    singular: str
    namespaced: bool
    versions: dict[str, Version]
    storage: str
    short: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: frozenset[str] = frozenset()
    builtin: bool = True
    verbs: tuple[str, ...] = VERBS

    def api_version(self, version: str) -> str:
        return f"{self.group}/{version}" if self.group else version

    @property
    def qualified(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


# group/version kind plural scope short-names subresources
_BUILTINS = """
v1 Namespace namespaces - ns status
v1 Node nodes - no status
v1 PersistentVolume persistentvolumes - pv status
v1 Pod pods n po status,log,eviction
v1 Service services n svc status
v1 ConfigMap configmaps n cm -
v1 Secret secrets n - -
v1 ServiceAccount serviceaccounts n sa -
v1 Event events n ev -
v1 Endpoints endpoints n ep -
v1 PersistentVolumeClaim persistentvolumeclaims n pvc status
v1 ResourceQuota resourcequotas n quota status
v1 LimitRange limitranges n limits -
apps/v1 Deployment deployments n deploy status
apps/v1 ReplicaSet replicasets n rs status
apps/v1 StatefulSet statefulsets n sts status
apps/v1 DaemonSet daemonsets n ds status
batch/v1 Job jobs n - status
batch/v1 CronJob cronjobs n cj status
coordination.k8s.io/v1 Lease leases n - -
discovery.k8s.io/v1 EndpointSlice endpointslices n - -
networking.k8s.io/v1 NetworkPolicy networkpolicies n netpol -
policy/v1 PodDisruptionBudget poddisruptionbudgets n pdb status
autoscaling/v2 HorizontalPodAutoscaler horizontalpodautoscalers n hpa status
rbac.authorization.k8s.io/v1 Role roles n - -
rbac.authorization.k8s.io/v1 RoleBinding rolebindings n - -
rbac.authorization.k8s.io/v1 ClusterRole clusterroles - - -
rbac.authorization.k8s.io/v1 ClusterRoleBinding clusterrolebindings - - -
scheduling.k8s.io/v1 PriorityClass priorityclasses - pc -
storage.k8s.io/v1 StorageClass storageclasses - sc -
admissionregistration.k8s.io/v1 MutatingWebhookConfiguration mutatingwebhookconfigurations - - -
admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration validatingwebhookconfigurations - - -
apiextensions.k8s.io/v1 CustomResourceDefinition customresourcedefinitions - crd,crds status
authorization.k8s.io/v1 SelfSubjectAccessReview selfsubjectaccessreviews - - create
authorization.k8s.io/v1 SelfSubjectRulesReview selfsubjectrulesreviews - - create
authentication.k8s.io/v1 SelfSubjectReview selfsubjectreviews - - create
"""


def _builtin(line: str) -> Kind:
    api_version, kind, plural, scope, short, sub = line.split()
    group, _, version = api_version.rpartition("/")
    asked_only = sub == "create"
    subresources = frozenset() if sub in ("-", "create") else frozenset(sub.split(","))
    served = Version(
        name=version, node=builtin_node(group, version, kind), status="status" in subresources
    )
    return Kind(
        group=group,
        kind=kind,
        plural=plural,
        singular=kind.lower(),
        namespaced=scope == "n",
        versions={version: served},
        storage=version,
        short=() if short == "-" else tuple(short.split(",")),
        categories=("all",) if plural in ("pods", "services", "jobs", "deployments") else (),
        subresources=subresources,
        verbs=("create",) if asked_only else VERBS,
    )


def kind_of_definition(crd: Object) -> Kind:
    spec, names = crd["spec"], crd["spec"]["names"]
    versions = {v["name"]: _custom_version(v) for v in spec["versions"] if v.get("served")}
    storage = next(v["name"] for v in spec["versions"] if v.get("storage"))
    has_status = any(version.status for version in versions.values())
    return Kind(
        group=spec["group"],
        kind=names["kind"],
        plural=names["plural"],
        singular=names.get("singular") or names["kind"].lower(),
        namespaced=spec["scope"] == "Namespaced",
        versions=versions,
        storage=storage,
        short=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        subresources=frozenset({"status"} if has_status else ()),
        builtin=False,
    )


def _custom_version(version: Object) -> Version:
    schema = version["schema"]["openAPIV3Schema"]
    return Version(
        name=version["name"],
        node=crd_node(schema, root=True),
        status="status" in (version.get("subresources") or {}),
        columns=tuple(version.get("additionalPrinterColumns") or ()),
        selectable=tuple(
            f["jsonPath"].removeprefix(".") for f in version.get("selectableFields") or ()
        ),
        schema=schema,
    )


@dataclass(slots=True)
class Registry:
    """By (group, version, plural), as addresses name them."""

    kinds: dict[tuple[str, str], Kind] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for line in _BUILTINS.split("\n"):
            if line:
                self.add(_builtin(line))

    def add(self, kind: Kind) -> None:
        self.kinds[kind.group, kind.plural] = kind

    def drop(self, group: str, plural: str) -> None:
        self.kinds.pop((group, plural), None)

    def find(self, group: str, version: str, plural: str) -> tuple[Kind, Version] | None:
        kind = self.kinds.get((group, plural))
        if kind is None or version not in kind.versions:
            return None
        return kind, kind.versions[version]

    def by_kind(self, api_version: str, kind: str) -> Kind | None:
        group, _, version = api_version.rpartition("/")
        for candidate in self.kinds.values():
            if candidate.group == group and candidate.kind == kind:
                return candidate if version in candidate.versions else None
        return None

    def group_versions(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for kind in self.kinds.values():
            for version in kind.versions:
                if version not in found.setdefault(kind.group, []):
                    found[kind.group].append(version)
        return found

    def of_version(self, group: str, version: str) -> Iterator[Kind]:
        return (k for k in self.kinds.values() if k.group == group and version in k.versions)
