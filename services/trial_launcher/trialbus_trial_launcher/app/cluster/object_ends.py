"""What an object of a cluster and its pods together say of a run: waiting, running, or how it
ended. Pure.

Infrastructure that took a pod makes the run lost, and the experiment tries again; what the user's
code did, or the template asked for, ends the trial.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from trialbus.contracts.shipping import EXIT_REFUSED, EXIT_UNANSWERED
from trialbus.kernel.limits import (
    CLUSTER_IMAGE_DEADLINE_S,
    CLUSTER_PODLESS_S,
    CLUSTER_STOP_DEADLINE_S,
    MAX_MESSAGE_CHARS,
)
from trialbus.kernel.run import RunVerdict, StopReason
from trialbus_trial_launcher.app.cluster.objects import STOP_ANNOTATION
from trialbus_trial_launcher.app.cluster.pod_ends import PodSight
from trialbus_trial_launcher.core.conditions import Conditions, verdict_of

Json = Any

_QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
_DEADLINE = "DeadlineExceeded"
_DISRUPTED = "PodFailurePolicy"
_STOPS = frozenset(it.value for it in StopReason)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectSight:
    """run: its run id. verdict, reason, message: of its conditions; None: not ended. over: a Job
    that has ended, whatever the conditions say. suspended: its controller has been told to wait;
    queue: of Kueue, that it waits in. stop: why we stop it."""

    run: str = ""
    uid: str = ""
    verdict: RunVerdict | None = None
    reason: str = ""
    message: str = ""
    over: bool = False
    is_job: bool = False
    suspended: bool = False
    queue: str = ""
    deleted: bool = False
    stop: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnd:
    """As the fields of the same names in `RunStatus`. lost: the experiment is to try again."""

    lost: bool = False
    exit_code: int | None = None
    signal: int | None = None
    stop_reason: str = ""
    message: str = ""
    verdict: RunVerdict | None = None
    job_reason: str = ""
    job_message: str = ""


def object_sight(item: Mapping[str, Json], run: str, conditions: Conditions | None) -> ObjectSight:
    """conditions: None where they are not known (yet)."""
    metadata = _fields(item, "metadata")
    is_job = (item.get("apiVersion"), item.get("kind")) == ("batch/v1", "Job")
    said = verdict_of(json.dumps(item), conditions) if conditions is not None else None
    over = is_job and any(_is_end(it) for it in _fields(item, "status").get("conditions") or ())
    verdict = said.verdict if said else RunVerdict.UNDECIDED if over and conditions else None
    spec = _fields(item, "spec")
    policy = _fields(spec, "runPolicy")
    return ObjectSight(
        run=run,
        uid=str(metadata.get("uid") or ""),
        verdict=verdict,
        reason=said.reason if said else "",
        message=said.message if said else "",
        over=over,
        is_job=is_job,
        suspended=spec.get("suspend") is True or policy.get("suspend") is True,
        queue=str(_fields(metadata, "labels").get(_QUEUE_LABEL) or ""),
        deleted=bool(metadata.get("deletionTimestamp")),
        stop=str(_fields(metadata, "annotations").get(STOP_ANNOTATION) or ""),
    )


def _is_end(condition: Json) -> bool:
    return (
        isinstance(condition, Mapping)
        and condition.get("type") in ("Complete", "Failed")
        and condition.get("status") == "True"
    )


def end_of(
    sight: ObjectSight, pods: Collection[PodSight], *, shipped: bool, gone: Collection[str] = ()
) -> RunEnd | None:
    """None: the object has not ended. gone: pods of the run that were deleted by others, before
    they had ended; why of each."""
    if sight.stop:
        return None  # until its pods are gone: `stopped_end`
    if sight.verdict is None:
        return None
    primary = _primary(pods)
    stop = _stop_told(primary)
    if sight.verdict is RunVerdict.SUCCEEDED:
        return stopped_end(stop, pods) if stop else _succeeded(sight, primary)
    if sight.is_job and sight.reason == _DEADLINE:
        # Before all else: it takes its pods away itself.
        return RunEnd(stop_reason=StopReason.DEADLINE_EXCEEDED.value, message=sight.message)
    if lost := _infrastructure(sight, pods, primary, shipped=shipped, gone=gone):
        return RunEnd(lost=True, message=lost[:MAX_MESSAGE_CHARS])
    return stopped_end(stop, pods) if stop else _failed(sight, primary)


def stopped_end(reason: str, pods: Collection[PodSight]) -> RunEnd:
    """Of a run that we stopped, when nothing of it runs any more."""
    primary = _primary(pods)
    code = None if primary is None else primary.exit_code
    return RunEnd(exit_code=code, stop_reason=reason)


def _stop_told(primary: PodSight | None) -> str:
    """Why the wrapper stopped the command before we did, "" if it did not: it asks for itself,
    and a launcher may be late."""
    said = "" if primary is None or primary.message is None else primary.message.stop
    return said if said in _STOPS else ""


def is_inconclusive(sight: ObjectSight, pods: Collection[PodSight]) -> bool:
    """Whether an ended object's pods have yet to be looked at: their news may come later."""
    primary = _primary(pods)
    return sight.verdict is not None and (
        primary is None or (primary.exit_code is None and not primary.taken and not primary.unready)
    )


