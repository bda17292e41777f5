"""What the cluster shows of our runs: one view for each kind of object in use, and of the pods."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from trialbus.adapters.kubernetes_api.reflector import Change, ObjectKey
from trialbus.adapters.kubernetes_api.reflectors import Reflectors
from trialbus.contracts.cluster_names import run_selector
from trialbus.kernel.errors import Transient
from trialbus.kernel.limits import MAX_CLUSTER_BACKOFF_S
from trialbus.ports.clock import Clock
from trialbus.ports.cluster import ClusterApi, ClusterError, Object, Resource
from trialbus_trial_launcher.adapters.kubernetes.logger import Logger
from trialbus_trial_launcher.app.cluster.object_ends import ObjectSight
from trialbus_trial_launcher.app.cluster.pod_ends import PodSight

_POD = ("v1", "Pod")


@dataclass(frozen=True, slots=True, kw_only=True)
class Eyes:
    """What is made of what comes. pod: by is the label that names the object, "" of pods with our
    own labels."""

    object_of: Callable[[Object], ObjectSight]
    pod_of: Callable[[Object, str], PodSight]
    object_changed: Callable[[str, ObjectKey, ObjectSight | None], None]
    pod_changed: Callable[[ObjectKey, PodSight | None], None]


@dataclass(slots=True)
class Views:
    """namespaces: that are followed; None: all of them. outside: of the span in which somebody
    happens to be the first to ask for a view."""

    api: ClusterApi
    clock: Clock
    log: Logger
    instance: str
    namespaces: tuple[str | None, ...]
    eyes: Eyes
    outside: Callable[[], AbstractContextManager[object]] = nullcontext
    _objects: dict[tuple[str, str], Reflectors[ObjectSight]] = field(default_factory=dict)
    _pods: dict[str, Reflectors[PodSight]] = field(default_factory=dict)
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    def follow_objects(self, resource: Resource) -> None:
        """From now on; once for each kind."""
        key = (resource.api_version, resource.kind)
        if key in self._objects:
            return
        self._objects[key] = Reflectors(
            self.api,
            resource,
            self.namespaces,
            summary=self.eyes.object_of,
            label_selector=run_selector(self.instance),
            clock=self.clock,
        )

        async def changed(change: Change[ObjectSight]) -> None:
            self.eyes.object_changed(resource.kind, change.key, change.summary)

        self._start(f"{resource.plural} of {resource.group}", self._objects[key], changed)

    def shows(self, resource: Resource, namespace: str, name: str, uid: str) -> bool:
        """Whether the view of its kind has that very object."""
        view = self._objects.get((resource.api_version, resource.kind))
        kept = None if view is None else view.get(ObjectKey(namespace, name))
        return kept is not None and kept.uid == uid

    def follow_pods(self, resource: Resource, by: str = "") -> None:
        """by: the label that names the object, where pods carry none of ours."""
        if by in self._pods:
            return
        self._pods[by] = Reflectors(
            self.api,
            resource,
            self.namespaces,
            summary=partial(self._pod_by, by),
            label_selector=by or run_selector(self.instance),
            clock=self.clock,
        )

        async def changed(change: Change[PodSight]) -> None:
            self.eyes.pod_changed(change.key, change.summary)

        self._start(f"pods by {by}" if by else "pods", self._pods[by], changed)

    def _pod_by(self, by: str, pod: Object) -> PodSight:
        return self.eyes.pod_of(pod, by)

    def _start(
        self,
        name: str,
        view: Reflectors[Any],
        changed: Callable[..., Awaitable[None]],
    ) -> None:
        with self.outside():
            self._tasks[name] = asyncio.create_task(self._run(name, view, changed))

    async def _run(
        self,
        name: str,
        view: Reflectors[Any],
        changed: Callable[..., Awaitable[None]],
    ) -> None:
        """For ever: what breaks a view is told, and it is begun again."""
        while True:
            try:
                await view.run(changed)
            except* (ClusterError, Transient) as errors:
                self.log.error("cannot follow the cluster", view=name, error=str(errors))
            await self.clock.sleep(MAX_CLUSTER_BACKOFF_S)

    @property
    def trouble(self) -> str:
        """Why the cluster is not followed just now, "" when it is."""
        views: list[Reflectors[Any]] = [*self._objects.values(), *self._pods.values()]
        return next((text for view in views for text in view.troubles.values()), "")

    @property
    def resyncs(self) -> int:
        views: list[Reflectors[Any]] = [*self._objects.values(), *self._pods.values()]
        return sum(view.resyncs for view in views)

    async def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
