"""What a user may do, as `kubectl auth can-i` asks: judged by the rules that requests meet."""

import json
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trialbus.kernel.access import Action
from trialbus_gateway.adapters.answers_json import JsonAnswer
from trialbus_gateway.adapters.bodies import limited
from trialbus_gateway.adapters.kubernetes.protobuf_names import access_review_in, rules_review_in
from trialbus_gateway.app import reach
from trialbus_gateway.core.identities import Identity

API_VERSION = "authorization.k8s.io/v1"
_BASE = f"/apis/{API_VERSION}"
_READS = ("get", "list", "watch")
_WRITES = ("create", "update", "patch", "delete", "deletecollection")
# Lists over all namespaces hold what the caller sees of them.
_OVER_ALL = ("list", "watch")
_SHOWN = {
    "": ("namespaces", "pods", "pods/log", "events", "persistentvolumeclaims"),
    "batch": ("jobs",),
    "kubeflow.org": ("experiments", "trials", "suggestions"),
}
_PATHS = ("/api", "/api/*", "/apis", "/apis/*", "/livez", "/openapi", "/openapi/*", "/version")
_ADMINS = ("/metrics",)


class AccessReviews:
    def routes(self) -> list[Route]:
        return [
            Route(f"{_BASE}/selfsubjectaccessreviews", _allowed, methods=["POST"]),
            Route(f"{_BASE}/selfsubjectrulesreviews", _rules, methods=["POST"]),
        ]


async def _allowed(request: Request) -> Response:
    body, identity = await limited(request), reach.current()
    spec = access_review_in(body) or _spec(body)
    allowed = is_allowed(identity, spec)
    reason = f"{identity.name} is {identity.role} in {_where(identity)}"
    return _review("SelfSubjectAccessReview", spec, {"allowed": allowed, "reason": reason})


async def _rules(request: Request) -> Response:
    body, identity = await limited(request), reach.current()
    spec = rules_review_in(body) or _spec(body)
    namespace = str(spec.get("namespace") or "default")
    return _review("SelfSubjectRulesReview", spec, rules_of(identity, namespace))


def is_allowed(identity: Identity, spec: Mapping[str, Any]) -> bool:
    """spec: of a SelfSubjectAccessReview."""
    asked, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if isinstance(asked, Mapping):
        return _may(identity, asked)
    if isinstance(path, Mapping):
        return _may_open(identity, str(path.get("path", "")), str(path.get("verb", "")))
    return _is_unlimited(identity)


def rules_of(identity: Identity, namespace: str) -> dict[str, Any]:
    """The status of a SelfSubjectRulesReview."""
    if _is_unlimited(identity):
        return {
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": False,
        }
    may_read, may_write = _read_and_write(identity, namespace)
    rules = []
    for group, resources in _SHOWN.items() if may_read else ():
        rules.append({"verbs": [*_READS], "apiGroups": [group], "resources": [*resources]})
    if may_write:
        changed = {"verbs": [*_WRITES], "apiGroups": ["kubeflow.org"], "resources": ["experiments"]}
        rules.append(changed)
    return {
        "resourceRules": rules,
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": [*_PATHS]}],
        "incomplete": False,
    }


def _may(identity: Identity, asked: Mapping[str, Any]) -> bool:
    if _is_unlimited(identity):
        return True
    namespace, verb = str(asked.get("namespace") or ""), str(asked.get("verb") or "")
    group, resource = str(asked.get("group") or ""), str(asked.get("resource") or "")
    if group == "authorization.k8s.io":
        return verb == "create"
    if resource == "namespaces":
        namespace = str(asked.get("name") or namespace)
    if not namespace and verb not in _OVER_ALL and identity.is_limited:
        return False
    may_read, may_write = _read_and_write(identity, namespace)
    if verb in _READS:
        return may_read and resource.partition("/")[0] in _SHOWN.get(group, ())
    writable = (group, resource) in (("kubeflow.org", "experiments"), ("", "namespaces"))
    return may_write and writable and verb in _WRITES


def _may_open(identity: Identity, path: str, verb: str) -> bool:
    if _is_unlimited(identity):
        return True
    if verb != "get" or path in _ADMINS:
        return False
    return any(path == it or path.startswith(it[:-1]) for it in _PATHS if it == path or "*" in it)


def _read_and_write(identity: Identity, namespace: str) -> tuple[bool, bool]:
    """namespace: "" for all, of which one sees what is one's own."""
    if identity.trial is not None or (namespace and not identity.sees(namespace)):
        return False, False
    return identity.may(Action.READ), identity.may(Action.COMMAND)


def _is_unlimited(identity: Identity) -> bool:
    return not identity.is_limited and identity.may(Action.OPERATE)


def _where(identity: Identity) -> str:
    if identity.namespaces is None:
        return "all namespaces"
    return ", ".join(sorted(identity.namespaces))


def _review(kind: str, spec: Mapping[str, Any], status: Mapping[str, Any]) -> Response:
    answer = {
        "kind": kind,
        "apiVersion": API_VERSION,
        "metadata": {},
        "spec": spec,
        "status": status,
    }
    return JsonAnswer(answer, status_code=201)


def _spec(body: bytes) -> dict[str, Any]:
    """What was asked, as far as it was JSON: kubectl may ask in protobuf."""
    try:
        spec = json.loads(body).get("spec")
    except (ValueError, AttributeError, RecursionError):
        return {}
    return spec if isinstance(spec, dict) else {}
