"""The columns of Kubernetes' own kinds, as its API server defines them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from trialbus.kernel.timestamps import rfc3339_seconds
from trialbus_gateway.adapters.kubernetes.pod_objects import shown_state

Json = Any
Object = Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """cell: of an object, at a time. priority: 0 is always shown, 1 in wide tables."""

    name: str
    cell: Callable[[Object, float], Json]
    type: str = "string"
    format: str = ""
    priority: int = 0

    @property
    def definition(self) -> dict[str, Json]:
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.name,
            "priority": self.priority,
        }


def age_text(lasted_s: float) -> str:
    """apimachinery's duration.HumanDuration: two units at most, fewer the longer it is."""
    seconds = int(lasted_s)
    if seconds < 0:
        return "0s"
    if seconds < 120:
        return f"{seconds}s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if minutes < 10:
        return _two(minutes, "m", seconds % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return _two(days, "d", hours % 24, "h")
    if days < 730:
        return f"{days}d"
    years = days // 365
    return _two(years, "y", days % 365, "d") if years < 8 else f"{years}y"


def _two(large: int, unit: str, small: int, small_unit: str) -> str:
    return f"{large}{unit}{small}{small_unit}" if small else f"{large}{unit}"


def _since(text: Json, now: float) -> str:
    at = rfc3339_seconds(text) if isinstance(text, str) else None
    return "<unknown>" if at is None else age_text(now - at)


def _name(view: Object, _now: float) -> Json:
    return view["metadata"]["name"]


def _age(view: Object, now: float) -> str:
    return _since(view["metadata"].get("creationTimestamp"), now)


def _ready(view: Object, _now: float) -> str:
    statuses = view["status"]["containerStatuses"]
    return f"{sum(bool(it['ready']) for it in statuses)}/{len(statuses)}"


def _restarts(view: Object, _now: float) -> str:
    counts = [it["restartCount"] for it in view["status"]["containerStatuses"]]
    return str(max(counts, default=0))


def _job_status(view: Object, _now: float) -> str:
    status = view["status"]
    holding = [it["type"] for it in status.get("conditions", []) if it["status"] == "True"]
    return str(holding[-1]) if holding else "Running"


def _job_duration(view: Object, now: float) -> str:
    status = view["status"]
    started_at = rfc3339_seconds(status.get("startTime") or "")
    if started_at is None:
        return ""
    ends = [status.get("completionTime")]
    ends += [it.get("lastTransitionTime") for it in status.get("conditions", [])]
    ended_at = next((rfc3339_seconds(text) for text in ends if text), None)
    return age_text((now if ended_at is None else ended_at) - started_at)


def _of_containers(field: str) -> Callable[[Object, float], Json]:
    def cell(view: Object, _now: float) -> str:
        return ",".join(it[field] for it in view["spec"]["template"]["spec"]["containers"])

    return cell


def _involved(view: Object, _now: float) -> str:
    involved = view["involvedObject"]
    return f"{involved['kind'].lower()}/{involved['name']}"


_NAME = Column(name="Name", cell=_name, format="name")
_AGE = Column(name="Age", cell=_age)

POD_COLUMNS = (
    _NAME,
    Column(name="Ready", cell=_ready),
    Column(name="Status", cell=lambda view, _now: shown_state(view)),
    Column(name="Restarts", cell=_restarts),
    _AGE,
    Column(name="IP", cell=lambda view, _now: view["status"].get("podIP", "<none>"), priority=1),
    Column(name="Node", cell=lambda view, _now: view["spec"].get("nodeName", "<none>"), priority=1),
)
JOB_COLUMNS = (
    _NAME,
    Column(name="Status", cell=_job_status),
    Column(name="Completions", cell=lambda view, _now: f"{view['status'].get('succeeded', 0)}/1"),
    Column(name="Duration", cell=_job_duration),
    _AGE,
    Column(name="Containers", cell=_of_containers("name"), priority=1),
    Column(name="Images", cell=_of_containers("image"), priority=1),
)
NAMESPACE_COLUMNS = (
    _NAME,
    Column(name="Status", cell=lambda view, _now: view["status"]["phase"]),
    _AGE,
)
EVENT_COLUMNS = (
    Column(name="Last Seen", cell=lambda view, now: _since(view["lastTimestamp"], now)),
    Column(name="Type", cell=lambda view, _now: view["type"]),
    Column(name="Reason", cell=lambda view, _now: view["reason"]),
    Column(name="Object", cell=_involved),
    Column(name="Subobject", cell=lambda _view, _now: "", priority=1),
    Column(name="Source", cell=lambda view, _now: view["source"]["component"], priority=1),
    Column(name="Message", cell=lambda view, _now: view["message"]),
    Column(
        name="First Seen", cell=lambda view, now: _since(view["firstTimestamp"], now), priority=1
    ),
    Column(name="Count", cell=lambda view, _now: str(view["count"]), priority=1),
    Column(name="Name", cell=_name, format="name", priority=1),
)
CLAIM_COLUMNS = (
    _NAME,
    Column(name="Status", cell=lambda view, _now: view["status"]["phase"]),
    Column(name="Volume", cell=lambda view, _now: view["spec"]["volumeName"]),
    Column(name="Capacity", cell=lambda view, _now: view["status"]["capacity"]["storage"]),
    Column(name="Access Modes", cell=lambda _view, _now: "RWO"),
    _AGE,
)
