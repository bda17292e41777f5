"""The cluster's Experiment objects beside the store's, compared.

What a person wrote in an object is its spec, labels and annotations, but for those that kubectl and
we keep there ourselves; a check sum of that tells whether somebody has edited the object.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from trialbus.kernel.limits import DEFAULT_PARALLEL_TRIAL_COUNT

Object = dict[str, Any]

# On objects that are made of experiments which came otherwise: whose they are.
UID_ANNOTATION = "trialbus.io/uid"
# Katib's own, left by it on objects that nobody but Katib would let go of.
KATIB_FINALIZER = "update-prometheus-metrics"
_NOT_WRITTEN = frozenset({UID_ANNOTATION, "kubectl.kubernetes.io/last-applied-configuration"})
# What can be edited, with what it is when it is left out.
_EDITABLE: Mapping[str, Any] = {
    "parallelTrialCount": DEFAULT_PARALLEL_TRIAL_COUNT,
    "maxTrialCount": None,
    "maxFailedTrialCount": None,
    "suspend": False,
}
_ENDS = ("Succeeded", "Failed")


def written(resource: Mapping[str, Any]) -> Object:
    """The Experiment that a person means by this object."""
    given: Mapping[str, Any] = resource["metadata"]
    metadata: Object = {"name": given["name"], "namespace": given["namespace"]}
    labels = dict(given.get("labels") or {})
    annotations = {
        name: text
        for name, text in (given.get("annotations") or {}).items()
        if name not in _NOT_WRITTEN
    }
    if labels:
        metadata["labels"] = labels
    if annotations:
        metadata["annotations"] = annotations
    return {
        "apiVersion": resource["apiVersion"],
        "kind": resource["kind"],
        "metadata": metadata,
        "spec": resource.get("spec") or {},
    }


def digest(obj: object) -> str:
    """A check sum of any JSON."""
    text = json.dumps(obj, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def written_digest(resource: Mapping[str, Any]) -> str:
    return digest(written(resource))


def is_over(resource: Mapping[str, Any]) -> bool:
    """Whether its status says that the experiment has ended."""
    conditions = (resource.get("status") or {}).get("conditions") or ()
    return any(it.get("type") in _ENDS and it.get("status") == "True" for it in conditions)


def is_leaving(resource: Mapping[str, Any]) -> bool:
    """Deleted, and held by somebody's finalizer."""
    return bool(resource["metadata"].get("deletionTimestamp"))


def without_katibs_finalizer(resource: Mapping[str, Any]) -> list[str] | None:
    """The finalizers that stay; None: there is nothing to take away."""
    held = list(resource["metadata"].get("finalizers") or ())
    kept = [name for name in held if name != KATIB_FINALIZER]
    return None if kept == held else kept


def edits(resource: Mapping[str, Any], source: Mapping[str, Any]) -> Object:
    """The merge patch that gives an object what was edited otherwise; {}: nothing was.

    source: the experiment's object, with its defaults, as the store has it now."""
    spec = _spec_edits(resource.get("spec") or {}, source.get("spec") or {})
    mine, theirs = written(resource)["metadata"], source.get("metadata") or {}
    metadata = {
        field: found
        for field in ("labels", "annotations")
        if (found := merge_diff(mine.get(field) or {}, theirs.get(field) or {}))
    }
    patch = {"spec": spec, "metadata": metadata}
    return {name: part for name, part in patch.items() if part}


def _spec_edits(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> Object:
    found = {
        name: theirs.get(name)
        for name, default in _EDITABLE.items()
        if _value(mine, name, default) != _value(theirs, name, default)
    }
    goal = (theirs.get("objective") or {}).get("goal")
    if (mine.get("objective") or {}).get("goal") != goal:
        found["objective"] = {"goal": goal}
    return found


def _value(spec: Mapping[str, Any], name: str, default: Any) -> Any:
    value = spec.get(name)
    return default if value is None else value


def merge_diff(before: Mapping[str, Any], after: Mapping[str, Any]) -> Object:
    """The merge patch (RFC 7386) from one object to the other. Neither holds null."""
    patch: Object = dict.fromkeys(name for name in before if name not in after)
    for name, value in after.items():
        old = before.get(name)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            if inner := merge_diff(old, value):
                patch[name] = inner
        elif name not in before or old != value:
            patch[name] = value
    return patch


def without_null(value: Any) -> Any:
    """As an API server keeps it: absent and null are the same there."""
    if isinstance(value, Mapping):
        return {name: without_null(it) for name, it in value.items() if it is not None}
    if isinstance(value, list | tuple):
        return [without_null(it) for it in value]
    return value
