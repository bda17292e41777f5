"""Where a pod can go, and which images there are: the reasons why a pod waits."""

from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]
LABELS = {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
# Images of this registry exist nowhere (RFC 2606).
NO_REGISTRY = ".invalid/"


@dataclass(slots=True)
class Nodes:
    """extended: what all nodes together have of extended resources (`nvidia.com/gpu`)."""

    names: list[str] = field(default_factory=lambda: ["node-1", "node-2"])
    lost: set[str] = field(default_factory=set)
    labels: dict[str, str] = field(default_factory=lambda: dict(LABELS))
    extended: dict[str, int] = field(default_factory=dict)
    turn: int = 0

    def place(self, spec: Object) -> tuple[str, str]:
        """(node, "") or ("", why there is none)."""
        alive = [node for node in self.names if node not in self.lost]
        why = self._refusal(spec)
        if why or not alive:
            total = len(self.names)
            lost = f"{total - len(alive)} node(s) had untolerated taint(s)" if not why else ""
            return "", f"0/{total} nodes are available: {why or lost}."
        self.turn += 1
        return alive[self.turn % len(alive)], ""

    def _refusal(self, spec: Object) -> str:
        total = len(self.names)
        for key, value in (spec.get("nodeSelector") or {}).items():
            if key == "kubernetes.io/hostname" and value in self.names:
                continue
            if self.labels.get(key) != value:
                return f"{total} node(s) didn't match Pod's node affinity/selector"
        for name, count in _extended(spec).items():
            if count > self.extended.get(name, 0):
                return f"{total} Insufficient {name}"
        return ""


def _extended(spec: Object) -> dict[str, int]:
    found: dict[str, int] = {}
    for container in spec["containers"]:
        resources = container.get("resources") or {}
        for name, count in (
            (resources.get("limits") or {}) | (resources.get("requests") or {})
        ).items():
            if "/" in name:
                found[name] = found.get(name, 0) + int(count)
    return found


def missing_image(spec: Object) -> str:
    """The first image that cannot be pulled."""
    for container in (*(spec.get("initContainers") or ()), *spec["containers"]):
        image = str(container.get("image", ""))
        if NO_REGISTRY in image:
            return image
    return ""
