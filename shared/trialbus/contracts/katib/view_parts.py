"""What the views of all kinds have in common: times, conditions, assignments, the owner."""

from collections.abc import Sequence
from typing import Any

from trialbus.contracts.katib.models import API_VERSION
from trialbus.contracts.katib.times import rfc3339
from trialbus.kernel.conditions import Conditions
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.ids import trial_name
from trialbus.kernel.lineage import parent_label
from trialbus.kernel.trial import Assignment, Trial

Json = Any
Object = dict[str, Json]


def copied_metadata(experiment: Experiment) -> Object:
    """Labels and annotations go from an experiment to its Suggestion and trials."""
    metadata = experiment.source.get("metadata", {})
    return {name: metadata[name] for name in ("labels", "annotations") if metadata.get(name)}


def algorithms_labels(trial: Trial) -> dict[str, str]:
    """What its algorithm marked it with, and the name of the trial that it goes on from."""
    labels = dict(trial.labels)
    if trial.parent is not None:
        parent = trial_name(trial.experiment, trial.uid, trial.parent)
        labels[parent_label(labels)] = parent
    return labels


def owner_of(experiment: Experiment) -> Object:
    return {
        "apiVersion": API_VERSION,
        "kind": "Experiment",
        "name": experiment.name,
        "uid": experiment.id,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def spec_of(experiment: Experiment) -> Object:
    """As applied, with defaults; it may have been suspended and resumed by command since."""
    spec = dict(experiment.source.get("spec", {}))
    if experiment.spec.suspend or "suspend" in spec:
        spec["suspend"] = experiment.spec.suspend
    return spec


def without_empty(fields: Object) -> Object:
    """Go's omitempty."""
    return {name: value for name, value in fields.items() if value not in (None, [], 0, "")}


def shown_assignments(assignments: Sequence[Assignment]) -> list[Object]:
    return [{"name": item.name, "value": item.value} for item in assignments]


def shown_conditions(conditions: Conditions) -> list[Object]:
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
