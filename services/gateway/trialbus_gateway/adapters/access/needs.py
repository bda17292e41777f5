"""What every route needs of its caller, in one table.

A route that is not here is for administrators only, once the gateway asks who is calling; a test
walks the routes and fails for one without an entry.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from trialbus.kernel.access import Action


class Scope(Enum):
    """What of a request says whose it is."""

    OPEN = "open"  # nothing: also callers without a token are answered
    ANYONE = "anyone"  # nothing, but somebody must be known
    NAMESPACE = "namespace"  # `{namespace}` of the path
    NAMED = "named"  # `{name}` of the path is a namespace
    LISTED = "listed"  # `?namespace=`, else all that the caller sees
    TRIAL = "trial"  # `{trial}` of the path: the name of a trial of some namespace
    ATTEMPT = "attempt"  # as TRIAL, and only the trial's own token of `{attempt}`
    EACH = "each"  # the body, word by word: the guarded bus judges each of them
    INSTALLATION = "installation"  # the whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """actions: by method; any of them is enough."""

    scope: Scope
    actions: Mapping[str, frozenset[Action]]


_WRITES = ("POST", "PUT", "PATCH", "DELETE")


def _need(scope: Scope, **actions: Action | tuple[Action, ...]) -> Need:
    told = {"GET": Action.READ, **dict.fromkeys(_WRITES, Action.COMMAND), **actions}
    sets = {
        method: frozenset(it if isinstance(it, tuple) else (it,)) for method, it in told.items()
    }
    return Need(scope=scope, actions={**sets, "HEAD": sets["GET"]})


_ANY = tuple(Action)
_OPEN = _need(Scope.OPEN)
_ANYONE = _need(Scope.ANYONE, GET=_ANY, POST=_ANY)
_LISTED = _need(Scope.LISTED)
# A question may also be posted.
_ASKED = _need(Scope.LISTED, POST=Action.READ)
_OWN = _need(Scope.NAMESPACE)
_WORK = _need(Scope.NAMESPACE, POST=Action.WORK)
_TRIAL = _need(Scope.TRIAL, POST=(Action.WORK, Action.REPORT))
_ATTEMPT = _need(Scope.ATTEMPT, POST=Action.REPORT)
_OPERATE = _need(Scope.INSTALLATION, GET=Action.OPERATE, **dict.fromkeys(_WRITES, Action.OPERATE))

_EXPERIMENT = "/v1/namespaces/{namespace}/experiments/{name}"
_CORE = "/api/v1/namespaces/{namespace}"
_JOBS = "/apis/batch/v1/namespaces/{namespace}/jobs"
_KATIB = "/apis/kubeflow.org/v1beta1/namespaces/{namespace}/{resource}"
_REVIEWS = "/apis/authorization.k8s.io/v1"
_SERIES = "/prometheus/api/v1"

NEEDS: Mapping[str, Need] = {
    "/healthz": _OPEN,
    "/readyz": _OPEN,
    "/metrics": _OPERATE,
    # REST
    "/v1/status": _ANYONE,
    "/v1/identity": _ANYONE,
    "/v1/openapi.json": _ANYONE,
    "/v1/experiments": _LISTED,
    "/v1/suggestions": _LISTED,
    "/v1/trials": _LISTED,
    _EXPERIMENT: _OWN,
    f"{_EXPERIMENT}/progress": _OWN,
    f"{_EXPERIMENT}/events": _OWN,
    f"{_EXPERIMENT}/explain": _OWN,
    f"{_EXPERIMENT}/suggestion": _OWN,
    f"{_EXPERIMENT}/suggestions": _OWN,
    f"{_EXPERIMENT}/trials": _OWN,
    f"{_EXPERIMENT}/metrics": _OWN,
    f"{_EXPERIMENT}/suspend": _OWN,
    f"{_EXPERIMENT}/resume": _OWN,
    f"{_EXPERIMENT}/stop": _OWN,
    f"{_EXPERIMENT}/ask": _WORK,
    f"{_EXPERIMENT}/report": _need(Scope.NAMESPACE, POST=(Action.WORK, Action.REPORT)),
    f"{_EXPERIMENT}/heartbeat": _WORK,
    f"{_EXPERIMENT}/tell": _WORK,
    f"{_EXPERIMENT}/release": _WORK,
    "/v1/trials/{trial}": _TRIAL,
    "/v1/trials/{trial}/log": _TRIAL,
    "/v1/trials/{trial}/metrics": _TRIAL,
    "/v1/trials/{trial}/explain": _TRIAL,
    "/v1/trials/{trial}/attempts/{attempt}/claim": _ATTEMPT,
    "/v1/trials/{trial}/attempts/{attempt}/output": _ATTEMPT,
    "/v1/webhooks": _OPERATE,
    "/v1/events": _need(Scope.EACH, POST=(Action.COMMAND, Action.WORK, Action.REPORT)),
    # Prometheus' read API: series of the namespaces that the caller sees
    f"{_SERIES}/query": _ASKED,
    f"{_SERIES}/query_range": _ASKED,
    f"{_SERIES}/series": _ASKED,
    f"{_SERIES}/labels": _ANYONE,
    f"{_SERIES}/label/{{label}}/values": _LISTED,
    f"{_SERIES}/metadata": _ANYONE,
    f"{_SERIES}/status/buildinfo": _ANYONE,
    # Kubernetes: what the API server tells everybody, too, and the rest of discovery
    "/version": _OPEN,
    "/livez": _OPEN,
    "/api": _ANYONE,
    "/apis": _ANYONE,
    "/apis/{group}": _ANYONE,
    "/api/v1": _ANYONE,
    "/apis/kubeflow.org/v1beta1": _ANYONE,
    "/apis/batch/v1": _ANYONE,
    "/apis/authorization.k8s.io/v1": _ANYONE,
    "/openapi/v2": _ANYONE,
    "/openapi/v3": _ANYONE,
    "/openapi/v3/{path:path}": _ANYONE,
    f"{_REVIEWS}/selfsubjectaccessreviews": _ANYONE,
    f"{_REVIEWS}/selfsubjectrulesreviews": _ANYONE,
    # Kubernetes' own kinds
    "/api/v1/namespaces": _need(Scope.EACH),
    "/api/v1/namespaces/{name}": _need(Scope.NAMED),
    "/api/v1/pods": _LISTED,
    "/api/v1/events": _LISTED,
    "/api/v1/persistentvolumeclaims": _LISTED,
    f"{_CORE}/pods": _OWN,
    f"{_CORE}/pods/{{name}}": _OWN,
    f"{_CORE}/pods/{{name}}/log": _OWN,
    f"{_CORE}/events": _OWN,
    f"{_CORE}/events/{{name}}": _OWN,
    f"{_CORE}/persistentvolumeclaims": _OWN,
    f"{_CORE}/persistentvolumeclaims/{{name}}": _OWN,
    "/apis/batch/v1/jobs": _LISTED,
    _JOBS: _OWN,
    f"{_JOBS}/{{name}}": _OWN,
    # Katib's
    "/apis/kubeflow.org/v1beta1/{resource}": _LISTED,
    _KATIB: _OWN,
    f"{_KATIB}/{{name}}": _OWN,
    f"{_KATIB}/{{name}}/status": _OWN,
}


def need_of(path: str) -> Need:
    return NEEDS.get(path, _OPERATE)
