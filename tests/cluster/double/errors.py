"""What the server answers when it says no: Status objects, as Kubernetes words them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """reason: FieldValueInvalid and the like; field: a path such as `spec.replicas`."""

    reason: str
    message: str
    field: str


class ApiError(Exception):
    """One Status with its HTTP code. headers: of the answer (Retry-After)."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: Object | None = None,
        headers: Mapping[str, str] | None = None,
        meta: Object | None = None,
    ) -> None:
        self.code = code
        self.headers = dict(headers or {})
        self.status = status_failure(code, reason, message, details, meta)
        super().__init__(message)


def status_failure(
    code: int,
    reason: str,
    message: str,
    details: Object | None = None,
    meta: Object | None = None,
) -> Object:
    status: Object = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": meta or {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
    if details:
        status["details"] = details
    return status


def _details(group: str, plural: str, name: str, **more: Any) -> Object:
    return {"name": name, **({"group": group} if group else {}), "kind": plural, **more}


def qualified(group: str, plural: str) -> str:
    """`jobs.batch`, `pods`."""
    return f"{plural}.{group}" if group else plural


def not_found(group: str, plural: str, name: str) -> ApiError:
    message = f'{qualified(group, plural)} "{name}" not found'
    return ApiError(404, "NotFound", message, details=_details(group, plural, name))


class NoSuchPath(Exception):
    """An address that nobody serves: a 404 in plain text, not a Status."""


def no_such_path() -> NoSuchPath:
    return NoSuchPath("404 page not found")


def already_exists(group: str, plural: str, name: str) -> ApiError:
    message = f'{qualified(group, plural)} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, details=_details(group, plural, name))


def conflict(group: str, plural: str, name: str, why: str) -> ApiError:
    message = f'Operation cannot be fulfilled on {qualified(group, plural)} "{name}": {why}'
    return ApiError(409, "Conflict", message, details=_details(group, plural, name))


MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def forbidden(group: str, plural: str, name: str, why: str) -> ApiError:
    shown = f'{qualified(group, plural)} "{name}"' if name else qualified(group, plural)
    message = f"{shown} is forbidden: {why}"
    return ApiError(403, "Forbidden", message, details=_details(group, plural, name))


def invalid(group: str, kind: str, name: str, causes: Sequence[Cause]) -> ApiError:
    texts = [f"{cause.field}: {cause.message}" for cause in causes]
    shown = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    told = [{"reason": c.reason, "message": c.message, "field": c.field} for c in causes]
    message = f'{qualified(group, kind)} "{name}" is invalid: {shown}'
    details = _details(group, kind, name, causes=told)
    return ApiError(422, "Invalid", message, details=details)


def expired(message: str, meta: Object | None = None) -> ApiError:
    return ApiError(410, "Expired", message, meta=meta)


def method_not_allowed() -> ApiError:
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message, details={})


def unsupported_media_type(message: str) -> ApiError:
    return ApiError(415, "UnsupportedMediaType", message)


def too_large_version(asked: int, current: int) -> ApiError:
    message = f"Too large resource version: {asked}, current: {current}"
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    details = {"causes": [cause], "retryAfterSeconds": 1}
    return ApiError(504, "Timeout", message, details=details, headers={"Retry-After": "1"})
