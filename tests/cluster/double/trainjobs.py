"""A TrainJob's controller in short: one pod as Kubeflow's trainer labels it, and its conditions."""

from typing import Any

from tests.cluster.double.objects import Objects, Target, timestamp
from tests.cluster.double.state import Event, Shelf

Object = dict[str, Any]
GROUP, PLURAL = "trainer.kubeflow.org", "trainjobs"
IMAGE = "trialbus/trainer"


class TrainJobs:
    """Acts once a definition of TrainJobs is served. image: where the TrainJob names none."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects
        self.image = IMAGE
        self.dirty: dict[tuple[str, str], None] = {}

    def on_event(self, shelf: Shelf, event: Event) -> None:
        obj = event.stored.obj
        meta = obj["metadata"]
        if (shelf.group, shelf.plural) == (GROUP, PLURAL) and event.happened != "DELETED":
            self.dirty[meta["namespace"], meta["name"]] = None
        elif shelf.plural == "pods" and not shelf.group:
            for owner in meta.get("ownerReferences") or ():
                if owner["kind"] == "TrainJob":
                    self.dirty[meta["namespace"], owner["name"]] = None

    def step(self) -> bool:
        if not self.dirty:
            return False
        dirty, self.dirty = self.dirty, {}
        for namespace, name in dirty:
            found = self.objects.state.get(GROUP, PLURAL, namespace, name)
            if found is not None and "deletionTimestamp" not in found["metadata"]:
                self._sync(found)
        return True

    def _sync(self, job: Object) -> None:
        meta = job["metadata"]
        pod = self.objects.state.get("", "pods", meta["namespace"], f"{meta['name']}-node-0-0")
        if _finished(job):
            return
        if job["spec"].get("suspend"):
            self._condition(job, "Suspended", "Suspended", "TrainJob is suspended")
            return
        if pod is None:
            self._make_pod(job)
            return
        phase = (pod.get("status") or {}).get("phase")
        if phase == "Succeeded":
            self._condition(job, "Complete", "JobsCompleted", "jobset completed successfully")
        elif phase == "Failed":
            text = "jobset failed due to one or more job failures"
            self._condition(job, "Failed", "JobsFailed", text)

    def _make_pod(self, job: Object) -> None:
        meta, trainer = job["metadata"], job["spec"].get("trainer") or {}
        kind = self.objects.registry.kinds["", "pods"]
        container: Object = {"name": "node", "image": trainer.get("image") or self.image}
        for key in ("command", "args", "env"):
            if trainer.get(key):
                container[key] = trainer[key]
        if trainer.get("resourcesPerNode"):
            container["resources"] = trainer["resourcesPerNode"]
        owner = {
            "apiVersion": job["apiVersion"],
            "kind": "TrainJob",
            "name": meta["name"],
            "uid": meta["uid"],
            "controller": True,
        }
        labels = {
            **(job["spec"].get("labels") or {}),
            "jobset.sigs.k8s.io/jobset-name": meta["name"],
            "jobset.sigs.k8s.io/replicatedjob-name": "node",
            "batch.kubernetes.io/job-completion-index": "0",
        }
        pod_meta = {
            "name": f"{meta['name']}-node-0-0",
            "namespace": meta["namespace"],
            "labels": labels,
            "ownerReferences": [owner],
        }
        spec: Object = {"restartPolicy": "Never", "containers": [container]}
        target = Target(kind=kind, version=kind.versions["v1"], namespace=meta["namespace"])
        self.objects.create(target, {"metadata": pod_meta, "spec": spec})

    def _condition(self, job: Object, kind: str, reason: str, message: str) -> None:
        status = dict(job.get("status") or {})
        kept = [c for c in status.get("conditions") or () if c["type"] != kind]
        if len(kept) != len(status.get("conditions") or ()):
            return
        now = timestamp(self.objects.now())
        told = {"type": kind, "status": "True", "reason": reason, "message": message}
        status["conditions"] = [*kept, {**told, "lastTransitionTime": now}]
        self.objects.set_status(self.objects.registry.kinds[GROUP, PLURAL], job, status)


def _finished(job: Object) -> bool:
    return any(
        c["type"] in ("Complete", "Failed") and c["status"] == "True"
        for c in (job.get("status") or {}).get("conditions") or ()
    )
