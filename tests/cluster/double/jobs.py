"""The Job controller of Kubernetes 1.34+: pods, counts, failure policy and conditions."""

from dataclasses import dataclass, field
from typing import Any

from tests.cluster.double.builtins import TRACKING
from tests.cluster.double.errors import ApiError
from tests.cluster.double.happenings import Happenings
from tests.cluster.double.job_pods import (
    INDEX,
    has_failed,
    index_of,
    is_active,
    is_ready,
    is_terminating,
    is_true,
    owner_reference,
    with_index,
)
from tests.cluster.double.job_rules import policy_verdict
from tests.cluster.double.objects import Objects, Target, timestamp
from tests.cluster.double.resources import Kind
from tests.cluster.double.state import Event, Shelf
from tests.cluster.double.timing import Timers

Object = dict[str, Any]
BACKOFF_S, _BACKOFF_MAX_S = 10.0, 600.0


@dataclass(slots=True, eq=False)
class Work:
    """What the controller remembers of one job. pods: by name, as they are now."""

    pods: dict[str, Object] = field(default_factory=dict)
    counted: set[str] = field(default_factory=set)
    done_indexes: set[int] = field(default_factory=set)
    failed_index: dict[int, int] = field(default_factory=dict)
    not_before: float = 0.0


class Jobs:
    """backoff_s: before the pod after a failed one; it doubles with each failure."""

    def __init__(self, objects: Objects, timers: Timers, backoff_s: float) -> None:
        self.objects, self.timers, self.backoff_s = objects, timers, backoff_s
        self.events = Happenings(objects, "job-controller")
        self.works: dict[str, Work] = {}
        self.places: dict[str, tuple[str, str]] = {}
        self.dirty: dict[str, None] = {}

    @property
    def kind(self) -> Kind:
        return self.objects.registry.kinds["batch", "jobs"]

    @property
    def pod_kind(self) -> Kind:
        return self.objects.registry.kinds["", "pods"]

    # -- events

    def on_event(self, shelf: Shelf, event: Event) -> None:
        obj = event.stored.obj
        meta = obj["metadata"]
        if shelf.plural == "jobs" and shelf.group == "batch":
            uid = meta["uid"]
            if event.happened == "DELETED":
                self.works.pop(uid, None)
                self.places.pop(uid, None)
            else:
                self.works.setdefault(uid, Work())
                self.places[uid] = (meta["namespace"], meta["name"])
                self.dirty[uid] = None
        elif shelf.plural == "pods" and not shelf.group:
            self._on_pod(event, obj)

    def _on_pod(self, event: Event, pod: Object) -> None:
        owner = next((o for o in pod["metadata"].get("ownerReferences") or ()), None)
        if owner is None or owner["kind"] != "Job":
            if TRACKING in (pod["metadata"].get("finalizers") or ()):
                self._release(pod)
            return
        work = self.works.get(owner["uid"])
        if work is None:
            if TRACKING in (pod["metadata"].get("finalizers") or ()):
                self._release(pod)
            return
        if event.happened == "DELETED":
            work.pods.pop(pod["metadata"]["name"], None)
        else:
            work.pods[pod["metadata"]["name"]] = pod
        self.dirty[owner["uid"]] = None

    def _release(self, pod: Object) -> None:
        """A pod without its job is not counted by anybody."""
        key = (pod["metadata"]["namespace"], pod["metadata"]["name"])

        def release() -> None:
            found = self.objects.state.get("", "pods", *key)
            if found is not None and TRACKING in (found["metadata"].get("finalizers") or ()):
                self.objects.without_finalizer(self.pod_kind, found, TRACKING)

        self.timers.after(0.0, release)

    def step(self) -> bool:
        if not self.dirty:
            return False
        dirty, self.dirty = self.dirty, {}
        for uid in dirty:
            place = self.places.get(uid)
            job = self.objects.state.get("batch", "jobs", *place) if place else None
            if job is not None:
                self._sync(job, self.works[uid])
        return True

    # -- one look at one job

    def _sync(self, job: Object, work: Work) -> None:
        status = dict(job.get("status") or {})
        status["conditions"] = [dict(c) for c in status.get("conditions") or ()]
        if is_true(status, "Complete") or is_true(status, "Failed"):
            self._release_all(work)
            self._clean_up(job, status)
            return
        if "deletionTimestamp" in job["metadata"]:
            self._release_all(work)
            return
        if job["spec"].get("managedBy", "kubernetes.io/job-controller") != (
            "kubernetes.io/job-controller"
        ):
            return
        now = self.timers.now()
        self._suspend_or_start(job, status, now)
        failure = self._count(job, work, status)
        self._deadline(job, status, now)
        if failure:
            self._set(status, "FailureTarget", *failure)
        self._judge(job, work, status)
        self._manage(job, work, status, now)
        self._finish(job, work, status, now)
        self._write(job, work, status)

    def _suspend_or_start(self, job: Object, status: Object, now: float) -> None:
        if job["spec"].get("suspend"):
            if not is_true(status, "Suspended"):
                self._set(status, "Suspended", "JobSuspended", "Job suspended")
        else:
            if is_true(status, "Suspended"):
                # The time that it may be active begins anew.
                self._set(status, "Suspended", "JobResumed", "Job resumed", "False")
                status["startTime"] = timestamp(now)
            status.setdefault("startTime", timestamp(now))

    def _count(self, job: Object, work: Work, status: Object) -> tuple[str, str] | None:
        """Takes what ended into the counts; the reason to fail at once, if a rule says so."""
        verdict = None
        for pod in sorted(work.pods.values(), key=lambda p: str(p["metadata"]["name"])):
            meta, phase = pod["metadata"], (pod.get("status") or {}).get("phase")
            if meta["uid"] in work.counted:
                continue
            if phase == "Succeeded":
                status["succeeded"] = status.get("succeeded", 0) + 1
                work.done_indexes.add(index_of(pod))
            elif has_failed(job, pod):
                action, text = policy_verdict(job, pod)
                if action == "FailJob" and verdict is None:
                    verdict = ("PodFailurePolicy", text)
                if action != "Ignore":
                    status["failed"] = status.get("failed", 0) + 1
                    self._back_off(job, work, status["failed"])
            else:
                continue
            work.counted.add(meta["uid"])
            self._untrack(pod)
        return verdict

    def _untrack(self, pod: Object) -> None:
        if TRACKING in (pod["metadata"].get("finalizers") or ()):
            self.objects.without_finalizer(self.pod_kind, pod, TRACKING)

    def _release_all(self, work: Work) -> None:
        for pod in list(work.pods.values()):
            self._untrack(pod)

    def _back_off(self, job: Object, work: Work, failures: int) -> None:
        self._look_again(job, work, min(_BACKOFF_MAX_S, self.backoff_s * 2 ** (failures - 1)))

    def _look_again(self, job: Object, work: Work, wait_s: float) -> None:
        work.not_before = self.timers.now() + wait_s
        uid = job["metadata"]["uid"]

        def look() -> None:
            self.dirty[uid] = None

        self.timers.after(wait_s, look)

    def _deadline(self, job: Object, status: Object, now: float) -> None:
        seconds = job["spec"].get("activeDeadlineSeconds")
        if seconds is None or "startTime" not in status or job["spec"].get("suspend"):
            return
        from tests.cluster.double.logs import seconds_of

        left = seconds_of(status["startTime"]) + seconds - now
        if left <= 0:
            if not is_true(status, "FailureTarget") and not is_true(status, "SuccessCriteriaMet"):
                text = "Job was active longer than specified deadline"
                self._set(status, "FailureTarget", "DeadlineExceeded", text)
            return
        uid = job["metadata"]["uid"]
        if (job.get("status") or {}).get("startTime") != status["startTime"]:
            self.timers.after(left + 0.001, lambda: self.dirty.__setitem__(uid, None))

    def _judge(self, job: Object, work: Work, status: Object) -> None:
        if is_true(status, "FailureTarget") or is_true(status, "SuccessCriteriaMet"):
            return
        spec, failed = job["spec"], status.get("failed", 0)
        restarts = 0
        if spec["template"]["spec"].get("restartPolicy") == "OnFailure":
            for pod in work.pods.values():
                told = (pod.get("status") or {}).get("containerStatuses") or ()
                restarts += sum(c.get("restartCount", 0) for c in told)
        if failed > spec["backoffLimit"] or (restarts and restarts >= spec["backoffLimit"] > 0):
            text = "Job has reached the specified backoff limit"
            self._set(status, "FailureTarget", "BackoffLimitExceeded", text)
            return
        succeeded, wanted = status.get("succeeded", 0), spec.get("completions")
        active = [pod for pod in work.pods.values() if is_active(pod)]
        if (wanted is not None and succeeded >= wanted) or (
            wanted is None and succeeded and not active
        ):
            text = "Reached expected number of succeeded pods"
            self._set(status, "SuccessCriteriaMet", "CompletionsReached", text)

    def _manage(self, job: Object, work: Work, status: Object, now: float) -> None:
        """Deletes pods that are not wanted any more, makes those that are missing."""
        spec = job["spec"]
        active = [pod for pod in work.pods.values() if is_active(pod)]
        ending = is_true(status, "FailureTarget") or is_true(status, "SuccessCriteriaMet")
        if ending:
            for pod in active:
                self._delete(pod)
            return
        if spec.get("suspend"):
            self._withdraw(active, work)
            return
        wanted, done = spec.get("completions"), status.get("succeeded", 0)
        want = spec["parallelism"] if wanted is None else min(spec["parallelism"], wanted - done)
        if wanted is None and done:
            want = len(active)
        taken = len(active)
        if spec.get("podReplacementPolicy") == "Failed":
            taken += sum(1 for pod in work.pods.values() if is_terminating(pod))
        if taken < want and now >= work.not_before:
            self._make_missing(job, work, want - taken)
        self._withdraw(active[max(0, want) :], work)

    def _withdraw(self, pods: list[Object], work: Work) -> None:
        """Takes pods away that count as nothing: of a suspended job, or too many."""
        for pod in pods:
            work.counted.add(pod["metadata"]["uid"])
            self._untrack(pod)
            self._delete(pod)

    def _finish(self, job: Object, work: Work, status: Object, now: float) -> None:
        """The last condition, when no pod of the job runs any more."""
        if any(is_active(pod) or is_terminating(pod) for pod in work.pods.values()):
            return
        if target := is_true(status, "FailureTarget"):
            self._set(status, "Failed", target["reason"], target["message"])
        elif met := is_true(status, "SuccessCriteriaMet"):
            self._set(status, "Complete", met["reason"], met["message"])
            status["completionTime"] = timestamp(now)
        else:
            return
        self._clean_up(job, status)

    def _write(self, job: Object, work: Work, status: Object) -> None:
        live = list(work.pods.values())
        active = [pod for pod in live if is_active(pod)]
        counts = {
            "active": len(active),
            "ready": sum(1 for pod in active if is_ready(pod)),
            "terminating": sum(1 for pod in live if is_terminating(pod)),
        }
        status["uncountedTerminatedPods"] = {}
        for key, value in counts.items():
            if value or key != "active":
                status[key] = value
            else:
                status.pop(key, None)
        if not status["conditions"]:
            del status["conditions"]
        uid = job["metadata"]["uid"]
        now = self.objects.state.get("batch", "jobs", *self.places[uid])
        if now is not None:
            self.objects.set_status(self.kind, now, status)

    def _set(
        self, status: Object, kind: str, reason: str, message: str, value: str = "True"
    ) -> None:
        now = timestamp(self.timers.now())
        kept = [c for c in status["conditions"] if c["type"] != kind]
        told = {"type": kind, "status": value, "lastProbeTime": now, "lastTransitionTime": now}
        status["conditions"] = [*kept, {**told, "reason": reason, "message": message}]

    # -- pods

    def _make_missing(self, job: Object, work: Work, count: int) -> None:
        """Quotas and policies may forbid a pod: then it is tried again later."""
        for _ in range(count):
            try:
                self._make(job, work)
            except ApiError as error:
                self.events.tell(job, "Warning", "FailedCreate", f"Error creating: {error}")
                self._look_again(job, work, max(self.backoff_s, 0.05))
                return

    def _make(self, job: Object, work: Work) -> None:
        meta, template = job["metadata"], job["spec"]["template"]
        template_meta = template.get("metadata") or {}
        labels = dict(template_meta.get("labels") or {})
        annotations = dict(template_meta.get("annotations") or {})
        pod_meta: Object = {
            "generateName": f"{meta['name']}-",
            "namespace": meta["namespace"],
            "labels": labels,
            "finalizers": [TRACKING],
            "ownerReferences": [owner_reference(job)],
        }
        spec = template["spec"]
        if job["spec"].get("completionMode") == "Indexed":
            index = self._free_index(job, work)
            labels[INDEX] = annotations[INDEX] = str(index)
            pod_meta["generateName"] = f"{meta['name']}-{index}-"
            spec = with_index(spec, index)
        if annotations:
            pod_meta["annotations"] = annotations
        version = self.pod_kind.versions["v1"]
        target = Target(kind=self.pod_kind, version=version, namespace=meta["namespace"])
        pod = self.objects.create(target, {"metadata": pod_meta, "spec": spec}).obj
        work.pods[pod["metadata"]["name"]] = pod

    def _free_index(self, job: Object, work: Work) -> int:
        taken = {index_of(pod) for pod in work.pods.values() if is_active(pod)} | work.done_indexes
        return next(i for i in range(len(taken) + 1) if i not in taken)

    def _delete(self, pod: Object) -> None:
        meta = pod["metadata"]
        version = self.pod_kind.versions["v1"]
        target = Target(
            kind=self.pod_kind, version=version, namespace=meta["namespace"], name=meta["name"]
        )
        self.objects.delete(target, {})

    def _clean_up(self, job: Object, status: Object) -> None:
        """ttlSecondsAfterFinished: the job goes, and its pods with it."""
        seconds = job["spec"].get("ttlSecondsAfterFinished")
        if seconds is None or "deletionTimestamp" in job["metadata"]:
            return
        uid, place = job["metadata"]["uid"], self.places[job["metadata"]["uid"]]
        if (job.get("status") or {}).get("conditions") != status["conditions"]:

            def expire() -> None:
                found = self.objects.state.get("batch", "jobs", *place)
                if found is not None and found["metadata"]["uid"] == uid:
                    version = self.kind.versions["v1"]
                    target = Target(
                        kind=self.kind, version=version, namespace=place[0], name=place[1]
                    )
                    self.objects.delete(target, {"propagationPolicy": "Foreground"})

            self.timers.after(seconds, expire)
