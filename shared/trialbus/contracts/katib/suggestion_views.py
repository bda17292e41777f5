"""The Suggestion of an experiment, as Katib shows it. It is no document of its own: what is told
here follows from the experiment."""

from collections.abc import Sequence
from dataclasses import replace

from trialbus.contracts.katib.models import API_VERSION
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
from trialbus.kernel.conditions import Condition, Conditions, set_condition
from trialbus.kernel.experiment import SCHEDULING_PHASES, Experiment, ExperimentPhase
from trialbus.kernel.limits import MAX_STATUS_NAMES
from trialbus.kernel.spec import ResumePolicy
from trialbus.kernel.trial import Trial


def suggestion_view(
    experiment: Experiment,
    trials: Sequence[Trial] = (),
    settings: Sequence[tuple[str, str]] = (),
) -> Object:
    """The Suggestion of an experiment. trials: the newest ones, oldest first. settings: those that
    the algorithm gave back for its next request."""
    spec = spec_of(experiment)
    status: Object = {
        "startTime": rfc3339_or_none(experiment.started_at),
        "conditions": shown_conditions(_suggestion_conditions(experiment)),
        "suggestionCount": experiment.next_index,
        "algorithmSettings": [{"name": name, "value": value} for name, value in settings],
        **suggested(trials),
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
            **copied_metadata(experiment),
            "name": experiment.name,
            "namespace": experiment.namespace,
            "uid": f"{experiment.id}.suggestion",
            "resourceVersion": str(experiment.version),
            "creationTimestamp": rfc3339(experiment.created_at),
            "ownerReferences": [owner_of(experiment)],
        },
        "spec": without_empty(wanted),
        "status": without_empty(status),
    }


def suggested(trials: Sequence[Trial]) -> Object:
    """What the status of a Suggestion holds of the newest trials, oldest first."""
    shown = [
        {
            "name": trial.name,
            "parameterAssignments": shown_assignments(trial.assignments),
            **({"labels": labels} if (labels := algorithms_labels(trial)) else {}),
        }
        for trial in trials[-MAX_STATUS_NAMES:]
    ]
    return without_empty({"suggestions": shown})


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
    if experiment.look_ahead is not None or experiment.next_index:
        told += (_true("Running", "SuggestionRunning", "Suggestion is running", at),)
    if failed is not None and failed.message.startswith("Suggestion has failed"):
        return _failed(told, failed)
    if experiment.completed_at is None or experiment.phase is ExperimentPhase.DELETED:
        return _restarted(told, experiment)
    if experiment.spec.resume_policy is ResumePolicy.LONG_RUNNING:
        return told
    return _succeeded(told, experiment)


def _restarted(told: Conditions, experiment: Experiment) -> Conditions:
    """With `FromVolume` a Suggestion ends with its experiment and is made again with it."""
    restart = next((it for it in experiment.conditions if it.type == "Restarting"), None)
    if restart is None or experiment.spec.resume_policy is not ResumePolicy.FROM_VOLUME:
        return told
    at = restart.transitioned_at
    told = tuple(condition for condition in told if condition.type != "Running")
    running = _true("Running", "SuggestionRunning", "Suggestion is running", at)
    if not restart.status:
        return (*told, running)
    reason, message = "Experiment is restarting", "Suggestion is not running"
    return (*told, replace(running, status=False, reason=reason, message=message))


def _failed(told: Conditions, failed: Condition) -> Conditions:
    """If it ran, it does so no more, for the same reason as it did."""
    running = _of_type(told, "Running")
    if running is not None:
        told = tuple(condition for condition in told if condition is not running)
        at = failed.updated_at
        told += (replace(running, status=False, updated_at=at, transitioned_at=at),)
    return (*told, _true("Failed", "SuggestionFailed", failed.message, failed.updated_at))


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
