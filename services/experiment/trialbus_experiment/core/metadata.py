"""The object that an edit leaves: what users wrote, as it stays in the experiment's document."""

from collections.abc import Mapping
from typing import Any

from trialbus.kernel.errors import Problem, Refused

Object = dict[str, Any]

_OUR_PREFIX = "trialbus.io/"
_KEPT = ("labels", "annotations")
MANAGED_FIELDS = "managedFields"
# What an edit may change without the whole object: of `spec`, `goal` of `spec.objective`, and two
# annotations.
_BUDGETS_OF_TIME = {
    "maxDuration": "trialbus.io/max-duration",
    "maxResourceSeconds": "trialbus.io/max-resource-seconds",
}
BUDGETS = ("parallelTrialCount", "maxTrialCount", "maxFailedTrialCount", "goal", *_BUDGETS_OF_TIME)


def with_kept_metadata(obj: Mapping[str, Any], source: Mapping[str, Any]) -> Object:
    """A file that is applied says what is to be, not who else may mark the experiment: labels and
    annotations that it lacks stay. But ours are orders: one that it lacks is withdrawn."""
    given, old = obj.get("metadata"), source.get("metadata") or {}
    if not isinstance(given, Mapping):
        return dict(obj)  # refused later, with the other problems
    metadata = {**old, **given}
    for name in _KEPT:
        new = given.get(name)
        if new is not None and not isinstance(new, Mapping):
            continue
        kept = {key: it for key, it in (old.get(name) or {}).items() if not _is_order(key)}
        metadata[name] = {**kept, **(new or {})}
        if not metadata[name]:
            del metadata[name]
    return {**obj, "metadata": metadata}


def with_managed_fields(source: Mapping[str, Any], fields: list[Object] | None) -> Object:
    """fields: None or empty: nothing is known of who wrote what."""
    metadata = {key: it for key, it in source.get("metadata", {}).items() if key != MANAGED_FIELDS}
    if fields:
        metadata[MANAGED_FIELDS] = fields
    return {**source, "metadata": metadata}


def with_suspend(source: Mapping[str, Any], suspended: bool) -> Object:
    spec = {key: it for key, it in source.get("spec", {}).items() if key != "suspend"}
    return {**source, "spec": {**spec, "suspend": True} if suspended else spec}


def with_budget(source: Mapping[str, Any], changes: Mapping[str, Any]) -> Object:
    """changes: names of `BUDGETS` -> values; None: as if it had not been given. Raises Refused for
    other names; values are judged with the whole."""
    problems = [
        Problem(field=f"edit.{name}", message=f"is none of {', '.join(BUDGETS)}")
        for name in changes
        if name not in BUDGETS
    ]
    if problems:
        raise Refused(problems)
    spec, metadata = dict(source.get("spec", {})), dict(source.get("metadata", {}))
    for name, value in changes.items():
        if name in _BUDGETS_OF_TIME:
            text = value if value is None else str(value)
            annotations = metadata.get("annotations") or {}
            metadata["annotations"] = _with(annotations, _BUDGETS_OF_TIME[name], text)
        elif name == "goal":
            spec["objective"] = _with(spec.get("objective") or {}, name, value)
        else:
            spec = _with(spec, name, value)
    return {**source, **({"metadata": metadata} if metadata else {}), "spec": spec}


def _with(fields: Mapping[str, Any], name: str, value: Any) -> Object:
    others = {key: it for key, it in fields.items() if key != name}
    return others if value is None else {**others, name: value}


def same_spec(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether users wrote the same. `suspend` is compared as what it means, elsewhere."""
    return bool(with_suspend(one, False)["spec"] == with_suspend(other, False)["spec"])


def same_metadata(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return bool(one.get("metadata", {}) == other.get("metadata", {}))


def _is_order(key: str) -> bool:
    return key.startswith(_OUR_PREFIX)
