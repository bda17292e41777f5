"""What befalls running pods from outside, as a test orders it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.cluster.double.objects import Objects, Target
from tests.cluster.double.outcomes import OOM, Outcome
from tests.cluster.double.placing import Nodes

if TYPE_CHECKING:
    from tests.cluster.double.containers import Life

Object = dict[str, Any]
Hop = Callable[[Callable[[], Any]], Any]


class Disruptions:
    """Each method may be called from any thread. name: of the pod. Raises KeyError for no pod."""

    objects: Objects
    lives: "dict[str, Life]"
    nodes: Nodes
    hop: Hop

    def _life(self, namespace: str, name: str) -> "Life":
        for life in self.lives.values():
            meta = life.pod["metadata"]
            if (meta["namespace"], meta["name"]) == (namespace, name):
                return life
        raise KeyError(f"{namespace}/{name}")

    def of(self, namespace: str, label: str, value: str) -> list[str]:
        """Names of the pods that carry the label: `of("default", "job-name", "a")`."""

        def read() -> list[str]:
            found = [life.pod["metadata"] for life in self.lives.values()]
            return sorted(
                meta["name"]
                for meta in found
                if meta["namespace"] == namespace and (meta.get("labels") or {}).get(label) == value
            )

        names: list[str] = self.hop(read)
        return names

    def finish(self, namespace: str, name: str, outcome: Outcome | None = None) -> None:
        """Its first container, which runs, ends so."""
        self.hop(lambda: self._life(namespace, name).finish(outcome or Outcome()))

    def write_log(self, namespace: str, name: str, data: bytes) -> None:
        """More output of the first container, which runs."""
        self.hop(lambda: self._life(namespace, name).write_log(data))

    def oom_kill(self, namespace: str, name: str) -> None:
        self.finish(namespace, name, OOM)

    def evict(self, namespace: str, name: str) -> None:
        """The node runs out of memory: the pod stays there, Failed, with reason Evicted."""

        def act() -> None:
            life = self._life(namespace, name)
            text = "The node was low on resource: memory. Threshold quantity: 100Mi."
            life.disrupt("TerminationByKubelet", text)
            life.fail("Evicted", text)

        self.hop(act)

    def preempt(self, namespace: str, name: str) -> None:
        """A pod of higher priority takes its place: it is deleted."""
        text = "default-scheduler: preempting to accommodate a higher priority pod"
        self._disrupt_and_delete(namespace, name, "PreemptionByScheduler", text)

    def drain(self, namespace: str, name: str, options: Object | None = None) -> None:
        """`kubectl drain`: evicted through the API, so deleted."""
        text = "Eviction API: evicting"
        self._disrupt_and_delete(namespace, name, "EvictionByEvictionAPI", text, options)

    def _disrupt_and_delete(
        self, namespace: str, name: str, reason: str, text: str, options: Object | None = None
    ) -> None:
        def act() -> None:
            self._life(namespace, name).disrupt(reason, text)
            self._delete(namespace, name, options)

        self.hop(act)

    def _delete(self, namespace: str, name: str, options: Object | None = None) -> None:
        kind = self.objects.registry.kinds["", "pods"]
        version = kind.versions["v1"]
        target = Target(kind=kind, version=version, namespace=namespace, name=name)
        self.objects.delete(target, options or {})

    def lose_node(self, node: str) -> None:
        """The node says nothing any more: its pods are to be deleted, and stay so until
        `forget_node`."""

        def act() -> None:
            self.nodes.lost.add(node)
            text = "Taint manager: deleting due to NoExecute taint"
            for life in self._on_node(node):
                life.disrupt("DeletionByTaintManager", text)
                meta = life.pod["metadata"]
                self._delete(meta["namespace"], meta["name"])

        self.hop(act)

    def forget_node(self, node: str) -> None:
        """The node object is gone: its pods are Failed, and taken away."""

        def act() -> None:
            for life in self._on_node(node):
                text = "PodGC: node no longer exists"
                life.disrupt("DeletionByPodGC", text)
                life.lost_for_good()

        self.hop(act)

    def _on_node(self, node: str) -> "list[Life]":
        on_node = [v for v in self.lives.values() if v.pod["spec"].get("nodeName") == node]
        return [life for life in on_node if not life.over]
