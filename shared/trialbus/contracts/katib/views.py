"""What the store holds -> Katib's v1beta1 objects, as people and clients see them.

Lists of names are complete up to `MAX_STATUS_NAMES`, then the newest; counters are always exact.
Like Katib's they leave out what is empty or zero. A view shares parts with the document that it is
of: read it, do not change it.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from trialbus.contracts.katib.models import API_VERSION
from trialbus.contracts.katib.times import rfc3339, rfc3339_or_none
from trialbus.kernel.conditions import Condition, Conditions, set_condition
from trialbus.kernel.errors import Refused
from trialbus.kernel.experiment import (
    SCHEDULING_PHASES,
    BestTrial,
    Experiment,
    ExperimentPhase,
)
from trialbus.kernel.ids import trial_name
from trialbus.kernel.limits import MAX_STATUS_NAMES
from trialbus.kernel.measurements import format_value
from trialbus.kernel.run import Run, RunPhase, StopReason
from trialbus.kernel.spec import ResumePolicy
from trialbus.kernel.templates import TrialIdentity, render_object
from trialbus.kernel.trial import Assignment, MetricValues, Trial, TrialPhase

Json = Any
Object = dict[str, Json]

EXPERIMENT_LABEL = "katib.kubeflow.org/experiment"
UNAVAILABLE = "unavailable"

# Katib's names, where the last one has no s.
_CLOSED = (
    (TrialPhase.SUCCEEDED, "succeededTrialList", "trialsSucceeded", "succeeded"),
    (TrialPhase.FAILED, "failedTrialList", "trialsFailed", "failed"),
    (TrialPhase.KILLED, "killedTrialList", "trialsKilled", "killed"),
    (TrialPhase.EARLY_STOPPED, "earlyStoppedTrialList", "trialsEarlyStopped", "early_stopped"),
    (
        TrialPhase.METRICS_UNAVAILABLE,
        "metricsUnavailableTrialList",
        "trialMetricsUnavailable",
        "metrics_unavailable",
    ),
)


def experiment_view(
    experiment: Experiment,
    *,
    running: Collection[int] = (),
    trials_by_phase: Mapping[TrialPhase, Sequence[str]] | None = None,
) -> Object:
    """The Experiment. running: indices of open trials whose run has started; the other open ones
    are pending. trials_by_phase: names of ended trials, oldest first."""
    return {
        "apiVersion": API_VERSION,
        "kind": "Experiment",
        "metadata": _experiment_metadata(experiment),
        "spec": _spec(experiment),
        "status": _experiment_status(experiment, running, trials_by_phase or {}),
    }


def suggestion_view(experiment: Experiment, trials: Sequence[Trial] = ()) -> Object:
    """The Suggestion of an experiment. trials: the newest ones, oldest first."""
    spec = _spec(experiment)
    status: Object = {
        "startTime": rfc3339_or_none(experiment.started_at),
        "conditions": _conditions(_suggestion_conditions(experiment)),
        "suggestionCount": experiment.next_index,
        "suggestions": [
            {"name": trial.name, "parameterAssignments": _assignments(trial.assignments)}
            for trial in trials[-MAX_STATUS_NAMES:]
        ],
    }
    wanted: Object = {
        "algorithm": spec.get("algorithm"),
        "earlyStopping": spec.get("earlyStopping"),
        "requests": _requests(experiment),
        "resumePolicy": experiment.spec.resume_policy.value,
    }
    return {
        "apiVersion": API_VERSION,
        "kind": "Suggestion",
        "metadata": {
            **_copied_metadata(experiment),
            "name": experiment.name,
            "namespace": experiment.namespace,
            "uid": f"{experiment.id}.suggestion",
            "resourceVersion": str(experiment.version),
            "creationTimestamp": rfc3339(experiment.created_at),
            "ownerReferences": [_owner(experiment)],
        },
        "spec": _without_empty(wanted),
        "status": _without_empty(status),
    }


def trial_view(trial: Trial, experiment: Experiment, run: Run | None = None) -> Object:
    """The Trial. run: of its newest attempt; it tells whether an open trial is running."""
    started_at = trial.started_at if run is None or trial.ended else run.started_at
    status: Object = {
        "startTime": rfc3339(trial.created_at if started_at is None else started_at),
        "completionTime": rfc3339_or_none(trial.completed_at),
        "conditions": _conditions(_trial_conditions(trial, run)),
        "observation": _observation(trial, experiment),
    }
    labels = {**_copied_metadata(experiment).get("labels", {}), EXPERIMENT_LABEL: experiment.name}
    return {
        "apiVersion": API_VERSION,
        "kind": "Trial",
        "metadata": {
            "name": trial.name,
            "namespace": trial.namespace,
            "uid": trial.id,
            "resourceVersion": str(trial.version),
            "creationTimestamp": rfc3339(trial.created_at),
            "labels": labels,
            "ownerReferences": [_owner(experiment)],
        },
        "spec": _trial_spec(trial, experiment),
        "status": {name: value for name, value in status.items() if value is not None},
    }


def shows_running(trial: Trial, run: Run) -> bool:
    """Whether a Trial is told to be running. It still is when its run is over and what it observed
    is not counted yet; it is not when the run was suspended or lost, and comes again."""
    if trial.ended or run.started_at is None:
        return False
    over = run.phase is RunPhase.FINISHED and run.stop_reason != StopReason.SUSPENDED
    return over or run.phase is RunPhase.RUNNING


def _experiment_metadata(experiment: Experiment) -> Object:
    return {
        **experiment.source.get("metadata", {}),
        "name": experiment.name,
        "namespace": experiment.namespace,
        "uid": experiment.id,
        "resourceVersion": str(experiment.version),
        "generation": experiment.generation,
        "creationTimestamp": rfc3339(experiment.created_at),
    }


def _copied_metadata(experiment: Experiment) -> Object:
    """Labels and annotations go from an experiment to its Suggestion and trials."""
    metadata = experiment.source.get("metadata", {})
    return {name: metadata[name] for name in ("labels", "annotations") if metadata.get(name)}


def _owner(experiment: Experiment) -> Object:
    return {
        "apiVersion": API_VERSION,
        "kind": "Experiment",
        "name": experiment.name,
        "uid": experiment.id,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _spec(experiment: Experiment) -> Object:
    """As applied, with defaults; it may have been suspended and resumed by command since."""
    spec = dict(experiment.source.get("spec", {}))
    if experiment.spec.suspend or "suspend" in spec:
        spec["suspend"] = experiment.spec.suspend
    return spec


def _experiment_status(
    experiment: Experiment,
    running: Collection[int],
    trials_by_phase: Mapping[TrialPhase, Sequence[str]],
) -> Object:
    names = {index: _name(experiment, index) for index in sorted(map(int, experiment.open))}
    run_now = [name for index, name in names.items() if index in running]
    waiting = [name for index, name in names.items() if index not in running]
    status: Object = {
        "startTime": rfc3339_or_none(experiment.started_at),
        "conditions": _conditions(experiment.conditions),
        "currentOptimalTrial": _optimal_trial(experiment.best, experiment),
        "runningTrialList": run_now[-MAX_STATUS_NAMES:],
        "pendingTrialList": waiting[-MAX_STATUS_NAMES:],
        "trials": experiment.next_index,
        "trialsRunning": len(run_now),
        "trialsPending": len(waiting),
    }
    for phase, list_name, counter, attribute in _CLOSED:
        status[list_name] = list(trials_by_phase.get(phase, ()))[-MAX_STATUS_NAMES:]
        status[counter] = getattr(experiment.counts, attribute)
    return {
        **_without_empty(status),
        "completionTime": rfc3339_or_none(experiment.completed_at),
    }


def _name(experiment: Experiment, index: int) -> str:
    return trial_name(experiment.name, experiment.id, index)


def _without_empty(fields: Object) -> Object:
    """Go's omitempty."""
    return {name: value for name, value in fields.items() if value not in (None, [], 0, "")}


