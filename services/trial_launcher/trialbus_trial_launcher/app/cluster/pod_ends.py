"""What the status of a pod says: whether it waits, runs or has ended, and how. Pure.

Kept of a pod is only this, so that memory is small and the same for every pod.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trialbus.contracts.shipping import Termination
from trialbus.kernel.limits import MAX_MESSAGE_CHARS
from trialbus.kernel.timestamps import rfc3339_seconds

Json = Any

# Reasons of a container that waits, which people can do something about. Kubelet tries again.
IMAGE_TROUBLES = frozenset(
    {
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImageInspectError",
        "ImagePullBackOff",
        "InvalidImageName",
        "RegistryUnavailable",
        "RunContainerError",
    }
)
UNSCHEDULABLE = "Unschedulable"
# Reasons of a whole pod that say that its node or the cluster took it.
_TAKEN = frozenset(
    {
        "Evicted",
        "NodeAffinity",
        "NodeLost",
        "NodeShutdown",
        "OutOfcpu",
        "OutOfmemory",
        "OutOfpods",
        "Preempting",
        "Shutdown",
        "Terminated",
        "UnexpectedAdmissionError",
    }
)
_OOM = "OOMKilled"
_LOST_CONTAINER = "ContainerStatusUnknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSight:
    """run: its run id. primary: it has the labels of the pods whose end counts. over: nothing of it
    runs. deleted: it is being deleted; gone_by: when it is to be gone, seconds since the epoch.
    taken: why the infrastructure ended it, "" if it did not.
    exit_code, oom, message: of the primary container, once it has ended; message: of the wrapper.
    unready: which init container failed, and how, so that the others never began. waiting, why: a
    reason and a text, while it cannot run, and since when."""

    run: str = ""
    name: str = ""
    namespace: str = ""
    uid: str = ""
    ip: str = ""
    primary: bool = True
    over: bool = False
    deleted: bool = False
    gone_by: float | None = None
    taken: str = ""
    exit_code: int | None = None
    oom: bool = False
    message: Termination | None = None
    unready: str = ""
    started_at: float | None = None
    finished_at: float | None = None
    waiting: str = ""
    why: str = ""
    waits_since: float | None = None

    @property
    def image_trouble(self) -> bool:
        return self.waiting in IMAGE_TROUBLES


def pod_sight(
    pod: Mapping[str, Json], run: str, container: str, labels: Mapping[str, str]
) -> PodSight:
    """container: the primary one. labels: of primary pods."""
    metadata, status = _fields(pod, "metadata"), _fields(pod, "status")
    found = _fields(metadata, "labels")
    phase = status.get("phase")
    state = _container(status, container)
    ended = _fields(_fields(state, "state"), "terminated")
    lost = ended.get("reason") == _LOST_CONTAINER
    waiting, why, since = _waiting(pod, status)
    running = _fields(_fields(state, "state"), "running")
    return PodSight(
        run=run,
        name=_text(metadata, "name"),
        namespace=_text(metadata, "namespace"),
        uid=_text(metadata, "uid"),
        ip=_text(status, "podIP"),
        primary=all(found.get(key) == value for key, value in labels.items()),
        over=phase in ("Succeeded", "Failed"),
        deleted=bool(metadata.get("deletionTimestamp")),
        gone_by=_time(metadata, "deletionTimestamp"),
        taken=_taken(status) or (_LOST_CONTAINER if lost else ""),
        exit_code=None if lost else _number(ended, "exitCode"),
        oom=ended.get("reason") == _OOM,
        message=Termination.read(_text(ended, "message")) if ended.get("message") else None,
        unready="" if ended or phase != "Failed" else _unready(status),
        started_at=_time(ended, "startedAt") or _time(running, "startedAt"),
        finished_at=_time(ended, "finishedAt"),
        waiting="" if phase in ("Succeeded", "Failed") or running or ended else waiting,
        why=why,
        waits_since=since,
    )


def _unready(status: Mapping[str, Json]) -> str:
    for each in status.get("initContainerStatuses") or ():
        ended = _fields(_fields(each, "state"), "terminated") if isinstance(each, Mapping) else {}
        code = _number(ended, "exitCode")
        if code:
            said = " ".join(_text(ended, "message").split())
            reason = _text(ended, "reason")
            told = f"init container {_text(each, 'name')} failed: {reason}, exit code {code}"
            return f"{told}: {said}"[:MAX_MESSAGE_CHARS] if said else told
    return ""


def _container(status: Mapping[str, Json], name: str) -> Mapping[str, Json]:
    """By name, else the only one."""
    states = [it for it in status.get("containerStatuses") or () if isinstance(it, Mapping)]
    named = [it for it in states if it.get("name") == name]
    if named:
        return named[0]
    return states[0] if len(states) == 1 else {}


def _taken(status: Mapping[str, Json]) -> str:
    reason, message = _text(status, "reason"), _text(status, "message")
    if reason in _TAKEN:
        return _joined(reason, message)
    for condition in _conditions(status):
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            return _joined(_text(condition, "reason"), _text(condition, "message"))
    return ""


def _waiting(pod: Mapping[str, Json], status: Mapping[str, Json]) -> tuple[str, str, float | None]:
    """Reason, text and since when: of its node, else of the first container that cannot start."""
    made = _time(_fields(pod, "metadata"), "creationTimestamp")
    scheduled = None
    for condition in _conditions(status):
        if condition.get("type") != "PodScheduled":
            continue
        since = _time(condition, "lastTransitionTime") or made
        if condition.get("status") == "False":
            reason = _text(condition, "reason") or UNSCHEDULABLE
            return reason, _text(condition, "message"), since
        scheduled = since
    for field in ("initContainerStatuses", "containerStatuses"):
        for state in status.get(field) or ():
            waits = _fields(_fields(state, "state"), "waiting")
            if waits.get("reason") in IMAGE_TROUBLES:
                text = f"container {_text(state, 'name')}: {_text(waits, 'message')}"
                return _text(waits, "reason"), text, scheduled or made
    return "", "", None


def _conditions(status: Mapping[str, Json]) -> list[Mapping[str, Json]]:
    found = status.get("conditions")
    return [it for it in (found if isinstance(found, list) else []) if isinstance(it, Mapping)]


def _fields(node: Mapping[str, Json], field: str) -> Mapping[str, Json]:
    found = node.get(field)
    return found if isinstance(found, Mapping) else {}


def _text(node: Mapping[str, Json], field: str) -> str:
    found = node.get(field)
    return found[: 4 * MAX_MESSAGE_CHARS] if isinstance(found, str) else ""


def _number(node: Mapping[str, Json], field: str) -> int | None:
    found = node.get(field)
    return found if isinstance(found, int) else None


def _time(node: Mapping[str, Json], field: str) -> float | None:
    return rfc3339_seconds(_text(node, field))


def _joined(reason: str, message: str) -> str:
    return f"{reason}: {message}"[:MAX_MESSAGE_CHARS] if message else reason
