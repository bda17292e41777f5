"""What is written to a cluster for an experiment: objects, their status, refusals, events."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from trialbus.kernel.errors import Problem
from trialbus.kernel.limits import MAX_MESSAGE_CHARS
from trialbus_gateway.core.custom_resources import UID_ANNOTATION, digest, without_null

Object = dict[str, Any]

# etcd takes 1.5 MB for an object, and the server keeps a name for each field beside it.
MAX_STATUS_BYTES = 400_000
MAX_REFUSAL_CHARS = 16 * 1024
# Katib's reason for an experiment that failed; it has none for one that its webhook refuses.
REFUSED_REASON = "ExperimentFailed"
EDIT_REFUSED = "EditRefused"
COMPONENT = "trialbus-gateway"


def experiment_object(view: Mapping[str, Any]) -> Object:
    """For an experiment that came otherwise."""
    metadata = _named(view)
    annotations = metadata.get("annotations") or {}
    metadata["annotations"] = {**annotations, UID_ANNOTATION: view["metadata"]["uid"]}
    return _object(view, metadata)


def child_object(view: Mapping[str, Any], owner: Mapping[str, Any]) -> Object:
    """A Suggestion or Trial: it goes with its Experiment's object, and holds nobody up."""
    metadata = _named(view)
    metadata["ownerReferences"] = [
        {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            "controller": True,
        }
    ]
    return _object(view, metadata)


def _named(view: Mapping[str, Any]) -> Object:
    given = view["metadata"]
    kept = ("name", "namespace", "labels", "annotations")
    return {name: given[name] for name in kept if given.get(name)}


def _object(view: Mapping[str, Any], metadata: Object) -> Object:
    return {
        "apiVersion": view["apiVersion"],
        "kind": view["kind"],
        "metadata": metadata,
        "spec": without_null(view["spec"]),
    }


def status_of(view: Mapping[str, Any]) -> Object:
    """As it is kept: without null, and of long lists the newest that there is room for."""
    status: Object = without_null(view.get("status") or {})
    while _size(status) > MAX_STATUS_BYTES:
        name = max(_lists(status), key=lambda it: _size(status[it]), default=None)
        if name is None:
            return status
        status = {**status, name: status[name][(len(status[name]) + 1) // 2 :]}
    return status


def _lists(status: Mapping[str, Any]) -> list[str]:
    return [
        name
        for name, value in status.items()
        if isinstance(value, list) and value and name != "conditions"
    ]


def _size(value: object) -> int:
    return len(json.dumps(value))


def refused_status(problems: Sequence[Problem], at: str) -> Object:
    """Of an object that no experiment was made of. at: since when, RFC 3339."""
    message = f"Experiment is refused: {told(problems)}"
    return {"conditions": [_condition("Failed", REFUSED_REASON, message, at)]}


def with_refused_edit(status: Mapping[str, Any], problems: Sequence[Problem], at: str) -> Object:
    """Before the last condition, which is the state: the experiment goes on as it was."""
    conditions = list(status.get("conditions") or ())
    message = f"The edit is refused, the experiment goes on as it was: {told(problems)}"
    refused = _condition(EDIT_REFUSED, EDIT_REFUSED, message, at)
    return {**status, "conditions": [*conditions[:-1], refused, *conditions[-1:]]}


def told(problems: Sequence[Problem]) -> str:
    return "; ".join(map(str, problems))[:MAX_REFUSAL_CHARS]


def _condition(type_: str, reason: str, message: str, at: str) -> Object:
    return {
        "type": type_,
        "status": "True",
        "reason": reason,
        "message": message,
        "lastUpdateTime": at,
        "lastTransitionTime": at,
    }


def refusal_event(
    resource: Mapping[str, Any], reason: str, problems: Sequence[Problem], at: str
) -> Object:
    """Its name says what is told, so that telling it again makes no other."""
    metadata, message = resource["metadata"], told(problems)
    mark = digest([metadata["uid"], reason, message])[:16]
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata['name']}.{mark}", "namespace": metadata["namespace"]},
        "involvedObject": {
            "apiVersion": resource["apiVersion"],
            "kind": resource["kind"],
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
        },
        "type": "Warning",
        "reason": reason,
        "message": message[:MAX_MESSAGE_CHARS],
        "source": {"component": COMPONENT},
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    }
