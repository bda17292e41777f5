"""What the store holds -> Katib's v1beta1 objects, as people and clients see them.

Lists of names are complete up to `MAX_STATUS_NAMES`, then the newest; counters are always exact.
Like Katib's they leave out what is empty or zero, but for a completionTime that is yet to come,
which is null (a Suggestion never has one). They keep to the models in models.py. A view shares
parts with the document that it is of: read it, do not change it.
"""

from collections.abc import Collection, Mapping, Sequence

from trialbus.contracts.katib.models import API_VERSION
from trialbus.contracts.katib.suggestion_views import suggested, suggestion_view
from trialbus.contracts.katib.times import rfc3339, rfc3339_or_none
from trialbus.contracts.katib.view_parts import (
    Object,
    algorithms_labels,
    copied_metadata,
    owner_of,
    shown_assignments,
    shown_conditions,
    spec_of,
    without_empty,
)
from trialbus.kernel.conditions import Conditions, set_condition
from trialbus.kernel.errors import Refused
from trialbus.kernel.experiment import BestTrial, Experiment
from trialbus.kernel.ids import trial_name
from trialbus.kernel.limits import MAX_STATUS_NAMES
from trialbus.kernel.measurements import format_value
from trialbus.kernel.run import Run, is_told_running
from trialbus.kernel.templates import TrialIdentity, render_object
from trialbus.kernel.trial import MetricValues, Trial, TrialPhase

__all__ = [
    "EXPERIMENT_LABEL",
    "UNAVAILABLE",
    "ended_lists",
    "experiment_view",
    "shows_running",
    "suggested",
    "suggestion_view",
    "trial_view",
]

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
        "spec": spec_of(experiment),
        "status": _experiment_status(experiment, running, trials_by_phase or {}),
    }


def trial_view(trial: Trial, experiment: Experiment, run: Run | None = None) -> Object:
    """The Trial. run: of its newest attempt; it tells whether an open trial is running."""
    started_at = trial.started_at if run is None or trial.ended else run.started_at
    status: Object = {
        "startTime": rfc3339(trial.created_at if started_at is None else started_at),
        "completionTime": rfc3339_or_none(trial.completed_at),
        "conditions": shown_conditions(_trial_conditions(trial, run)),
    }
    if (observation := _observation(trial, experiment)) is not None:
        status["observation"] = observation
    labels = {
        **copied_metadata(experiment).get("labels", {}),
        **algorithms_labels(trial),
        EXPERIMENT_LABEL: experiment.name,
    }
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
            "ownerReferences": [owner_of(experiment)],
        },
        "spec": _trial_spec(trial, experiment),
        "status": status,
    }


def shows_running(trial: Trial, run: Run) -> bool:
    """Whether a Trial is told to be running."""
    return not trial.ended and is_told_running(run.phase, run.started_at, run.stop_reason)


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
        "conditions": shown_conditions(experiment.conditions),
        "currentOptimalTrial": _optimal_trial(experiment.best, experiment),
        "runningTrialList": run_now[-MAX_STATUS_NAMES:],
        "pendingTrialList": waiting[-MAX_STATUS_NAMES:],
        "trials": experiment.next_index,
        "trialsRunning": len(run_now),
        "trialsPending": len(waiting),
    }
    for _, _, counter, attribute in _CLOSED:
        status[counter] = getattr(experiment.counts, attribute)
    return {
        **without_empty(status),
        **ended_lists(trials_by_phase),
        "completionTime": rfc3339_or_none(experiment.completed_at),
    }


def ended_lists(trials_by_phase: Mapping[TrialPhase, Sequence[str]]) -> Object:
    """What the status of an Experiment holds of the names of ended trials, oldest first."""
    lists = {
        list_name: list(trials_by_phase.get(phase, ()))[-MAX_STATUS_NAMES:]
        for phase, list_name, _, _ in _CLOSED
    }
    return without_empty(lists)


def _name(experiment: Experiment, index: int) -> str:
    return trial_name(experiment.name, experiment.id, index)


def _optimal_trial(best: BestTrial | None, experiment: Experiment) -> Object:
    """An empty observation when there is none, as Katib writes it."""
    if best is None:
        return {"observation": {}}
    return {
        "bestTrialName": best.name,
        "parameterAssignments": shown_assignments(best.assignments),
        "observation": {"metrics": _metrics(best.observation, experiment)},
    }


def _metrics(values: Sequence[MetricValues], experiment: Experiment) -> list[Object]:
    """Metrics that the experiment names but the trial never told are there as unavailable."""
    shown = [
        {
            "name": metric.name,
            "min": format_value(metric.min) if metric.has_numbers else UNAVAILABLE,
            "max": format_value(metric.max) if metric.has_numbers else UNAVAILABLE,
            "latest": metric.text or format_value(metric.latest),
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
        "parameterAssignments": shown_assignments(trial.assignments),
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
    return without_empty(spec)


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
