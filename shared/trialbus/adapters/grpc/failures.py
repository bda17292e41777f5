"""Failures as gRPC statuses, and statuses as failures."""

from dataclasses import dataclass
from urllib.parse import quote

import grpc

from trialbus.kernel.errors import NotNow, NotThere, Refused, TooLarge, Transient

# A status travels in a header, percent-encoded; clients take 8 KiB of headers.
_MAX_ENCODED_BYTES = 6000


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What a client is told."""

    code: grpc.StatusCode
    details: str


def failure_of(error: Exception) -> Failure:
    """How an error of a handler is told: every problem of what is refused; of what nobody expected
    only its kind, for it is logged with the rest."""
    code = _code_of(error)
    details = f"the service failed: {type(error).__name__}" if code is _UNEXPECTED else str(error)
    if code is grpc.StatusCode.UNAVAILABLE:
        details = f"a server is away, try again: {details}"
    return Failure(code=code, details=fit(details))


_UNEXPECTED = grpc.StatusCode.INTERNAL


def _code_of(error: Exception) -> grpc.StatusCode:
    match error:
        case NotNow():
            return grpc.StatusCode.FAILED_PRECONDITION
        case Refused():
            return grpc.StatusCode.INVALID_ARGUMENT
        case NotThere():
            return grpc.StatusCode.NOT_FOUND
        case TooLarge():
            return grpc.StatusCode.RESOURCE_EXHAUSTED
        case Transient():
            return grpc.StatusCode.UNAVAILABLE
        case _:
            return _UNEXPECTED


def fit(text: str) -> str:
    """The whole text, or as much of its beginning as a header holds."""
    if len(quote(text)) <= _MAX_ENCODED_BYTES:
        return text
    kept = text[:_MAX_ENCODED_BYTES]
    while len(quote(kept)) > _MAX_ENCODED_BYTES:
        kept = kept[: len(kept) * 3 // 4]
    return f"{kept} ..."
