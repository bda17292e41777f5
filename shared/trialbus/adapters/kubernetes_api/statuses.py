"""What an answer of the API server means: its Status objects as the port's errors."""

import json
from collections.abc import Mapping
from typing import Any

from trialbus.kernel.errors import Transient
from trialbus.ports.cluster import (
    AlreadyExists,
    ClusterError,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NoSuchKind,
    NotFound,
)

MAX_SHOWN_CHARS = 500
# Of a request whose path the server does not serve: the kind has gone, not one object of it.
_NO_SUCH_PATH = "the server could not find the requested resource"


def error_of(code: int, body: bytes, *, creating: bool) -> ClusterError | Transient:
    """creating: the request was to make an object, which decides what a 409 means."""
    return error_of_status(code, _status_in(body), creating=creating)


def error_of_status(
    code: int, status: Mapping[str, Any], *, creating: bool = False
) -> ClusterError | Transient:
    """status: a Status object, or something of that form."""
    reason = str(status.get("reason") or "")
    message = str(status.get("message") or reason or f"the API server answered {code}")
    if code in (408, 429) or code >= 500 or code < 400:
        return Transient(f"{code} of the API server: {message}")
    if code in (401, 403):
        return Forbidden(message, reason=reason)
    if code == 404:
        kind = NoSuchKind if _is_path_missing(status) else NotFound
        return kind(message, reason=reason)
    if code == 409:
        return _conflict(message, reason, creating=creating)
    if code == 410:
        return Gone(message, reason=reason)
    return Invalid(message, reason=reason, causes=_causes(status))


def _conflict(message: str, reason: str, *, creating: bool) -> ClusterError | Transient:
    if reason == "AlreadyExists":
        return AlreadyExists(message, reason=reason)
    if creating:
        # Of something else that the server changes on the way, as a quota: nothing was made.
        return Transient(f"409 of the API server: {message}")
    return Conflict(message, reason=reason)


def _is_path_missing(status: Mapping[str, Any]) -> bool:
    if status.get("kind") != "Status":
        return True
    details = status.get("details") or {}
    return not details.get("name") and status.get("message") == _NO_SUCH_PATH


def _causes(status: Mapping[str, Any]) -> list[tuple[str, str]]:
    causes = (status.get("details") or {}).get("causes") or ()
    return [(str(each.get("field") or ""), str(each.get("message") or "")) for each in causes]


def _status_in(body: bytes) -> Mapping[str, Any]:
    """Proxies, and servers that are starting, answer in plain text."""
    try:
        parsed = json.loads(body)
    except ValueError:
        parsed = None
    if isinstance(parsed, dict) and parsed.get("kind") == "Status":
        return parsed
    return {"message": body[:MAX_SHOWN_CHARS].decode("utf-8", "replace").strip()}