def _optimal_trial(best: BestTrial | None, experiment: Experiment) -> Object:
    """An empty observation when there is none, as Katib writes it."""
    if best is None:
        return {"observation": {}}
    return {
        "bestTrialName": best.name,
        "parameterAssignments": _assignments(best.assignments),
        "observation": {"metrics": _metrics(best.observation, experiment)},
    }


def _assignments(assignments: Sequence[Assignment]) -> list[Object]:
    return [{"name": item.name, "value": item.value} for item in assignments]


def _metrics(values: Sequence[MetricValues], experiment: Experiment) -> list[Object]:
    """Metrics that the experiment names but the trial never told are there as unavailable."""
    shown = [
        {
            "name": metric.name,
            "min": format_value(metric.min),
            "max": format_value(metric.max),
            "latest": format_value(metric.latest),
        }
        for metric in values
    ]
    known = {metric.name for metric in values}
    missing = [name for name in experiment.spec.objective.metric_names if name not in known]
    return shown + [dict.fromkeys(("min", "max", "latest"), UNAVAILABLE) | {"name": name}
                    for name in missing]  # fmt: skip


def _observation(trial: Trial, experiment: Experiment) -> Object | None:
    if trial.observation:
        return {"metrics": _metrics(trial.observation, experiment)}
    if trial.phase is TrialPhase.METRICS_UNAVAILABLE:
        objective = experiment.spec.objective.metric
        return {
            "metrics": [{"name": objective, **dict.fromkeys(("min", "max", "latest"), UNAVAILABLE)}]
        }
    return None


