"""What a user may do: everything, because a gateway on one machine asks nobody who they are."""

import json

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trialbus_gateway.adapters.answers_json import JsonAnswer
from trialbus_gateway.adapters.bodies import limited

API_VERSION = "authorization.k8s.io/v1"
_BASE = f"/apis/{API_VERSION}"
_EVERYTHING = {
    "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    "incomplete": False,
}


class AccessReviews:
    def routes(self) -> list[Route]:
        return [
            Route(f"{_BASE}/selfsubjectaccessreviews", _allowed, methods=["POST"]),
            Route(f"{_BASE}/selfsubjectrulesreviews", _rules, methods=["POST"]),
        ]


async def _allowed(request: Request) -> Response:
    status = {"allowed": True, "reason": "a gateway on one machine allows everybody everything"}
    return await _review("SelfSubjectAccessReview", request, status)


async def _rules(request: Request) -> Response:
    return await _review("SelfSubjectRulesReview", request, _EVERYTHING)


async def _review(kind: str, request: Request, status: dict[str, object]) -> Response:
    answer = {
        "kind": kind,
        "apiVersion": API_VERSION,
        "metadata": {},
        "spec": _spec(await limited(request)),
        "status": status,
    }
    return JsonAnswer(answer, status_code=201)


def _spec(body: bytes) -> dict[str, object]:
    """What was asked, as far as it was JSON: kubectl may ask in protobuf."""
    try:
        spec = json.loads(body).get("spec")
    except (ValueError, AttributeError, RecursionError):
        return {}
    return spec if isinstance(spec, dict) else {}
