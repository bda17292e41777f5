"""What the cluster's launcher remembers of a run: little, and the same for every run."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import MappingProxyType

from trialbus.kernel.run import RunVerdict
from trialbus.ports.cluster import Object, Resource
from trialbus.ports.launcher import ObjectPlan, RunState, RunStatus
from trialbus_trial_launcher.adapters.kubernetes.log_stream import LogStream
from trialbus_trial_launcher.app.cluster.object_ends import ObjectSight, RunEnd
from trialbus_trial_launcher.app.cluster.pod_ends import PodSight
from trialbus_trial_launcher.core.conditions import Conditions

# Told of pods that others deleted: one is enough, a few are kept.
_MAX_GONE = 3
_UNREAD = "its pod was deleted before all of its output was read"
_CUT = "its output is incomplete: its node had begun a new log file before all of it was read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What runs of one experiment have in common."""

    api_version: str
    kind: str
    namespace: str
    conditions: Conditions
    container: str
    pod_labels: Mapping[str, str]
    pods_by: str
    shipped: bool
    follows: bool
    retain: bool


@dataclass(slots=True, kw_only=True)
class Record:
    """body: while it is not created. sight: of the object, None before it is there; gone: there is
    none any more. seen: its view has shown it. pods: by name. looking: its pods are about to be
    asked for since it ended; looked: they have been. stop: why we stop it. kept_tail: read before
    its pods went. checked_at: when it was last asked for, monotonic. running: its command runs, or
    has run. claimed: by a pod, before it was known here. suspended: after that. withdrawn: the pods
    that were taken from it then. leaving: it is waited for that pods go, of an object that was
    deleted or suspended."""

    run_id: str
    name: str
    kind: Kind
    created_at: float
    body: Object | None = None
    resource: Resource | None = None
    sight: ObjectSight | None = None
    absent: bool = False
    gone: bool = False
    seen: bool = False
    pods: dict[str, PodSight] = field(default_factory=dict)
    lost_pods: list[str] = field(default_factory=list)
    looking: bool = False
    looked: bool = False
    stop: str = ""
    stop_until: float = 0.0
    stopping: bool = False
    trouble: str = ""
    end: RunEnd | None = None
    finished_at: float | None = None
    running: bool = False
    claimed: bool = False
    suspended: bool = False
    leaving: bool = False
    withdrawn: frozenset[str] | None = None
    log: LogStream | None = None
    kept_tail: bytes | None = None
    checked_at: float = 0.0

    def __str__(self) -> str:
        return f"{self.kind.kind} {self.kind.namespace}/{self.name}"

    @property
    def key(self) -> tuple[str, str, str]:
        return self.kind.kind, self.kind.namespace, self.name

    @property
    def expected(self) -> bool:
        """Whether the views tell all of it, or it is not there yet."""
        return self.seen or self.absent or self.leaving or self.body is not None

    @property
    def primary(self) -> PodSight | None:
        """The newest of the pods whose output and address are the run's."""
        return next((it for it in reversed(self.pods.values()) if it.primary), None)

    @property
    def pods_are_over(self) -> bool:
        return all(pod.over for pod in self.pods.values())

    @property
    def stays(self) -> bool:
        """Whether its object is kept when its run has ended. One that was suspended would run again
        when it is resumed, and one that has not ended, though its run is lost, when its node is
        there again."""
        lost = self.end is not None and self.end.lost
        goes_on = lost and self.sight is not None and self.sight.verdict is None
        return self.kind.retain and self.withdrawn is None and not goes_on

    def sees_withdrawal(self) -> bool:
        """Whether its pods were taken from it: its object was suspended after its command had
        begun, as Kueue preempts. It stays so: the pods that it gets when it is resumed are another
        beginning of the same attempt."""
        if self.sight is not None and self.sight.suspended and (self.running or self.claimed):
            # News of its pods come later, perhaps when it has been resumed.
            self.suspended = True
        if self.withdrawn is None and self.suspended and self._is_losing_pods:
            self.withdrawn = frozenset(self.pods)
        return self.withdrawn is not None

    @property
    def _is_losing_pods(self) -> bool:
        if self.claimed and not self.pods:
            return True
        going = any(pod.primary and pod.deleted for pod in self.pods.values())
        return self.running and (going or bool(self.lost_pods))

    @property
    def withdrawn_are_over(self) -> bool:
        return all(pod.over for pod in self._withdrawn_pods) and not self.ended_well

    @property
    def ended_well(self) -> bool:
        """At the last moment before it was suspended: its object will say so."""
        return any(pod.primary and pod.exit_code == 0 for pod in self._withdrawn_pods)

    @property
    def _withdrawn_pods(self) -> list[PodSight]:
        names = self.withdrawn or frozenset()
        return [pod for pod in self.pods.values() if pod.deleted or pod.name in names]

    @property
    def is_silent(self) -> bool:
        """Whether its container writes no more."""
        pod = self.primary
        return self.end is not None or pod is None or pod.over or pod.exit_code is not None

    def pod_gone(self, name: str) -> None:
        """It is there no more; remembered if it had not ended."""
        pod = self.pods.pop(name, None)
        if pod is None:
            return
        if pod.primary and (pod.exit_code is not None or pod.taken):
            # How it ended counts, also when it is cleared away before its object says so.
            self.pods[name] = replace(pod, over=True)
        elif pod.primary and len(self.lost_pods) < _MAX_GONE:
            self.lost_pods.append(f"pod {name} was deleted")

    def status(self, waiting: str) -> RunStatus:
        end = self.end
        if end is None:
            # Without a claim another launcher may be about to create it.
            absent = self.absent and self.kind.shipped
            state = RunState.ABSENT if absent else RunState.RUNNING
            return RunStatus(run_id=self.run_id, state=state, waiting=waiting)
        primary = self.primary
        if self._lost_its_log(end):
            end = RunEnd(lost=True, message=_UNREAD)
        return RunStatus(
            run_id=self.run_id,
            state=RunState.LOST if end.lost else RunState.FINISHED,
            started_at=None if primary is None else primary.started_at,
            finished_at=self.finished_at,
            exit_code=end.exit_code,
            signal=end.signal,
            stop_reason=end.stop_reason,
            message=end.message,
            verdict=end.verdict,
            job_reason=end.job_reason,
            job_message=end.job_message,
            output_bytes=self._output_bytes(),
            missing=self._missing(),
        )

    def _lost_its_log(self, end: RunEnd) -> bool:
        """It succeeded, but nobody will know what it reported."""
        succeeded = end.exit_code == 0 or end.verdict is RunVerdict.SUCCEEDED
        return self._is_unread and succeeded

    @property
    def _is_unread(self) -> bool:
        if self.log is None:
            return self.kind.follows and self.primary is None
        return self.log.gone

    def _missing(self) -> str:
        if self._is_unread:
            return _UNREAD
        return _CUT if self.log is not None and self.log.incomplete else ""

    def _output_bytes(self) -> int:
        if self.log is not None:
            return self.log.length
        primary = self.primary
        message = None if primary is None else primary.message
        return 0 if message is None else message.total