def _conditions(conditions: Conditions) -> list[Object]:
    return [
        {
            "type": condition.type,
            "status": "True" if condition.status else "False",
            "reason": condition.reason,
            "message": condition.message,
            "lastUpdateTime": rfc3339(condition.updated_at),
            "lastTransitionTime": rfc3339(condition.transitioned_at),
        }
        for condition in conditions
    ]


def _trial_conditions(trial: Trial, run: Run | None) -> Conditions:
    """An open trial's document does not say that it runs: its run does."""
    if run is None or run.started_at is None or not shows_running(trial, run):
        return trial.conditions
    return set_condition(
        trial.conditions,
        "Running",
        reason="TrialRunning",
        message="Trial is running",
        now=run.started_at,
    )


def _trial_spec(trial: Trial, experiment: Experiment) -> Object:
    source = experiment.source.get("spec", {})
    template = experiment.spec.template
    spec: Object = {
        "objective": source.get("objective"),
        "parameterAssignments": _assignments(trial.assignments),
        "metricsCollector": source.get("metricsCollectorSpec"),
    }
    if template is not None:
        spec |= {
            "runSpec": _run_spec(trial, experiment),
            "retainRun": template.retain or None,
            "primaryPodLabels": dict(template.primary_pod_labels) or None,
            "primaryContainerName": template.primary_container,
            "successCondition": template.success_condition,
            "failureCondition": template.failure_condition,
        }
    return _without_empty(spec)


def _run_spec(trial: Trial, experiment: Experiment) -> Object | None:
    """None for a template that cannot be rendered; why is said where the trial is started."""
    template = experiment.spec.template
    if template is None:
        return None
    identity = TrialIdentity(
        namespace=trial.namespace, experiment=trial.experiment, name=trial.name
    )
    try:
        return render_object(template, identity, trial.assignments)
    except Refused:
        return None


def _requests(experiment: Experiment) -> int:
    """How many points are wanted so far: those that became trials, and those that would now."""
    spec, opened = experiment.spec, experiment.next_index
    if experiment.phase not in SCHEDULING_PHASES or experiment.exhausted:
        return opened
    free = max(spec.parallel_trial_count - len(experiment.open), 0)
    if spec.max_trial_count is not None:
        free = min(free, max(spec.max_trial_count - opened, 0))
    return opened + free


def _suggestion_conditions(experiment: Experiment) -> Conditions:
    """Katib's life of a Suggestion, told from the experiment's: nothing is deployed for it here,
    so it is ready at once."""
    at = experiment.created_at
    told: Conditions = (_true("Created", "SuggestionCreated", "Suggestion is created", at),)
    told += (_true("DeploymentReady", "DeploymentReady", "Deployment is ready", at),)
    failed = _of_type(experiment.conditions, "Failed")
    if failed is not None and failed.message.startswith("Suggestion has failed"):
        return (*told, _true("Failed", "SuggestionFailed", failed.message, failed.updated_at))
    if experiment.look_ahead is not None or experiment.next_index:
        told += (_true("Running", "SuggestionRunning", "Suggestion is running", at),)
    if experiment.completed_at is None or experiment.phase is ExperimentPhase.DELETED:
        return told
    if experiment.spec.resume_policy is ResumePolicy.LONG_RUNNING:
        return told
    return _succeeded(told, experiment)


def _succeeded(told: Conditions, experiment: Experiment) -> Conditions:
    at = experiment.completed_at or 0.0
    reason = "Suggestion is succeeded"
    for type_, message in (
        ("Running", "Suggestion is not running"),
        ("DeploymentReady", "Deployment is not ready"),
    ):
        told = set_condition(told, type_, status=False, reason=reason, message=message, now=at)
    kept = experiment.spec.resume_policy is ResumePolicy.FROM_VOLUME
    ending = "suggestion volume is not deleted, can be restarted" if kept else "can't be restarted"
    message = f"Suggestion is succeeded, {ending}"
    return (*told, _true("Succeeded", "Experiment is succeeded", message, at))


def _true(type_: str, reason: str, message: str, at: float) -> Condition:
    return Condition(
        type=type_, status=True, reason=reason, message=message, updated_at=at, transitioned_at=at
    )


def _of_type(conditions: Conditions, type_: str) -> Condition | None:
    return next((c for c in conditions if c.type == type_ and c.status), None)
