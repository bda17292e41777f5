"""Pod templates inside any object: finding them, and what is added to each. Pure.

An object is changed in place: it has just been rendered, and is nobody else's.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trialbus.kernel.images import LocalPaths

Json = Any
Fields = dict[str, Json]

ISTIO_LABEL = "sidecar.istio.io/inject"
# Of Argo: it makes the pods of its steps itself, with these labels on each.
_WORKFLOW = ("Workflow", "podMetadata")


@dataclass(frozen=True, slots=True)
class PodTemplate:
    """node: the mapping that holds `metadata` and `spec`; its containers are mappings."""

    node: Fields

    @property
    def pod(self) -> Fields:
        spec: Fields = self.node["spec"]
        return spec

    @property
    def containers(self) -> list[Fields]:
        return [it for it in self.pod["containers"] if isinstance(it, dict)]

    @property
    def all_containers(self) -> list[Fields]:
        first = self.pod.get("initContainers") or []
        return [*(it for it in first if isinstance(it, dict)), *self.containers]

    def container(self, name: str) -> Fields | None:
        return next((it for it in self.containers if it.get("name") == name), None)

    def labelled(self, labels: Mapping[str, str]) -> None:
        add_labels(self.node, labels)


def pod_templates(node: Json) -> Iterator[PodTemplate]:
    """All of them, however deep: mappings whose `spec` has containers, a Pod itself included."""
    if isinstance(node, dict):
        spec = node.get("spec")
        if isinstance(spec, dict) and isinstance(spec.get("containers"), list):
            yield PodTemplate(node)
            return
        for value in node.values():
            yield from pod_templates(value)
    elif isinstance(node, list):
        for item in node:
            yield from pod_templates(item)


def add_labels(node: Fields, labels: Mapping[str, str]) -> None:
    metadata = entries(node, "metadata")
    metadata["labels"] = {**entries(metadata, "labels"), **labels}


def label_pods(body: Fields, labels: Mapping[str, str]) -> list[PodTemplate]:
    """Put them on every pod template, and where a kind has another place for them."""
    found = list(pod_templates(body))
    for template in found:
        template.labelled(labels)
    kind, field = _WORKFLOW
    if body.get("kind") == kind and isinstance(spec := body.get("spec"), dict):
        pods = entries(spec, field)
        pods["labels"] = {**entries(pods, "labels"), **labels}
    return found


def without_istio(template: PodTemplate) -> None:
    """A proxy that outlives its trial keeps the pod from completing: none, unless it is wanted."""
    metadata = entries(template.node, "metadata")
    if ISTIO_LABEL not in entries(metadata, "labels") and ISTIO_LABEL not in (
        metadata.get("annotations") or {}
    ):
        entries(metadata, "labels")[ISTIO_LABEL] = "false"


def restrict(template: PodTemplate) -> None:
    """What the restricted Pod Security Standard asks for, where nothing is written."""
    pod = entries(template.pod, "securityContext")
    pod.setdefault("runAsNonRoot", True)
    pod.setdefault("seccompProfile", {"type": "RuntimeDefault"})
    for container in template.all_containers:
        context = entries(container, "securityContext")
        context.setdefault("allowPrivilegeEscalation", False)
        context.setdefault("capabilities", {"drop": ["ALL"]})


def add_variables(container: Fields, variables: Mapping[str, str]) -> None:
    """Before the user's own, which may refer to them, and in the place of their namesakes."""
    given = container.get("env")
    own = [
        it
        for it in (given if isinstance(given, list) else [])
        if not (isinstance(it, dict) and it.get("name") in variables)
    ]
    container["env"] = [*({"name": k, "value": v} for k, v in variables.items()), *own]


def replace_paths(container: Fields, paths: Mapping[str, str]) -> None:
    """In its command, its arguments and its variables."""
    moved = LocalPaths(paths)
    for field in ("command", "args"):
        if isinstance(words := container.get(field), list):
            container[field] = [moved(it) if isinstance(it, str) else it for it in words]
    for variable in container.get("env") or ():
        if isinstance(variable, dict) and isinstance(variable.get("value"), str):
            variable["value"] = moved(variable["value"])


def add_volume(template: PodTemplate, volume: Fields) -> None:
    volumes = items(template.pod, "volumes")
    if all(it.get("name") != volume["name"] for it in volumes if isinstance(it, dict)):
        volumes.append(volume)


def mounts_at(container: Fields, path: str) -> bool:
    """Whether something of the user's is mounted there or above."""
    return any(
        isinstance(it, dict) and f"{path}/".startswith(f"{str(it.get('mountPath')).rstrip('/')}/")
        for it in container.get("volumeMounts") or ()
        if isinstance(it, dict) and it.get("mountPath") not in (None, "/", "")
    )


def entries(node: Fields, field: str) -> Fields:
    """The mapping of that field, made if there is none."""
    found = node.get(field)
    if not isinstance(found, dict):
        found = node[field] = {}
    return found


def items(node: Fields, field: str) -> list[Json]:
    """The list of that field, made if there is none."""
    found = node.get(field)
    if not isinstance(found, list):
        found = node[field] = []
    return found