def waiting_of(sight: ObjectSight | None, pods: Collection[PodSight], age_s: float) -> str:
    """Why it does not run, for people; "" if it runs, or all is as usual. age_s: of the run."""
    if sight is None:
        return ""
    if sight.suspended:
        where = f"in Kueue's queue {sight.queue!r}" if sight.queue else "until it is resumed"
        return f"Suspended: its object waits {where}"
    for pod in pods:
        if pod.waiting:
            text = " ".join(pod.why.split())
            return f"{pod.waiting}: {text}"[:MAX_MESSAGE_CHARS] if text else pod.waiting
    if sight.is_job and not pods and age_s > CLUSTER_PODLESS_S:
        return (
            "NoPods: its Job has made none; a quota or an admission may forbid it, see its events"
        )
    return ""


def overdue(pods: Collection[PodSight], now: float) -> RunEnd | None:
    """An image that has not come for so long will not; nothing else has a deadline here."""
    for pod in pods:
        since = pod.waits_since
        if pod.image_trouble and since is not None and now - since > CLUSTER_IMAGE_DEADLINE_S:
            return RunEnd(
                verdict=RunVerdict.FAILED,
                job_reason=pod.waiting,
                job_message=f"no container for {CLUSTER_IMAGE_DEADLINE_S:g} s: {pod.why}"[
                    :MAX_MESSAGE_CHARS
                ],
            )
    return None


def cut_off(sight: ObjectSight, pods: Collection[PodSight], now: float) -> RunEnd | None:
    """Of a run whose last pods should long be gone, but their nodes do not answer. Kubernetes waits
    for them for ever, unless somebody deletes the nodes' objects."""
    stuck = [pod for pod in pods if pod.primary and not pod.over and _long_ago(pod.gone_by, now)]
    if not stuck or sight.stop or sight.verdict is not None:
        return None
    others = [pod for pod in pods if pod.primary and pod not in stuck]
    if not all(pod.over and _long_ago(pod.finished_at or 0.0, now) for pod in others):
        return None  # one goes on, or their controller may begin another behind those that are over
    if _failed_first(others):
        return _failed(sight, _primary(others))
    why = f" ({stuck[-1].taken})" if stuck[-1].taken else ""
    message = f"pod {stuck[-1].name} should long be gone{why}: its node does not answer"
    return RunEnd(lost=True, message=message[:MAX_MESSAGE_CHARS])


def _long_ago(moment: float | None, now: float) -> bool:
    return moment is not None and now - moment > CLUSTER_STOP_DEADLINE_S


