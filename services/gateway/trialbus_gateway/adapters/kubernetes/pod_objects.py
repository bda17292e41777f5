"""A trial's attempt as Kubernetes shows it: a Job and its Pod, both under the trial's name.

On one machine there is one process. It is the primary container; the metrics collector is shown
beside it as Katib's sidecar, so that whoever asks for the one or the other gets the output. Only a
custom collector is a process, and has an output, of its own.
"""

from collections.abc import Mapping
from typing import Any

from trialbus.contracts.katib.times import rfc3339, rfc3339_or_none
from trialbus.kernel.run import Run, RunPhase
from trialbus.kernel.spec import CollectorKind
from trialbus.kernel.trial import TrialPhase
from trialbus_gateway.app.attempts import Attempt

Json = Any
Object = dict[str, Json]

TRIAL_LABEL = "katib.kubeflow.org/trial"
JOB_LABELS = ("batch.kubernetes.io/job-name", "job-name")
DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
# Where the template names none.
CONTAINER = "training-container"
# What stands where a cluster has an image: nothing is pulled on one machine.
NO_IMAGE = "local"
# Katib's names of the containers that collect metrics.
_COLLECTORS = {
    CollectorKind.STDOUT: "metrics-logger-and-collector",
    CollectorKind.FILE: "metrics-logger-and-collector",
    CollectorKind.TENSORFLOW_EVENT: "metrics-collector",
}
_SIGNALLED = 128
_GOOD_PHASES = frozenset({TrialPhase.SUCCEEDED, TrialPhase.METRICS_UNAVAILABLE})


def primary_of(attempt: Attempt) -> str:
    return str(attempt.view["spec"].get("primaryContainerName") or CONTAINER)


def containers_of(attempt: Attempt) -> list[str]:
    """The primary one, then the collector, if it is one of the kinds that have it."""
    sidecar = custom_collector_of(attempt) or _COLLECTORS.get(attempt.collector)
    primary = primary_of(attempt)
    return [primary] if sidecar is None else [primary, sidecar]


def custom_collector_of(attempt: Attempt) -> str | None:
    """The name of the container of a custom collector."""
    if attempt.collector is not CollectorKind.CUSTOM or attempt.beside is None:
        return None
    name = str(attempt.beside.get("name") or "")
    return name if name != primary_of(attempt) else None


def job_object(attempt: Attempt) -> Object:
    job = _template(attempt)
    spec: Object = {
        "parallelism": 1,
        "completions": 1,
        "backoffLimit": 0,
        "completionMode": "NonIndexed",
        "selector": {"matchLabels": {JOB_LABELS[0]: attempt.trial.name}},
        **{name: value for name, value in _fields(job, "spec").items() if name != "selector"},
    }
    spec["template"] = {
        "metadata": {"labels": _labels(attempt)},
        "spec": _pod_spec(attempt),
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            **_metadata(attempt, f"{attempt.trial.id}.job"),
            "generation": 1,
            "ownerReferences": [_owner("kubeflow.org/v1beta1", "Trial", attempt, attempt.trial.id)],
        },
        "spec": spec,
        "status": _job_status(attempt),
    }


def pod_object(attempt: Attempt) -> Object:
    metadata = _metadata(attempt, f"{attempt.trial.id}.{attempt.number}")
    metadata["annotations"] = {
        **_fields(_template(attempt), "spec", "template", "metadata", "annotations"),
        DEFAULT_CONTAINER: primary_of(attempt),
    }
    metadata["ownerReferences"] = [_owner("batch/v1", "Job", attempt, f"{attempt.trial.id}.job")]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": _pod_spec(attempt),
        "status": _pod_status(attempt),
    }


def shown_state(pod: Mapping[str, Json]) -> str:
    """What kubectl shows as STATUS: the reason of the end if there is one, else the phase."""
    status = pod["status"]
    if status["phase"] in ("Pending", "Running"):
        return str(status.get("reason") or status["phase"])
    states = [it["state"] for it in status["containerStatuses"]]
    reasons = [state.get("terminated", {}).get("reason") for state in states]
    return str(next(filter(None, reasons), status["phase"]))


def _metadata(attempt: Attempt, uid: str) -> Object:
    shown = attempt.view["metadata"]
    metadata: Object = {
        "name": attempt.trial.name,
        "namespace": attempt.trial.namespace,
        "uid": uid,
        "creationTimestamp": shown["creationTimestamp"],
        "labels": _labels(attempt),
    }
    return metadata


def _labels(attempt: Attempt) -> dict[str, str]:
    template = _fields(_template(attempt), "spec", "template", "metadata", "labels")
    return {
        **{name: str(value) for name, value in template.items()},
        **attempt.view["metadata"].get("labels", {}),
        **attempt.view["spec"].get("primaryPodLabels", {}),
        TRIAL_LABEL: attempt.trial.name,
        **dict.fromkeys(JOB_LABELS, attempt.trial.name),
    }


def _owner(api_version: str, kind: str, attempt: Attempt, uid: str) -> Object:
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": attempt.trial.name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _template(attempt: Attempt) -> Mapping[str, Json]:
    """The rendered Job; empty without a template, and where it is no Job."""
    spec = attempt.view["spec"].get("runSpec")
    return spec if isinstance(spec, Mapping) else {}


