"""Kubernetes' Status objects: how its clients are told that something worked, or why it did not.

The wording is the API server's (apimachinery, pkg/api/errors and util/validation/field), because
clients print it and some of them look into it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import Response

from trialbus.kernel.errors import Problem, Refused, Transient
from trialbus_gateway.adapters.answers_json import JsonAnswer
from trialbus_gateway.adapters.failures import headers_of
from trialbus_gateway.app.failures import (
    AnotherByNow,
    Forbidden,
    NotThere,
    TooLarge,
    TooMany,
    TooSlow,
    Unauthenticated,
    Unreadable,
)

Json = Any

GROUP = "kubeflow.org"
VERSION = "v1beta1"
RETRY_AFTER_S = 1

# What begins a cause's message, by its reason (field.ErrorType.String).
_CAUSE_WORDS = {
    "FieldValueRequired": "Required value",
    "FieldValueInvalid": "Invalid value",
    "FieldValueForbidden": "Forbidden",
    "FieldValueDuplicate": "Duplicate value",
    "FieldValueNotSupported": "Unsupported value",
}
# What our own sentences say of each; whatever says none of it is an invalid value.
_TOLD_BY = (
    ("FieldValueForbidden", ("editable",)),
    ("FieldValueRequired", ("must be specified", "is not given", "must not be empty")),
    ("FieldValueDuplicate", ("more than once", "can't be duplicated", "duplicate")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a request is about: `experiments` of `kubeflow.org`, one of them by name."""

    resource: str
    name: str = ""
    group: str = GROUP
    kind: str = ""

    @property
    def qualified(self) -> str:
        return f"{self.resource}.{self.group}" if self.group else self.resource

    def details(self, **more: Json) -> dict[str, Json]:
        kept = {"name": self.name, "group": self.group, "kind": self.resource, **more}
        return {name: value for name, value in kept.items() if value not in ("", None)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One reason for a failure. field: its path, "" if it is about the whole."""

    reason: str
    message: str
    field: str = ""

    def to_json(self) -> dict[str, str]:
        shown = {"reason": self.reason, "message": self.message, "field": self.field}
        return {name: value for name, value in shown.items() if value}


@dataclass(slots=True, eq=False)
class StatusFailure(Exception):
    """An answer that is a failure, raised from wherever it is found out."""

    code: int
    reason: str
    message: str
    details: Mapping[str, Json] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.message

    def to_json(self) -> dict[str, Json]:
        status: dict[str, Json] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
        }
        if self.details:
            status["details"] = dict(self.details)
        return {**status, "code": self.code}

    def response(self) -> Response:
        return JsonAnswer(self.to_json(), status_code=self.code, headers=dict(self.headers))


def success(target: Target, uid: str = "") -> dict[str, Json]:
    """What answers a delete that left nothing to show."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": target.details(uid=uid),
    }


def bad_request(message: str) -> StatusFailure:
    return StatusFailure(400, "BadRequest", message)


def strict_decoding(problems: Sequence[str]) -> StatusFailure:
    """Fields that the schema does not know, under `fieldValidation=Strict`."""
    told = ", ".join(problems)
    return bad_request(
        f'Experiment in version "{VERSION}" cannot be handled as a Experiment: '
        f"strict decoding error: {told}"
    )


def forbidden(target: Target, why: str) -> StatusFailure:
    name = f' "{target.name}"' if target.name else ""
    message = f"{target.qualified}{name} is forbidden: {why}"
    return StatusFailure(403, "Forbidden", message, target.details())


def not_found(target: Target) -> StatusFailure:
    message = f'{target.qualified} "{target.name}" not found'
    return StatusFailure(404, "NotFound", message, target.details())


def path_not_found() -> StatusFailure:
    """A path that this API does not have."""
    return StatusFailure(404, "NotFound", "the server could not find the requested resource")


def method_not_allowed(target: Target, verb: str, why: str = "") -> StatusFailure:
    more = f": {why}" if why else ""
    message = f'{verb} is not supported on resources of kind "{target.qualified}"{more}'
    return StatusFailure(405, "MethodNotAllowed", message, target.details())


def not_acceptable(accepted: Sequence[str]) -> StatusFailure:
    message = f"only the following media types are accepted: {', '.join(accepted)}"
    return StatusFailure(406, "NotAcceptable", message)


def already_exists(target: Target) -> StatusFailure:
    message = f'{target.qualified} "{target.name}" already exists'
    return StatusFailure(409, "AlreadyExists", message, target.details())


