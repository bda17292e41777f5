"""How the gateway's HTTP API is asked, and what its complaints mean: for all that call it."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

# Where a gateway writes down its addresses, below the data folder of its stack.
ADDRESSES_FILE = "run/gateway.json"


def path_of(*parts: str) -> str:
    """/v1/<part>/... with each part quoted."""
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


def experiment_path(namespace: str, name: str, *more: str) -> str:
    return path_of("namespaces", namespace, "experiments", name, *more)


def query_of(query: Mapping[str, str | int | float | None]) -> str:
    """`?name=value...` of those that are given."""
    given = {name: value for name, value in query.items() if value is not None}
    return f"?{urlencode(given)}" if given else ""


def complaints(body: bytes) -> list[str]:
    """What an answer that is no success says, a line each; none if it says nothing."""
    try:
        answer = json.loads(body)
    except ValueError:
        return [body.decode(errors="replace").strip()[:500]] if body.strip() else []
    if not isinstance(answer, dict):
        return []
    problems = [problem_line(problem) for problem in answer.get("problems") or ()]
    return problems or [str(answer["message"])] if "message" in answer or problems else []


def problem_line(problem: Mapping[str, Any]) -> str:
    field, message = problem.get("field"), problem.get("message", "")
    return f"{field}: {message}" if field else str(message)
