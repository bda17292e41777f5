"""Events and replies as bytes: CloudEvents 1.0 in binary mode (attributes in headers, JSON body).

| header | meaning |
|---|---|
| `ce-id` | the event's id, made once by the originator; also the message's id |
| `ce-type` | `io.trialbus.<aggregate>.<participle>.v1` |
| `ce-source` | `/trialbus/<producer>` |
| `ce-subject` | the trial that it tells of, else the experiment |
| `ce-time` | RFC 3339, UTC, microseconds |
| `ce-namespace`, `ce-experiment`, `ce-experimentuid` | extension attributes |
| `traceparent` | W3C trace context, if there is one |

The body is `{"reason": ..., "message": ..., "data": {...}}`. Readers tolerate attributes and fields
that they do not know.

JSON has no NaN and no infinities: they travel as the strings "NaN", "Infinity" and "-Infinity". A
typed body (`Body`) turns them back where its field is a number. In the free-form `data` of an event
these three strings always mean the number; a text that reads so carries one more backslash.
"""

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Self, TypeVar
from urllib.parse import quote, unquote

from pydantic import BaseModel, ConfigDict, ValidationError

from trialbus.contracts import subjects
from trialbus.contracts.messages import Message
from trialbus.kernel import limits
from trialbus.kernel.errors import Poison, Problem
from trialbus.kernel.events import EVENT_TYPES, Event

CONTENT_TYPE = "application/json"
SPEC_VERSION = "1.0"

# What a dead letter tells beside the buried message's own headers (values percent-encoded).
DEAD_REASON = "trialbus-reason"
DEAD_SUBJECT = "trialbus-subject"
DEAD_SEQUENCE = "trialbus-sequence"
DEAD_DELIVERIES = "trialbus-deliveries"
# W3C Trace Context.
TRACEPARENT = "traceparent"

_TYPE_PATTERN = re.compile(r"io\.trialbus\.(?P<type>[a-z_]+\.[a-z_]+)\.v1")
# CloudEvents, HTTP binding 3.1.3.2: printable ASCII but for the space, the quote and the percent.
_HEADER_SAFE = "!#$&'()*+,-./:;<=>?@[\\]^_`{|}~"
_NOTHING_TO_QUOTE = re.compile(rf"[A-Za-z0-9{re.escape(_HEADER_SAFE)}]*")
_NUMBER_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_ESCAPED_WORD = re.compile(r"\\*(NaN|-?Infinity)")


class Body(BaseModel):
    """A typed JSON body: NaN and infinities survive, unknown fields are tolerated."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="strings")

    def to_bytes(self) -> bytes:
        return check_size(self.model_dump_json(exclude_none=True).encode())

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises Poison with every problem."""
        return _parse_body(cls, check_size(data))


class FieldProblem(Body):
    field: str = ""
    message: str


class CommandReply(Body):
    """The answer to a command or a metric chunk, sent after the commit.

    Accepted: `id` (of the accepted event) and `uid`. Refused: every problem with its field path.
    Stale: words of an older attempt or of a deleted experiment; the sender stops repeating.
    changed: whether an accepted command found anything to do.
    """

    accepted: bool
    stale: bool = False
    changed: bool = True
    id: str | None = None
    uid: str | None = None
    problems: tuple[FieldProblem, ...] = ()
    message: str = ""

    @classmethod
    def refused(cls, problems: tuple[Problem, ...], message: str = "") -> "CommandReply":
        found = tuple(FieldProblem(field=it.field, message=it.message) for it in problems)
        return cls(accepted=False, problems=found, message=message)


class _EventBody(Body):
    reason: str = ""
    message: str = ""
    data: dict[str, Any] = {}


B = TypeVar("B", bound=Body)


def encode_event(event: Event) -> Message:
    """Raises ValueError for an event outside the closed set or with invalid names, Poison when it
    is too large. Times keep microseconds."""
    if event.type not in EVENT_TYPES:
        raise ValueError(f"no such event type: {event.type!r}")
    if event.trial == event.experiment:
        raise ValueError(f"a trial cannot have its experiment's name: {event.trial!r}")
    headers = {
        "ce-specversion": SPEC_VERSION,
        "ce-id": event.id,
        "ce-type": f"io.trialbus.{event.type}.v1",
        "ce-source": f"/trialbus/{EVENT_TYPES[event.type].producer}",
        "ce-subject": event.experiment if event.trial is None else event.trial,
        "ce-time": _format_time(event.at),
        "ce-namespace": event.namespace,
        "ce-experiment": event.experiment,
        "ce-experimentuid": event.uid,
        "content-type": CONTENT_TYPE,
    }
    if event.traceparent is not None:
        headers[TRACEPARENT] = event.traceparent
    body = {"reason": event.reason, "message": event.message, "data": dict(event.data)}
    return Message(
        subject=subjects.event(event.namespace, event.experiment, event.type),
        data=check_size(_dump(body)),
        id=event.id,
        headers={name: quote_header(value) for name, value in headers.items()},
    )


