"""One pod's life on a node: its containers, and the status that a kubelet writes about them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.cluster.double.logs import Book
from tests.cluster.double.objects import timestamp
from tests.cluster.double.outcomes import Outcome
from tests.cluster.double.placing import missing_image
from tests.cluster.double.processes import Process

if TYPE_CHECKING:
    from tests.cluster.double.pods import Pods

Object = dict[str, Any]
_BACKOFF_S, _BACKOFF_MAX_S = 10.0, 300.0
_PULL_BACKOFF_S = 0.2


@dataclass(slots=True, eq=False)
class Container:
    """state: of its status. term: how it is asked to end, while it runs."""

    spec: Object
    sidecar: bool = False
    init: bool = False
    state: Object = field(default_factory=dict)
    last: Object = field(default_factory=dict)
    restarts: int = 0
    book: Book | None = None
    term: Callable[[bool], None] | None = None
    started: bool = False

    @property
    def name(self) -> str:
        return str(self.spec["name"])

    @property
    def running(self) -> bool:
        return "running" in self.state

    @property
    def exit_code(self) -> int | None:
        ended = self.state.get("terminated")
        return None if ended is None else int(ended["exitCode"])


class Life:
    """bound: it has a node. over: it has its last phase."""

    def __init__(self, pod: Object, pods: "Pods") -> None:
        self.pod, self.pods = pod, pods
        self.uid = pod["metadata"]["uid"]
        self.bound = self.created = self.over = self.stopping = False
        self.outcome: Outcome | None = None
        self.asked = False
        self.extra: Object = {}
        self.conditions: dict[str, Object] = {}
        spec = pod["spec"]
        self.inits = [
            Container(c, init=True, sidecar=c.get("restartPolicy") == "Always")
            for c in spec.get("initContainers") or ()
        ]
        self.mains = [Container(c) for c in spec["containers"]]

    # -- one round

    def step(self) -> None:
        if self.over:
            if "deletionTimestamp" in self.pod["metadata"]:
                self.pods.finish_deletion(self.pod)
            return
        if "deletionTimestamp" in self.pod["metadata"] and not self.stopping:
            self._stop()
            return
        if not self.asked:
            self.asked, self.outcome = True, self.pods.outcome_for(self.pod)
        if not self.bound:
            self._bind()
        elif not self.created:
            self._create()
        else:
            self._go_on()

    def _bind(self) -> None:
        if self.pod["spec"].get("schedulingGates"):
            return
        spec = self.pod["spec"]
        node, text = (spec["nodeName"], "") if spec.get("nodeName") else self.pods.nodes.place(spec)
        if self.outcome is not None and self.outcome.stuck == "Unschedulable":
            text = self.outcome.stuck_message or "0/2 nodes are available: 2 Insufficient cpu."
        if text:
            self._condition("PodScheduled", "False", "Unschedulable", text)
            self._write("Pending")
            self.pods.events.tell(self.pod, "Warning", "FailedScheduling", text)
            return
        self.bound = True
        self._condition("PodScheduled", "True")
        self._write("Pending", nodeName=node)
        self.pods.mark(self.uid)

    def _create(self) -> None:
        self.created = True
        stuck = self.outcome.stuck if self.outcome else ""
        if not stuck and missing_image(self.pod["spec"]):
            stuck = "ErrImagePull"
        for container in (*self.inits, *self.mains):
            reason = "PodInitializing" if self.inits else "ContainerCreating"
            container.state = {"waiting": {"reason": reason}}
        self.extra = {"startTime": timestamp(self.pods.timers.now()), "hostIP": "10.0.0.1"}
        if stuck:
            self._get_stuck(stuck)
            return
        self._write("Pending")
        self.pods.mark(self.uid)

    def _get_stuck(self, reason: str) -> None:
        missing = missing_image(self.pod["spec"])
        both = (*self.inits, *self.mains)
        first = next((c for c in both if c.spec.get("image") == missing), both[0])
        told = self.outcome.stuck_message if self.outcome else ""
        image = first.spec.get("image", "")
        message = told or f'Back-off pulling image "{image}": {reason}'
        first.state = {"waiting": {"reason": reason, "message": message}}
        self._write("Pending")
        self.pods.events.tell(self.pod, "Warning", "Failed", message)
        if reason == "ErrImagePull":

            def back_off() -> None:
                if not self.stopping and not self.over:
                    self._get_stuck("ImagePullBackOff")

            self.pods.timers.after(_PULL_BACKOFF_S, back_off)

    def _go_on(self) -> None:
        """Starts what may start, writes what is; at the end of all, the last phase."""
        if not self.stopping:
            self._start_next()
        if self._all_over():
            self._finish()
            return
        running = any(c.running or c.started for c in self.mains)
        ready = running and all(c.running for c in self.mains)
        if all(self._done(c) for c in self.inits):
            self._condition("Initialized", "True")
        for name in ("Ready", "ContainersReady"):
            self._condition(name, "True" if ready else "False")
        self._write("Running" if running else "Pending")

    def _done(self, container: Container) -> bool:
        return container.running if container.sidecar else container.exit_code == 0

    def _start_next(self) -> None:
        for container in self.inits:
            if container.state.get("waiting") and not container.started:
                self._start(container)
            if not self._done(container):
                return
        for container in self.mains:
            if container.state.get("waiting") and not container.started:
                self._start(container)

    def _all_over(self) -> bool:
        failed_init = any(
            c.exit_code not in (None, 0) and not c.sidecar and not self._restarts(c)
            for c in self.inits
        )
        if self.stopping:
            return not any(c.running for c in (*self.inits, *self.mains))
        mains = all(c.exit_code is not None and not c.state.get("waiting") for c in self.mains)
        if not failed_init and not mains:
            return False
        waiting = [c for c in self.inits if c.running]
        for container in reversed(waiting):
            if container.term is not None:
                container.term(False)
        return not any(c.running for c in self.inits)

    def _finish(self) -> None:
        codes = [c.exit_code for c in (*self.mains, *(c for c in self.inits if not c.sidecar))]
        good = all(code == 0 for code in codes)
        phase = "Succeeded" if good else "Failed"
        reason = "PodCompleted" if good else "PodFailed"
        self._condition("Initialized", "True", reason if good else "")
        for name in ("Ready", "ContainersReady"):
            self._condition(name, "False", reason)
        self.over = True
        self._write(phase)
        if "deletionTimestamp" in self.pod["metadata"]:
            self.pods.finish_deletion(self.pod)

    # -- containers

    def _start(self, container: Container) -> None:
        now = self.pods.timers.now()
        container.started = True
        container.book = self.pods.logs.begin(self.uid, container.name)
        container.state = {"running": {"startedAt": timestamp(now)}}
        if self.outcome is None:
            self._start_process(container, container.book)
        else:
            self._start_told(container, self.outcome)

    def _start_process(self, container: Container, book: Book) -> None:
        def ended(code: int, reason: str, message: str) -> None:
            self.ended(container, code, message, reason)

        process = Process(self.pods.processes, self.pod, container.spec, book, ended)
        container.term = process.term
        process.start()

    def _start_told(self, container: Container, outcome: Outcome) -> None:
        start = container.restarts

        def ended() -> None:
            if container.running and container.restarts == start:
                self.ended(container, told.exit_code, told.message, told.reason)

        def term(now: bool) -> None:
            if container.running and (now or not outcome.stubborn):
                code = 0 if container.sidecar else 137 if now else 143
                self.ended(container, code)

        container.term = term
        if container.sidecar:
            return
        told = outcome if container is self.mains[0] else Outcome(after_s=outcome.after_s)
        if container.init:
            told = Outcome()
        if container.book is not None and told.log:
            container.book.write(told.log, self.pods.timers.now())
        if told.after_s is not None:
            self.pods.timers.after(told.after_s, ended)

    def ended(self, container: Container, code: int, message: str = "", reason: str = "") -> None:
        """A container's process is over; what follows is for the next round."""
        now = self.pods.timers.now()
        begun = (container.state.get("running") or {}).get("startedAt", timestamp(now))
        if container.book is not None:
            container.book.end(now)
        over: Object = {
            "exitCode": code,
            "reason": reason or ("Completed" if code == 0 else "Error"),
            "startedAt": begun,
            "finishedAt": timestamp(now),
            "containerID": f"containerd://{self.uid}-{container.name}-{container.restarts}",
        }
        if message:
            over["message"] = message
        container.state, container.term = {"terminated": over}, None
        if not self.stopping and self._restarts(container):
            self._back_off(container)
        self.pods.mark(self.uid)

    def _restarts(self, container: Container) -> bool:
        policy = self.pod["spec"].get("restartPolicy", "Always")
        if container.sidecar:
            return not all(c.exit_code is not None for c in self.mains)
        failed = container.exit_code not in (None, 0)
        if container.init:
            return failed and policy != "Never"
        return policy == "Always" or (policy == "OnFailure" and failed)

    def _back_off(self, container: Container) -> None:
        container.last = container.state
        wait_s = 0.0
        if container.restarts:
            wait_s = min(_BACKOFF_MAX_S, _BACKOFF_S * 2 ** (container.restarts - 1))
        container.restarts += 1

        def again() -> None:
            if not self.stopping and not self.over:
                container.started = False
                self.pods.mark(self.uid)

        container.state = {"waiting": {"reason": "CrashLoopBackOff"}}
        self.pods.timers.after(wait_s, again)

    def finish(self, outcome: Outcome) -> None:
        """A running first container ends so."""
        main = self.mains[0]
        if main.book is not None and outcome.log:
            main.book.write(outcome.log, self.pods.timers.now())
        for container in self.mains[1:]:
            if container.running:
                self.ended(container, 0)
        self.ended(main, outcome.exit_code, outcome.message, outcome.reason)

    def write_log(self, data: bytes) -> None:
        book = self.mains[0].book
        assert book is not None, "the container has not started"
        book.write(data, self.pods.timers.now())

    # -- the end from outside

    def _stop(self) -> None:
        """A deletion: everything is asked to end, and killed after the grace period."""
        if self.pod["spec"].get("nodeName") in self.pods.nodes.lost:
            return
        self.stopping = True
        for container in (*self.inits, *self.mains):
            if not container.running:
                self._never_ran(container)
            elif container.term is not None:
                container.term(False)
        grace = self.pod["metadata"].get("deletionGracePeriodSeconds") or 0
        self.pods.timers.after(grace, self.kill)
        self.pods.mark(self.uid)

    def _never_ran(self, container: Container) -> None:
        if container.exit_code is None:
            text = "The container could not be located when the pod was terminated"
            over = {"exitCode": 137, "reason": "ContainerStatusUnknown", "message": text}
            container.state = {"terminated": over | {"startedAt": None, "finishedAt": None}}

    def kill(self) -> None:
        for container in (*self.inits, *self.mains):
            if container.running and container.term is not None:
                container.term(True)

    def lost_for_good(self) -> None:
        """Its node will never say how it ended: what runs is killed without a word."""
        self.kill()
        self.over = True
        self._write("Failed")
        if "deletionTimestamp" not in self.pod["metadata"]:
            return
        self.pods.finish_deletion(self.pod)

    def gone(self) -> None:
        """The object is no more: whatever runs is killed."""
        self.stopping = self.over = True
        self.kill()

    def fail(self, reason: str, message: str, code: int = 137) -> None:
        """The node ends it: phase Failed with a reason of the pod's own."""
        self.stopping = True
        self.extra |= {"reason": reason, "message": message}
        for container in (*self.inits, *self.mains):
            if container.running and container.term is not None:
                container.term(True)
            self._never_ran(container)
        self.pods.mark(self.uid)

    # -- the status

    def disrupt(self, reason: str, message: str) -> None:
        self._condition("DisruptionTarget", "True", reason, message)
        phase = (self.pod.get("status") or {}).get("phase", "Pending")
        self._write(phase)

    def _condition(self, kind: str, status: str, reason: str = "", message: str = "") -> None:
        old = self.conditions.get(kind)
        if old and (old["status"], old.get("reason", "")) == (status, reason):
            return
        now = timestamp(self.pods.timers.now())
        told: Object = {"type": kind, "status": status, "lastProbeTime": None}
        told["lastTransitionTime"] = now
        if reason:
            told["reason"] = reason
        if message:
            told["message"] = message
        self.conditions[kind] = told

    def _write(self, phase: str, **spec: Any) -> None:
        old = self.pod.get("status") or {}
        status: Object = {"phase": phase, "conditions": list(self.conditions.values())}
        status |= {"qosClass": old.get("qosClass", "BestEffort")} | self.extra
        if self.created:
            if self.inits:
                status["initContainerStatuses"] = [self._status(c) for c in self.inits]
            status["containerStatuses"] = [self._status(c) for c in self.mains]
        self.pod = self.pods.write(self.pod, status, **spec)

    def _status(self, container: Container) -> Object:
        told = {
            "name": container.name,
            "image": container.spec.get("image", ""),
            "imageID": "",
            "restartCount": container.restarts,
            "ready": container.running or (container.init and container.exit_code == 0),
            "started": container.running,
            "state": container.state,
            "lastState": container.last,
        }
        if container.started:
            told["containerID"] = f"containerd://{self.uid}-{container.name}-{container.restarts}"
        return told