def _primary(pods: Collection[PodSight]) -> PodSight | None:
    """The newest that says how it ended; of those that failed before one that succeeded, and before
    one that was deleted."""
    found = [pod for pod in pods if pod.primary]
    ended = [pod for pod in found if pod.exit_code is not None or pod.taken]
    if not ended:
        return found[-1] if found else None
    failed = [pod for pod in ended if pod.exit_code != 0]
    by_themselves = [pod for pod in failed if not pod.deleted]
    return max(by_themselves or failed or ended, key=lambda pod: pod.finished_at or 0.0)


def _succeeded(sight: ObjectSight, primary: PodSight | None) -> RunEnd:
    """A Job's own condition is what exit code 0 says; others tell their reason."""
    usual = sight.is_job and sight.over
    return RunEnd(
        exit_code=0 if usual else _code(primary),
        verdict=None if usual else sight.verdict,
        job_reason="" if usual else sight.reason,
        job_message="" if usual else sight.message,
        message=_unshipped(primary),
    )


def _failed(sight: ObjectSight, primary: PodSight | None) -> RunEnd:
    signal = primary.message.signal if primary is not None and primary.message is not None else 0
    code = _code(primary)
    told = sight.is_job and sight.verdict is RunVerdict.FAILED and code not in (None, 0)
    return RunEnd(
        exit_code=None if signal else code,
        signal=signal or None,
        verdict=None if told else sight.verdict,
        job_reason="" if told else sight.reason,
        job_message="" if told else sight.message,
        message=_why(primary),
    )


def _why(primary: PodSight | None) -> str:
    if primary is None:
        return ""
    if primary.unready:
        return primary.unready
    if primary.oom or (primary.message is not None and primary.message.oom):
        return "OOMKilled: it needed more memory than its container may have"
    if primary.message is not None and primary.message.error:
        return primary.message.error
    return _unshipped(primary)


def _unshipped(primary: PodSight | None) -> str:
    said = None if primary is None else primary.message
    if said is None or said.stored >= said.total:
        return ""
    return (
        f"{said.total - said.stored} of {said.total} bytes of its metrics were not stored"
        f"{f': {said.error}' if said.error else ''}"
    )[:MAX_MESSAGE_CHARS]


def _infrastructure(
    sight: ObjectSight,
    pods: Collection[PodSight],
    primary: PodSight | None,
    *,
    shipped: bool,
    gone: Collection[str],
) -> str:
    """Why the run is lost, "" if it is not."""
    for pod in pods:
        if pod.taken:
            return f"pod {pod.name} was taken: {pod.taken}"
    if sight.is_job and sight.reason == _DISRUPTED and "DisruptionTarget" in sight.message:
        return f"its pod was taken: {sight.message}"
    code = _code(primary)
    if shipped and primary is not None and (primary.message is None or not primary.message.ran):
        why = f": {primary.message.error}" if primary.message is not None else ""
        if code == EXIT_REFUSED:
            return f"pod {primary.name} may not run this attempt{why}"
        if code == EXIT_UNANSWERED:
            return f"pod {primary.name} could not claim its attempt{why}"
    if _failed_first(pods) or (primary is not None and primary.unready):
        return ""
    deleted = [f"pod {pod.name} was deleted" for pod in pods if pod.deleted and pod.primary]
    if (code is None or deleted) and (found := [*deleted, *gone]):
        return found[0]
    if sight.is_job and code is None:
        # Failed pods stay with their Job: this one was taken away before anybody saw its end.
        return f"its Job failed ({sight.reason}), and its pod is gone"
    return ""


def _failed_first(pods: Collection[PodSight]) -> bool:
    """Whether one failed by itself before any other was deleted: its controller takes the others
    away because of it. Times are in whole seconds, and a deletion takes a while to become one."""
    failed = [it for it in pods if it.exit_code]
    own = [it.finished_at or 0.0 for it in failed if not it.deleted]
    others = [it.finished_at or 0.0 for it in failed if it.deleted]
    return bool(own) and min(own) <= min(others, default=min(own))


def _code(primary: PodSight | None) -> int | None:
    return None if primary is None else primary.exit_code


def _fields(node: Mapping[str, Json], field: str) -> Mapping[str, Json]:
    found = node.get(field)
    return found if isinstance(found, Mapping) else {}
