"""What must hold of every object that the charts make. Each policy tells the breaches it finds."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Object = Mapping[str, Any]
Policy = Callable[[Sequence[Object]], Iterator[str]]

TEMPLATED = {"Deployment", "StatefulSet", "DaemonSet", "Job"}
ALLOWED_VOLUMES = {"configMap", "secret", "emptyDir", "projected", "persistentVolumeClaim"}
ALLOWED_VOLUMES |= {"csi", "ephemeral", "downwardAPI"}
ADMISSION = {
    "ValidatingWebhookConfiguration",
    "MutatingWebhookConfiguration",
    "ValidatingAdmissionPolicy",
    "MutatingAdmissionPolicy",
    "APIService",
}


def pods(objects: Sequence[Object]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(name of the object, spec of the pods that it makes)."""
    for it in objects:
        if it["kind"] in TEMPLATED:
            yield _named(it), it["spec"]["template"]["spec"]
        elif it["kind"] == "Pod":
            yield _named(it), it["spec"]


def containers(objects: Sequence[Object]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, pod in pods(objects):
        for part in ("initContainers", "containers", "ephemeralContainers"):
            for container in pod.get(part, []):
                yield f"{name}/{container['name']}", container


def _named(it: Object) -> str:
    return f"{it['kind']} {it['metadata']['name']}"


def pods_are_restricted(objects: Sequence[Object]) -> Iterator[str]:
    """The restricted Pod Security Standard, of the pod's own fields."""
    for name, pod in pods(objects):
        security = pod.get("securityContext", {})
        if security.get("runAsNonRoot") is not True or security.get("runAsUser") == 0:
            yield f"{name} may run as root"
        if security.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
            yield f"{name} has no seccomp profile"
        for field in ("hostNetwork", "hostPID", "hostIPC"):
            if pod.get(field):
                yield f"{name} has {field}"
        if security.get("sysctls"):
            yield f"{name} sets sysctls"
        for volume in pod.get("volumes", []):
            kinds = volume.keys() - {"name"}
            if not kinds <= ALLOWED_VOLUMES:
                yield f"{name} mounts {sorted(kinds)}"


def containers_are_restricted(objects: Sequence[Object]) -> Iterator[str]:
    """The restricted Pod Security Standard, of containers, and a root that cannot be written."""
    for name, container in containers(objects):
        security = container.get("securityContext", {})
        if security.get("allowPrivilegeEscalation") is not False or security.get("privileged"):
            yield f"{name} may gain privileges"
        if security.get("capabilities", {}).get("drop") != ["ALL"]:
            yield f"{name} keeps capabilities"
        if set(security.get("capabilities", {}).get("add", [])) - {"NET_BIND_SERVICE"}:
            yield f"{name} adds capabilities"
        if security.get("runAsUser") == 0 or security.get("runAsNonRoot") is False:
            yield f"{name} may run as root"
        if security.get("readOnlyRootFilesystem") is not True:
            yield f"{name} may write to its root"
        if any("hostPort" in port for port in container.get("ports", [])):
            yield f"{name} takes a port of its node"


def resources_are_bounded(objects: Sequence[Object]) -> Iterator[str]:
    for name, container in containers(objects):
        for part in ("requests", "limits"):
            missing = {"cpu", "memory"} - container.get("resources", {}).get(part, {}).keys()
            if missing:
                yield f"{name} has no {part} of {sorted(missing)}"
    for name, pod in pods(objects):
        for volume in pod.get("volumes", []):
            if "emptyDir" in volume and not (volume["emptyDir"] or {}).get("sizeLimit"):
                yield f"{name} has an empty folder without a limit: {volume['name']}"


def images_are_pinned(objects: Sequence[Object]) -> Iterator[str]:
    for name, container in containers(objects):
        image = container["image"]
        if not re.search(r"(:[^:/@]+|@sha256:[0-9a-f]{64})$", image) or image.endswith(":latest"):
            yield f"{name} takes whatever {image} is"


def roles_are_minimal(objects: Sequence[Object]) -> Iterator[str]:
    """No wildcards, no Secrets, nothing by which an account gets more than it has."""
    for it in objects:
        if it["kind"] not in ("Role", "ClusterRole"):
            continue
        for rule in it["rules"]:
            said = [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            if "*" in said or "nonResourceURLs" in rule:
                yield f"{_named(it)} has a wildcard"
            if "secrets" in rule["resources"]:
                yield f"{_named(it)} reads Secrets"
            if {"escalate", "bind", "impersonate"} & set(rule["verbs"]):
                yield f"{_named(it)} can give itself more"
            if {"pods/exec", "pods/attach", "serviceaccounts/token"} & set(rule["resources"]):
                yield f"{_named(it)} gets into pods or accounts"
            if "pods" in rule["resources"] and set(rule["verbs"]) - {"get", "list", "watch"}:
                yield f"{_named(it)} changes pods"


def nothing_is_admitted_by_us(objects: Sequence[Object]) -> Iterator[str]:
    for it in objects:
        if it["kind"] in ADMISSION:
            yield f"{_named(it)}: the API server would wait for it"
        if "helm.sh/hook" in it["metadata"].get("annotations", {}):
            yield f"{_named(it)} is a hook, which can block an upgrade"


def accounts_have_tokens_for_roles_only(objects: Sequence[Object]) -> Iterator[str]:
    bound = {
        subject["name"]
        for it in objects
        if it["kind"] in ("RoleBinding", "ClusterRoleBinding")
        for subject in it["subjects"]
    }
    for name, pod in pods(objects):
        has = pod.get("automountServiceAccountToken") is not False
        if has and pod.get("serviceAccountName") not in bound:
            yield f"{name} has a token that is good for nothing"


def secrets_are_referred_to(objects: Sequence[Object]) -> Iterator[str]:
    for it in objects:
        if it["kind"] == "Secret":
            yield f"{_named(it)} is written out"
    for name, container in containers(objects):
        for variable in container.get("env", []):
            secret = re.search("PASSWORD|TOKEN$|SECRET|SEED$", variable["name"])
            if secret and "value" in variable:
                yield f"{name}: {variable['name']} is written out"


def pods_are_walled(objects: Sequence[Object]) -> Iterator[str]:
    """Each pod is chosen by a policy for both directions."""
    walls = [
        it["spec"]["podSelector"].get("matchLabels", {}).items()
        for it in objects
        if it["kind"] == "NetworkPolicy" and set(it["spec"]["policyTypes"]) == {"Ingress", "Egress"}
    ]
    for it in objects:
        if it["kind"] in TEMPLATED:
            labels = it["spec"]["template"]["metadata"]["labels"].items()
            if not any(wall <= labels for wall in walls):
                yield f"{_named(it)} may talk to anything"


def nothing_is_cluster_wide(objects: Sequence[Object]) -> Iterator[str]:
    """Of an installation that is for some namespaces only."""
    for it in objects:
        if it["kind"] in ("ClusterRole", "ClusterRoleBinding"):
            yield f"{_named(it)} is cluster-wide"


def rollouts_leave_nobody_waiting(objects: Sequence[Object]) -> Iterator[str]:
    for it in objects:
        rolling = it["spec"].get("strategy", {}).get("rollingUpdate", {}) if "spec" in it else {}
        if it["kind"] == "Deployment" and rolling.get("maxUnavailable") != 0:
            yield f"{_named(it)} takes pods away before others are there"


POLICIES: tuple[Policy, ...] = (
    pods_are_restricted,
    containers_are_restricted,
    resources_are_bounded,
    images_are_pinned,
    roles_are_minimal,
    nothing_is_admitted_by_us,
    accounts_have_tokens_for_roles_only,
    secrets_are_referred_to,
    pods_are_walled,
    rollouts_leave_nobody_waiting,
)
