"""What is asked of a stack, and what it answers, without saying how either travels."""

import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from trialbus.client.failures import (
    Conflict,
    NotThere,
    Refused,
    ServerFailed,
    TrialbusError,
    Unauthorised,
    Unavailable,
)
from trialbus.contracts.http_paths import complaints
from trialbus.kernel.errors import Problem

Json = Any
JSON_TYPE = "application/json"
NO_HEADERS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class BusWord:
    """The same call as a request over NATS: subject `trialbus.v1.cmd.<namespace>.<name>.<verb>`."""

    namespace: str
    name: str
    verb: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """path: with its query. body: JSON, None if there is none. holds_s: for so long the other side
    may hold back the answer. bus: None: it can only be asked over HTTP."""

    method: str
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    holds_s: float = 0.0
    bus: BusWord | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """headers: names in lower case."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> Json:
        """None if the answer is empty. Raises ServerFailed for what is no JSON."""
        try:
            return json.loads(self.body) if self.body else None
        except ValueError as error:
            raise ServerFailed(f"an answer that is no JSON: {self.body[:200]!r}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Send the call and come back with its Answer, or throw Unavailable. timeout_s: for all of
    it."""

    call: Call
    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    seconds: float


T = TypeVar("T")
# A conversation: what is to be done next; it is sent the Answer of a Send, and None after a Pause.
# The sync and the async client differ in who drives it.
Flow = Generator[Send | Pause, Answer | None, T]


def good(answer: Answer) -> Answer:
    """`answer` itself. Raises what its status means."""
    if answer.status < 400:
        return answer
    raise failure_of(answer)


def failure_of(answer: Answer) -> TrialbusError:
    status = answer.status
    message = "; ".join(complaints(answer.body)) or f"the gateway answered with status {status}"
    if status in (401, 403):
        return Unauthorised(message)
    if status == 404:
        return NotThere(message)
    if status == 409:
        return Conflict(message)
    if status in RETRIED:
        return Unavailable(message)
    if status >= 500:
        return ServerFailed(message)
    return _refused(answer, message)


def _refused(answer: Answer, message: str) -> Refused:
    try:
        said = answer.json()
    except ServerFailed:
        return Refused(message)
    if not isinstance(said, dict):
        return Refused(message)
    problems = [
        Problem(field=str(it.get("field", "")), message=str(it.get("message", "")))
        for it in said.get("problems") or ()
        if isinstance(it, dict)
    ]
    return Refused(str(said.get("message") or "refused") if problems else message, problems)


# Asked again: too much at once, or a server behind the gateway is away.
RETRIED = frozenset({429, 502, 503, 504})
