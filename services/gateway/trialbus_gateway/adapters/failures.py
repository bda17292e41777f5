"""Failures as HTTP answers: one shape for all."""

import math
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from trialbus.kernel.errors import Problem, Refused, Transient
from trialbus_gateway.adapters.answers_json import JsonAnswer
from trialbus_gateway.app.failures import (
    AnotherByNow,
    Forbidden,
    NotThere,
    NotWanted,
    Over,
    TooLarge,
    TooMany,
    TooMuch,
    TooSlow,
    Unauthenticated,
    Unreadable,
)

_RETRY_AFTER_S = 1

_STATUS_OF: Mapping[type[Exception], int] = {
    Unreadable: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    NotThere: 404,
    TooSlow: 408,
    AnotherByNow: 409,
    Over: 409,
    NotWanted: 410,
    TooLarge: 413,
    TooMuch: 422,
    TooMany: 429,
}


CAUGHT: tuple[type[Exception], ...] = (*_STATUS_OF, Refused, Transient)


def failure_of(error: Exception) -> tuple[int, str, tuple[Problem, ...]]:
    """Status, message and problems of one of `CAUGHT`, for an answer that holds several."""
    if isinstance(error, Refused):
        return 422, _counted(error), error.problems
    if isinstance(error, Transient):
        return 503, f"a server is away, try again: {error}", ()
    return _STATUS_OF[type(error)], str(error), ()


def failure(
    status: int,
    message: str,
    problems: tuple[Problem, ...] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    shown = [{"field": problem.field, "message": problem.message} for problem in problems]
    content = {"message": message, "problems": shown}
    return JsonAnswer(content, status_code=status, headers=headers)


def _named(_request: Request, error: Exception) -> Response:
    return failure(_STATUS_OF[type(error)], str(error), headers=headers_of(error))


def headers_of(error: Exception) -> dict[str, str] | None:
    """What a client has to know beside the status."""
    match error:
        case Unauthenticated():
            return {"www-authenticate": 'Bearer realm="trialbus"'}
        case TooMany():
            return {"retry-after": str(max(1, math.ceil(error.retry_after_s)))}
        case TooSlow():
            return {"connection": "close"}
        case _:
            return None


def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return failure(422, _counted(error), error.problems)


def _counted(refused: Refused) -> str:
    count = len(refused.problems)
    return f"refused: {count} problem{'' if count == 1 else 's'}"


def _away(_request: Request, error: Exception) -> Response:
    headers = {"retry-after": str(_RETRY_AFTER_S)}
    return failure(503, f"a server is away, try again: {error}", headers=headers)


def _of_starlette(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return failure(error.status_code, error.detail, headers=error.headers)


def _unexpected(_request: Request, error: Exception) -> Response:
    """The server logs it with its traceback."""
    return failure(500, f"the gateway failed: {type(error).__name__}")


def told(request: Request, error: Exception) -> Response:
    """One of `CAUGHT`, where no handler is near."""
    if isinstance(error, Refused):
        return _refused(request, error)
    return _away(request, error) if isinstance(error, Transient) else _named(request, error)


HANDLERS: Mapping[Any, Any] = {
    **dict.fromkeys(_STATUS_OF, _named),
    Refused: _refused,
    Transient: _away,
    HTTPException: _of_starlette,
    Exception: _unexpected,
}
