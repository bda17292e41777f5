"""A trial's template -> the object that runs it: labels, what a trial is told, the wrapper. Pure.

What the user wrote stays as it is, except for what keeps an attempt from running twice (Jobs) and
what metric collection needs. docs/how-to/run-on-kubernetes.md says what is added.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trialbus.contracts.cluster_names import run_labels, run_object_name
from trialbus.contracts.shipping import WrapKind
from trialbus.kernel.ids import RunKey
from trialbus.kernel.limits import CUSTOM_COLLECTOR_DEADLINE_S
from trialbus.kernel.spec import CollectorKind, MetricsCollectorSpec, PathKind
from trialbus.kernel.templates import TrialIdentity
from trialbus_trial_launcher.app.cluster.wrapping import Wrapping, takes_wrapper, wrap
from trialbus_trial_launcher.core.pod_templates import (
    Fields,
    PodTemplate,
    add_labels,
    add_variables,
    add_volume,
    entries,
    items,
    label_pods,
    mounts_at,
    replace_paths,
    restrict,
    without_istio,
)

Json = Any

# Kept on an object of ours: why we stop it, and that it stays when its run has ended.
STOP_ANNOTATION = "trialbus.io/stop"
RETAIN_LABEL = "trialbus.io/retain"
# An ended Job is deleted by us, once its end is recorded; not before by Kubernetes.
_MIN_TTL_S = 3600
_JOB = ("batch/v1", "Job")
_METRICS_VOLUME = "trialbus-metrics"
_CHECKPOINTS_VOLUME = "trialbus-checkpoints"
# What ships lines of a kind; the others are asked, or report by themselves.
_SHIPS = {
    CollectorKind.STDOUT: WrapKind.STDOUT,
    CollectorKind.FILE: WrapKind.FILE,
    CollectorKind.TENSORFLOW_EVENT: WrapKind.TFEVENT,
}
_WRITES_FILES = frozenset(
    {CollectorKind.FILE, CollectorKind.TENSORFLOW_EVENT, CollectorKind.CUSTOM}
)
# Where pods of ours have no pod template in the object: the label by which they name it.
_PODS_BY = {
    "TrainJob": "jobset.sigs.k8s.io/jobset-name",
    "PipelineRun": "tekton.dev/pipelineRun",
    "TaskRun": "tekton.dev/taskRun",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mounted:
    """A claim with folders of trials. claim: its name; folder: in it, of the experiment; at: where
    pods see it."""

    claim: str
    folder: str
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectMeans:
    """What is added beside the template's own. variables: of every primary container. wrapper: of
    those for the wrapper alone; wrapper_image: "" where there is none. paths: in the template -> in
    the pod. mounted: None where checkpoints are told as URIs, or not kept."""

    instance: str
    variables: Mapping[str, str]
    wrapper: Mapping[str, str] = field(default_factory=dict)
    wrapper_image: str = ""
    restricted: bool = False
    paths: Mapping[str, str] = field(default_factory=dict)
    mounted: Mounted | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunObject:
    """wrapped: its primary container is run by the wrapper. pods_by: see `ObjectPlan`."""

    body: Fields
    wrapped: bool
    pods_by: str


def run_object(
    rendered: Fields,
    trial: TrialIdentity,
    run: RunKey,
    container: str,
    collector: MetricsCollectorSpec,
    means: ObjectMeans,
    *,
    retain: bool = False,
) -> RunObject:
    """`rendered`: the template with its values, which is changed. container: the primary one."""
    labels = run_labels(means.instance, trial.experiment, trial.name, run)
    add_labels(rendered, labels | ({RETAIN_LABEL: "true"} if retain else {}))
    rendered["metadata"]["name"] = run_object_name(trial.name, run.attempt)
    templates = label_pods(rendered, labels)
    if (rendered.get("apiVersion"), rendered.get("kind")) == _JOB:
        _job_rules(rendered, templates)
    wrapped = bool(means.wrapper_image) and takes_wrapper(rendered, container)
    for template in templates:
        primary = template.container(container)
        if primary is not None:
            _equip(template, primary, collector, means)
        if primary is not None and wrapped:
            wrap(template, primary, _wrapping(collector, means))
        else:
            without_istio(template)
        if means.restricted:
            restrict(template)
    # An object without pod templates: its controller names its pods by itself.
    pods_by = "" if templates else _PODS_BY.get(str(rendered.get("kind")), "")
    return RunObject(body=rendered, wrapped=wrapped, pods_by=pods_by)


def _job_rules(body: Fields, templates: list[PodTemplate]) -> None:
    """One attempt is one pod: what fails is not repeated by Kubernetes, and what is disrupted is
    told apart from what failed. Attempts are opened by the experiment."""
    job = entries(body, "spec")
    policy = entries(job, "podFailurePolicy")
    disrupted = {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget"}]}
    policy["rules"] = [disrupted, *(it for it in items(policy, "rules") if it != disrupted)]
    job["backoffLimit"] = 0
    job["podReplacementPolicy"] = "Failed"
    ttl = job.get("ttlSecondsAfterFinished")
    if isinstance(ttl, int) and ttl < _MIN_TTL_S:
        job["ttlSecondsAfterFinished"] = _MIN_TTL_S
    for template in templates:
        pod = template.pod
        pod["restartPolicy"] = "Never"
        if not pod.get("serviceAccountName") and not pod.get("serviceAccount"):
            pod.setdefault("automountServiceAccountToken", False)


def _equip(
    template: PodTemplate, primary: Fields, collector: MetricsCollectorSpec, means: ObjectMeans
) -> None:
    """What a trial finds: its variables, its folders, its custom collector."""
    add_variables(primary, means.variables)
    if means.paths:
        replace_paths(primary, means.paths)
    if means.mounted is not None:
        _mount_checkpoints(template, primary, means.mounted)
    sharing = [primary]
    if collector.kind is CollectorKind.CUSTOM and collector.container:
        sharing.append(_beside(template, collector, means))
    folder = metrics_folder(collector)
    if folder and not mounts_at(primary, folder):
        add_volume(template, {"name": _METRICS_VOLUME, "emptyDir": {}})
        for each in sharing:
            if not mounts_at(each, folder):
                items(each, "volumeMounts").append({"name": _METRICS_VOLUME, "mountPath": folder})


def metrics_folder(collector: MetricsCollectorSpec) -> str:
    """The folder that the collector reads, "" where it reads none (or the root itself)."""
    if collector.path is None or collector.kind not in _WRITES_FILES:
        return ""
    path = collector.path.path.rstrip("/")
    return path if collector.path.kind is PathKind.DIRECTORY else path.rpartition("/")[0]


def _mount_checkpoints(template: PodTemplate, primary: Fields, mounted: Mounted) -> None:
    claim = {"claimName": mounted.claim}
    add_volume(template, {"name": _CHECKPOINTS_VOLUME, "persistentVolumeClaim": claim})
    items(primary, "volumeMounts").append(
        {"name": _CHECKPOINTS_VOLUME, "mountPath": mounted.at, "subPath": mounted.folder}
    )


def _beside(template: PodTemplate, collector: MetricsCollectorSpec, means: ObjectMeans) -> Fields:
    """The user's collector as a native sidecar: it sees the trial's processes, and has its time to
    report when they are over."""
    container: Fields = {**(collector.container or {}), "restartPolicy": "Always"}
    add_variables(container, means.variables)
    items(template.pod, "initContainers").append(container)
    template.pod.setdefault("shareProcessNamespace", True)
    template.pod.setdefault("terminationGracePeriodSeconds", int(CUSTOM_COLLECTOR_DEADLINE_S))
    return container


def _wrapping(collector: MetricsCollectorSpec, means: ObjectMeans) -> Wrapping:
    kind = _SHIPS.get(collector.kind, WrapKind.NONE)
    reads = kind in (WrapKind.FILE, WrapKind.TFEVENT) and collector.path is not None
    return Wrapping(
        image=means.wrapper_image,
        kind=kind,
        path=collector.path.path if reads and collector.path is not None else "",
        variables=means.wrapper,
    )
