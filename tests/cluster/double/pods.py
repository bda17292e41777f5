"""Scheduler and kubelet: pods from Pending to their end, by a test's word or as real processes."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cluster.double.containers import Life
from tests.cluster.double.disruptions import Disruptions, Hop
from tests.cluster.double.happenings import Happenings
from tests.cluster.double.logs import Logs
from tests.cluster.double.objects import Objects
from tests.cluster.double.outcomes import Outcome
from tests.cluster.double.placing import Nodes
from tests.cluster.double.processes import Processes
from tests.cluster.double.state import Event, Shelf
from tests.cluster.double.timing import Timers

Object = dict[str, Any]
Run = Callable[[Object], Outcome | None]


class Pods(Disruptions):
    """run: how a pod goes; None, or None from it: its containers run as processes here.

    images: the command of an image whose container names none. programs: what stands on this
    machine for a program of an image (`/trialbus-wrap`).
    """

    def __init__(self, objects: Objects, timers: Timers, logs: Logs, folder: Path) -> None:
        self.objects, self.timers, self.logs = objects, timers, logs
        self.run: Run | None = None
        self.nodes = Nodes()
        self.events = Happenings(objects, "kubelet")
        self.processes = Processes(folder, timers.now)
        self.lives: dict[str, Life] = {}
        self.dirty: dict[str, None] = {}
        self.hop: Hop = lambda act: act()

    @property
    def images(self) -> dict[str, list[str]]:
        return self.processes.images

    @property
    def programs(self) -> dict[str, str]:
        return self.processes.programs

    # -- events

    def on_event(self, shelf: Shelf, event: Event) -> None:
        if shelf.plural != "pods" or shelf.group:
            return
        pod = event.stored.obj
        uid = pod["metadata"]["uid"]
        if event.happened == "ADDED":
            self.lives[uid] = Life(pod, self)
            self.mark(uid)
        elif event.happened == "DELETED":
            if life := self.lives.pop(uid, None):
                life.gone()
            self.logs.drop(uid)
            shutil.rmtree(self.processes.folder / uid, ignore_errors=True)
        elif (life := self.lives.get(uid)) is not None:
            life.pod = pod
            if "deletionTimestamp" in pod["metadata"] or not life.bound:
                self.mark(uid)

    def mark(self, uid: str) -> None:
        """This pod has something to do in the next round."""
        self.dirty[uid] = None
        self.timers.wake()

    def step(self) -> bool:
        if not self.dirty:
            return False
        dirty, self.dirty = self.dirty, {}
        for uid in dirty:
            if (life := self.lives.get(uid)) is not None:
                life.step()
        return True

    async def stop(self) -> None:
        for life in self.lives.values():
            life.gone()
        await self.processes.stop()

    # -- what lives need

    def outcome_for(self, pod: Object) -> Outcome | None:
        return self.run(pod) if self.run is not None else None

    def write(self, pod: Object, status: Object, **spec: Any) -> Object:
        kind = self.objects.registry.kinds["", "pods"]
        if spec:
            pod = {**pod, "spec": {**pod["spec"], **spec}}
            return self.objects.state.put(self.objects.shelf(kind), {**pod, "status": status}).obj
        return self.objects.set_status(kind, pod, status)

    def finish_deletion(self, pod: Object) -> None:
        """All containers are over: the object goes, unless finalizers hold it."""
        kind = self.objects.registry.kinds["", "pods"]
        meta = {**pod["metadata"], "deletionGracePeriodSeconds": 0}
        if meta.get("finalizers"):
            if pod["metadata"].get("deletionGracePeriodSeconds"):
                self.objects.state.put(self.objects.shelf(kind), {**pod, "metadata": meta})
            return
        key = (meta["namespace"], meta["name"])
        self.objects.state.remove(self.objects.shelf(kind), key)