def _fields(node: Mapping[str, Json], *path: str) -> dict[str, Json]:
    """What is at this path, if it is an object."""
    found: Json = node
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return dict(found) if isinstance(found, Mapping) else {}


def _pod_spec(attempt: Attempt) -> Object:
    spec = _fields(_template(attempt), "spec", "template", "spec")
    given = [it for it in spec.get("containers") or [] if isinstance(it, Mapping)]
    primary = next((it for it in given if it.get("name") == primary_of(attempt)), {})
    containers = [{"image": NO_IMAGE, **primary, "name": primary_of(attempt)}]
    beside = attempt.beside if custom_collector_of(attempt) else None
    sidecars = containers_of(attempt)[1:]
    containers += [{"image": NO_IMAGE, **(beside or {}), "name": name} for name in sidecars]
    shown = {"restartPolicy": "Never", **spec, "containers": containers}
    if attempt.run is not None:
        shown["nodeName"] = attempt.run.host
    return shown


def _job_status(attempt: Attempt) -> Object:
    trial, run = attempt.trial, attempt.run
    started_at = run.started_at if run is not None else None
    status: Object = {"startTime": rfc3339_or_none(started_at)}
    if not trial.ended:
        active = 1 if run is not None and not run.ended else 0
        return {**_given(status), "active": active, "ready": active}
    completed_at = trial.completed_at if trial.completed_at is not None else trial.created_at
    # An early end is a good one: its results count.
    good = trial.phase in _GOOD_PHASES or trial.phase is TrialPhase.EARLY_STOPPED
    condition = {
        "type": "Complete" if good else "Failed",
        "status": "True",
        "reason": trial.reason,
        "message": trial.message,
        "lastProbeTime": rfc3339(completed_at),
        "lastTransitionTime": rfc3339(completed_at),
    }
    status["conditions"] = [condition]
    if good:
        status["completionTime"] = rfc3339(completed_at)
    return {**_given(status), "succeeded" if good else "failed": 1}


def _pod_status(attempt: Attempt) -> Object:
    run = attempt.run
    phase, state = _state(attempt)
    ready = phase == "Running"
    status: Object = {
        "phase": phase,
        "startTime": rfc3339_or_none(run.started_at if run is not None else None),
        "hostIP": None if run is None else "127.0.0.1",
        "podIP": None if run is None else "127.0.0.1",
        "conditions": _pod_conditions(attempt, ready=ready),
        "qosClass": "BestEffort",
        "containerStatuses": [
            {
                "name": name,
                "image": NO_IMAGE,
                "imageID": "",
                "ready": ready,
                "started": ready,
                "restartCount": attempt.number - 1,
                "state": state,
                "lastState": {},
            }
            for name in containers_of(attempt)
        ],
    }
    if run is not None and run.message:
        status["message"] = run.message
    return _given(status)


def _pod_conditions(attempt: Attempt, *, ready: bool) -> list[Object]:
    taken = attempt.run is not None
    at = attempt.run.created_at if attempt.run is not None else attempt.trial.created_at
    told = {"PodScheduled": taken, "Initialized": taken, "ContainersReady": ready, "Ready": ready}
    return [
        {
            "type": name,
            "status": "True" if holds else "False",
            "lastProbeTime": None,
            "lastTransitionTime": rfc3339(at),
        }
        for name, holds in told.items()
    ]


def _state(attempt: Attempt) -> tuple[str, Object]:
    """The pod's phase and the state of its containers."""
    trial, run = attempt.trial, attempt.run
    if run is None and not trial.ended:
        reason = {"reason": "WaitsForLauncher", "message": "no launcher has taken it yet"}
        return "Pending", {"waiting": reason}
    if run is not None and not run.ended:
        if run.started_at is None:
            return "Pending", {"waiting": {"reason": "ContainerCreating"}}
        return "Running", {"running": {"startedAt": rfc3339(run.started_at)}}
    code, signal = (run.exit_code, run.signal) if run else (trial.exit_code, trial.signal)
    lost = run is not None and run.phase is RunPhase.LOST
    exit_code = _SIGNALLED + signal if signal is not None else code
    if exit_code is None:
        exit_code = 0 if trial.phase in _GOOD_PHASES else 1
    started_at = run.started_at if run is not None else trial.started_at
    finished_at = run.finished_at if run is not None else trial.completed_at
    terminated: Object = {
        "exitCode": exit_code,
        "signal": signal,
        "reason": "Lost" if lost else _reason(exit_code, run),
        "message": (run.message if run is not None else trial.message) or None,
        "startedAt": rfc3339_or_none(started_at),
        "finishedAt": rfc3339_or_none(finished_at),
    }
    phase = "Succeeded" if exit_code == 0 else "Failed"
    return phase, {"terminated": _given(terminated)}


def _reason(exit_code: int, run: Run | None) -> str:
    if run is not None and run.stop_reason:
        return run.stop_reason
    return "Completed" if exit_code == 0 else "Error"


def _given(fields: Object) -> Object:
    return {name: value for name, value in fields.items() if value is not None}
