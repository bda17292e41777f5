"""Objects as rows, as `kubectl get` asks for them."""

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from pydantic_core import to_json
from tests.cluster.double.calls import Call
from tests.cluster.double.reading import ListResult
from tests.cluster.double.state import Stored

Object = dict[str, Any]
Cells = Callable[[Object, float], list[Any]]


def wants_table(accept: str) -> bool:
    return "as=Table" in accept


def age(text: str | None, now: float) -> str:
    """As kubectl shows it: 5s, 3m20s, 12m, 3h4m, 5h, 2d."""
    if not text:
        return "<unknown>"
    seconds = max(0, int(now - datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    return f"{hours}h" if hours < 48 else f"{days}d"


def _column(name: str, kind: str = "string", priority: int = 0, form: str = "") -> Object:
    return {"name": name, "type": kind, "format": form, "description": "", "priority": priority}


_NAME = _column("Name", form="name")
_AGE = _column("Age")


def _plain(obj: Object, now: float) -> list[Any]:
    return [obj["metadata"]["name"], age(obj["metadata"].get("creationTimestamp"), now)]


def pod_reason(pod: Object) -> str:
    """The STATUS column."""
    status, meta = pod.get("status") or {}, pod["metadata"]
    reason = str(status.get("reason") or status.get("phase") or "Unknown")
    for i, container in enumerate(status.get("initContainerStatuses") or ()):
        state = container.get("state") or {}
        ended = state.get("terminated")
        if (ended and ended["exitCode"] == 0) or container.get("started"):
            continue
        total = len(pod["spec"].get("initContainers") or ())
        word = (ended or state.get("waiting") or {}).get("reason")
        return f"Init:{word}" if word and word != "PodInitializing" else f"Init:{i}/{total}"
    for container in status.get("containerStatuses") or ():
        state = container.get("state") or {}
        for part in ("waiting", "terminated"):
            if (state.get(part) or {}).get("reason"):
                reason = state[part]["reason"]
    return "Terminating" if "deletionTimestamp" in meta else reason


def _pod(obj: Object, now: float) -> list[Any]:
    statuses = (obj.get("status") or {}).get("containerStatuses") or []
    ready = sum(1 for s in statuses if s.get("ready"))
    restarts = sum(s.get("restartCount", 0) for s in statuses)
    name, old = _plain(obj, now)
    total = len(obj["spec"]["containers"])
    return [name, f"{ready}/{total}", pod_reason(obj), restarts, old]


def _job(obj: Object, now: float) -> list[Any]:
    spec, status = obj["spec"], obj.get("status") or {}
    name, old = _plain(obj, now)
    done = f"{status.get('succeeded', 0)}/{spec.get('completions', 1)}"
    taken = ""
    if status.get("startTime"):
        end = status.get("completionTime")
        until = datetime.fromisoformat(end.replace("Z", "+00:00")).timestamp() if end else now
        taken = age(status["startTime"], until)
    return [name, _job_word(obj), done, taken, old]


def _job_word(obj: Object) -> str:
    told = (obj.get("status") or {}).get("conditions") or ()
    true = {condition["type"] for condition in told if condition["status"] == "True"}
    for word in ("Complete", "Failed"):
        if word in true:
            return word
    if "deletionTimestamp" in obj["metadata"]:
        return "Terminating"
    later = ("Suspended", "FailureTarget", "SuccessCriteriaMet")
    return next((word for word in later if word in true), "Running")


def _event(obj: Object, now: float) -> list[Any]:
    about = obj.get("involvedObject") or {}
    target = f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}"
    seen = obj.get("lastTimestamp") or obj["metadata"]["creationTimestamp"]
    return [age(seen, now), obj.get("type"), obj.get("reason"), target, obj.get("message")]


def _namespace(obj: Object, now: float) -> list[Any]:
    name, old = _plain(obj, now)
    return [name, obj["status"]["phase"], old]


_KNOWN: dict[str, tuple[list[Object], Cells]] = {
    "pods": (
        [_NAME, _column("Ready"), _column("Status"), _column("Restarts"), _AGE],
        _pod,
    ),
    "jobs": (
        [_NAME, _column("Status"), _column("Completions"), _column("Duration"), _AGE],
        _job,
    ),
    "events": (
        [_column(name) for name in ("Last Seen", "Type", "Reason", "Object", "Message")],
        _event,
    ),
    "namespaces": ([_NAME, _column("Status"), _AGE], _namespace),
}
_STEP = re.compile(
    r"\.?([^.\[\]]+)|\[\?\(@\.(\w+)\s*==\s*[\"']([^\"']*)[\"']\)\]|\[(-?\d*:-?\d*|\d+|\*)\]"
)


def json_path(obj: Any, path: str) -> Any:
    """`.status.conditions[?(@.type=="Ready")].status` and the like; None where nothing is."""
    found = [obj]
    for key, attribute, wanted, index in _STEP.findall(path):
        step: list[Any] = []
        for value in found:
            if key and isinstance(value, dict):
                step += [value[key]] if key in value else []
            elif attribute and isinstance(value, list):
                step += [item for item in value if str(item.get(attribute)) == wanted]
            elif ":" in index and isinstance(value, list):
                first, last = (int(end) if end else None for end in index.split(":"))
                step += value[first:last]
            elif index and isinstance(value, list):
                step += value if index == "*" else value[int(index) : int(index) + 1]
        found = step
    return found[0] if found else None


def _custom(columns: Sequence[Object]) -> tuple[list[Object], Cells]:
    heads = [
        _column(c["name"], c["type"], c.get("priority", 0), c.get("format", "")) for c in columns
    ]

    def cells(obj: Object, now: float) -> list[Any]:
        row: list[Any] = [obj["metadata"]["name"]]
        for column in columns:
            value = json_path(obj, column["jsonPath"])
            if column["type"] == "date":
                value = age(value, now) if value else None
            elif column["type"] == "string" and value is not None and not isinstance(value, str):
                value = to_json(value).decode()
            row.append(value)
        return row

    return [_NAME, *heads], cells


def _layout(call: Call) -> tuple[list[Object], Cells]:
    if call.kind.builtin:
        return _KNOWN.get(call.kind.plural, ([_NAME, _AGE], _plain))
    if call.version.columns:
        return _custom(call.version.columns)
    return [_NAME, _AGE], _plain


def table(call: Call, stored: Sequence[Stored], meta: Object, now: float) -> bytes:
    heads, cells = _layout(call)
    with_object = call.query.get("includeObject", "Metadata")
    rows = [_row(item.obj, cells(item.obj, now), with_object) for item in stored]
    return to_json(
        {
            "kind": "Table",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": meta,
            "columnDefinitions": heads,
            "rows": rows,
        }
    )


def _row(obj: Object, cells: list[Any], with_object: str) -> Object:
    row: Object = {"cells": cells}
    if with_object == "Object":
        row["object"] = obj
    elif with_object == "Metadata":
        partial = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
        row["object"] = {**partial, "metadata": obj["metadata"]}
    return row


def list_table(call: Call, result: ListResult, now: float) -> bytes:
    return table(call, result.items, result.meta(), now)


def object_table(call: Call, stored: Stored, now: float) -> bytes:
    meta = {"resourceVersion": stored.obj["metadata"].get("resourceVersion", "")}
    return table(call, [stored], meta, now)