def conflict(target: Target, why: str = "") -> StatusFailure:
    """Without `why`: somebody else changed it since the version that the request names."""
    why = why or (
        "the object has been modified; please apply your changes to the latest version "
        "and try again"
    )
    message = f'Operation cannot be fulfilled on {target.qualified} "{target.name}": {why}'
    return StatusFailure(409, "Conflict", message, target.details())


def apply_conflict(causes: Sequence[Cause]) -> StatusFailure:
    """Server-side apply: fields that belong to other managers."""
    count = len(causes)
    fields = "; ".join(f"{cause.message}: {cause.field}" for cause in causes)
    message = f"Apply failed with {count} conflict{'' if count == 1 else 's'}: {fields}"
    details = {"causes": [cause.to_json() for cause in causes]}
    return StatusFailure(409, "Conflict", message, details)


def expired(message: str) -> StatusFailure:
    """A resourceVersion that is not remembered, or a list's continuation that is too old."""
    return StatusFailure(410, "Expired", message)


def too_large(message: str) -> StatusFailure:
    return StatusFailure(413, "RequestEntityTooLarge", f"Request entity too large: {message}")


def unsupported_media_type(accepted: Sequence[str]) -> StatusFailure:
    message = (
        "the body of the request was in an unknown format - accepted media types include: "
        f"{', '.join(accepted)}"
    )
    return StatusFailure(415, "UnsupportedMediaType", message)


def invalid(target: Target, causes: Sequence[Cause]) -> StatusFailure:
    """An object that breaks rules; every one of them is a cause."""
    told = [f"{cause.field}: {cause.message}".removeprefix(": ") for cause in causes]
    shown = told[0] if len(told) == 1 else f"[{', '.join(told)}]"
    kind = target.kind or "Experiment"
    qualified = f"{kind}.{target.group}" if target.group else kind
    details = target.details(kind=kind, causes=[cause.to_json() for cause in causes])
    message = f'{qualified} "{target.name}" is invalid: {shown}'
    return StatusFailure(422, "Invalid", message, details)


def internal_error(message: str) -> StatusFailure:
    details = {"causes": [{"message": message}]}
    return StatusFailure(500, "InternalError", f"Internal error occurred: {message}", details)


def unavailable(message: str) -> StatusFailure:
    """Clients come again after `retryAfterSeconds`."""
    return StatusFailure(
        503,
        "ServiceUnavailable",
        message,
        {"retryAfterSeconds": RETRY_AFTER_S},
        {"retry-after": str(RETRY_AFTER_S)},
    )


def cause_of(problem: Problem) -> Cause:
    """One of our problems in Kubernetes' words."""
    reason = next(
        (reason for reason, words in _TOLD_BY if any(word in problem.message for word in words)),
        "FieldValueInvalid",
    )
    message = f"{_CAUSE_WORDS[reason]}: {problem.message}"
    return Cause(reason=reason, message=message, field=problem.field)


def _kept_out(error: Unauthenticated | TooMany | TooSlow) -> StatusFailure:
    """Before anybody has looked at what it is about."""
    headers = headers_of(error) or {}
    match error:
        case Unauthenticated():
            return StatusFailure(401, "Unauthorized", f"Unauthorized: {error}", headers=headers)
        case TooMany():
            details = {"retryAfterSeconds": int(headers["retry-after"])}
            return StatusFailure(429, "TooManyRequests", str(error), details, headers)
        case TooSlow():
            return StatusFailure(408, "Timeout", str(error), headers=headers)


def failure_of(error: Exception, target: Target) -> StatusFailure:
    """What the gateway can fail with, as an answer about `target`."""
    match error:
        case StatusFailure():
            return error
        case Refused():
            return invalid(target, [cause_of(problem) for problem in error.problems])
        case NotThere():
            return not_found(target) if target.name else path_not_found()
        case AnotherByNow():
            return conflict(target, str(error))
        case TooLarge():
            return too_large(str(error))
        case Unreadable():
            return bad_request(str(error))
        case Forbidden():
            if not target.resource:
                return StatusFailure(403, "Forbidden", f"Forbidden: {error}")
            return forbidden(target, str(error))
        case Unauthenticated() | TooMany() | TooSlow():
            return _kept_out(error)
        case Transient():
            return unavailable(f"a server is away, try again: {error}")
        case _:
            return internal_error(f"the gateway failed: {type(error).__name__}")