def record_of(plan: ObjectPlan) -> Record:
    metadata = plan.body["metadata"]
    kind = _kind(
        sys.intern(str(plan.body["apiVersion"])),
        sys.intern(str(plan.body["kind"])),
        sys.intern(str(metadata["namespace"])),
        plan.success,
        plan.failure,
        plan.container,
        tuple(sorted(plan.pod_labels.items())),
        plan.pods_by,
        (plan.shipped, plan.follows, plan.retain),
    )
    return Record(
        run_id=plan.run_id,
        name=str(metadata["name"]),
        kind=kind,
        created_at=plan.created_at,
        claimed=plan.claimed,
    )


@lru_cache(maxsize=1000)
def _kind(
    api_version: str,
    kind: str,
    namespace: str,
    success: str,
    failure: str,
    container: str,
    labels: tuple[tuple[str, str], ...],
    pods_by: str,
    ways: tuple[bool, bool, bool],
) -> Kind:
    shipped, follows, retain = ways
    return Kind(
        api_version=api_version,
        kind=kind,
        namespace=namespace,
        conditions=Conditions(success=success, failure=failure),
        container=container,
        pod_labels=MappingProxyType(dict(labels)),
        pods_by=pods_by,
        shipped=shipped,
        follows=follows,
        retain=retain,
    )
