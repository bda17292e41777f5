"""What a Job's controller reads from pods and conditions."""

from typing import Any

Object = dict[str, Any]
INDEX = "batch.kubernetes.io/job-completion-index"


def is_true(status: Object, kind: str) -> Object | None:
    for condition in status.get("conditions") or ():
        if condition["type"] == kind and condition["status"] == "True":
            return dict(condition)
    return None


def has_failed(job: Object, pod: Object) -> bool:
    """Also a pod that is being deleted, unless only what has really failed is replaced."""
    phase = (pod.get("status") or {}).get("phase")
    if phase == "Failed" or job["spec"].get("podReplacementPolicy") == "Failed":
        return phase == "Failed"
    return "deletionTimestamp" in pod["metadata"]


def is_active(pod: Object) -> bool:
    over = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
    return not over and "deletionTimestamp" not in pod["metadata"]


def is_terminating(pod: Object) -> bool:
    over = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
    return not over and "deletionTimestamp" in pod["metadata"]


def is_ready(pod: Object) -> bool:
    told = (pod.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in told)


def index_of(pod: Object) -> int:
    return int((pod["metadata"].get("annotations") or {}).get(INDEX, -1))


def owner_reference(job: Object) -> Object:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": job["metadata"]["name"],
        "uid": job["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def with_index(spec: Object, index: int) -> Object:
    entry = {"name": "JOB_COMPLETIONINDEX", "value": str(index)}
    containers = [{**c, "env": [*(c.get("env") or ()), entry]} for c in spec["containers"]]
    return {**spec, "containers": containers}