def decode_event(message: Message) -> Event:
    """Raises Poison with the reason when the message is no event of this version."""
    check_size(message.data)
    headers = {name.lower(): unquote(value) for name, value in message.headers.items()}
    content_type = headers.get("content-type", CONTENT_TYPE).partition(";")[0].strip()
    if _attribute(headers, "ce-specversion") != SPEC_VERSION or content_type != CONTENT_TYPE:
        raise Poison("not a CloudEvent 1.0 with a JSON body")
    event_type = _parse_type(_attribute(headers, "ce-type"))
    try:
        named = subjects.parse_event(message.subject)
    except ValueError as error:
        raise Poison(str(error)) from error
    if named.type != event_type:
        raise Poison(f"ce-type says {event_type}, the subject {named.type}")
    body = _parse_body(_EventBody, message.data)
    about = headers.get("ce-subject", named.experiment)
    return Event(
        id=_attribute(headers, "ce-id"),
        type=event_type,
        uid=_attribute(headers, "ce-experimentuid"),
        namespace=named.namespace,
        experiment=named.experiment,
        at=_parse_time(_attribute(headers, "ce-time")),
        trial=None if about == named.experiment else about,
        reason=body.reason,
        message=body.message,
        data=_with_numbers(body.data) if _may_hold_numbers(message.data) else body.data,
        traceparent=headers.get(TRACEPARENT),
    )


def check_size(data: bytes) -> bytes:
    """`data` itself; Poison when it is larger than a message may be."""
    if len(data) > limits.MAX_PAYLOAD_BYTES:
        raise Poison(f"{len(data)} bytes, more than {limits.MAX_PAYLOAD_BYTES}")
    return data


def quote_header(value: str) -> str:
    """Percent-encoded, so that any text is one safe header line."""
    if _NOTHING_TO_QUOTE.fullmatch(value):
        return value
    return quote(value, safe=_HEADER_SAFE, errors="replace")


def _attribute(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name, "")
    if not value:
        raise Poison(f"{name} is missing")
    return value


def _parse_type(text: str) -> str:
    match = _TYPE_PATTERN.fullmatch(text)
    if match is None:
        raise Poison(f"not an event type of version 1: {text!r}")
    return match["type"]


def _format_time(at: float) -> str:
    text = datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")
    return text.replace("+00:00", "Z")


def _parse_time(text: str) -> float:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise Poison(f"ce-time is not RFC 3339: {text!r}") from error
    if time.tzinfo is None:
        raise Poison(f"ce-time has no time zone: {text!r}")
    return time.timestamp()


def _parse_body(model: type[B], data: bytes) -> B:
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        problems = (
            f"{'.'.join(map(str, it['loc']))}: {it['msg']}" if it["loc"] else it["msg"]
            for it in error.errors(include_url=False, include_input=False, include_context=False)
        )
        raise Poison("; ".join(problems)) from error


def _dump(body: Mapping[str, Any]) -> bytes:
    """JSON that a person can read. A lone surrogate (a byte of a log that was no text) has no
    encoding and becomes a question mark."""
    text = json.dumps(body, ensure_ascii=False)
    data = text.encode("utf-8", "replace")
    if not _may_hold_numbers(data):
        return data
    body = {**body, "data": _without_numbers(body["data"])}
    text = json.dumps(body, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "replace")


def _may_hold_numbers(data: bytes) -> bool:
    return b"NaN" in data or b"Infinity" in data


def _without_numbers(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, str) and _ESCAPED_WORD.fullmatch(value):
        return "\\" + value
    if isinstance(value, Mapping):
        return {key: _without_numbers(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_numbers(item) for item in value]
    return value


def _with_numbers(value: Any) -> Any:
    if isinstance(value, str):
        if value in _NUMBER_WORDS:
            return _NUMBER_WORDS[value]
        return value[1:] if _ESCAPED_WORD.fullmatch(value) else value
    if isinstance(value, dict):
        return {key: _with_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_numbers(item) for item in value]
    return value
