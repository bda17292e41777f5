"""CloudEvents 1.0 that others send us, as they come: structured, binary, in batches.

Source: the CloudEvents specification 1.0.2, its JSON format, HTTP and NATS bindings. Our own events
are in `envelope`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from trialbus.kernel.errors import Problem, Refused

Json = Any

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
SPEC_VERSION = "1.0"
# Together they name an event, and go into documents.
MAX_ATTRIBUTE_CHARS = 256
MAX_EXTENSIONS = 32

_REQUIRED = ("id", "source", "type")
_KNOWN = frozenset({"specversion", "id", "source", "type", "subject", "time", "datacontenttype",
                    "dataschema", "data", "data_base64"})  # fmt: skip
_EXTENSION_NAME = re.compile(r"[a-z0-9]{1,20}")
_JSON_TYPE = re.compile(r"application/(?:[\w.+-]+\+)?json", re.ASCII)
_HEADER_PREFIX = "ce-"


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudEvent:
    """source and id together name it: the same twice is one event. data: JSON, None if there is
    none. extensions: further attributes, as text."""

    id: str
    source: str
    type: str
    subject: str = ""
    data: Json = None
    extensions: Mapping[str, str] = field(default_factory=dict)


def is_structured(content_type: str) -> bool:
    return _media_type(content_type) == STRUCTURED


def is_batch(content_type: str) -> bool:
    return _media_type(content_type) == BATCH


def from_structured(event: Json) -> CloudEvent:
    """Raises Refused with every problem."""
    if not isinstance(event, Mapping):
        raise Refused([Problem(field="", message="a CloudEvent must be a JSON object")])
    attributes = {name: value for name, value in event.items() if name != "data"}
    return _event(attributes, event.get("data"))


def from_binary(headers: Mapping[str, str], body: bytes) -> CloudEvent:
    """headers: of HTTP or NATS, in any case. Raises Refused with every problem."""
    lower = {name.lower(): value for name, value in headers.items()}
    attributes: dict[str, Json] = {
        name.removeprefix(_HEADER_PREFIX): unquote(value)
        for name, value in lower.items()
        if name.startswith(_HEADER_PREFIX)
    }
    if "content-type" in lower:
        attributes["datacontenttype"] = lower["content-type"]
    try:
        data = json.loads(body) if body else None
    except (ValueError, RecursionError) as error:
        raise Refused([Problem(field="data", message=f"is not JSON: {error}")]) from error
    return _event(attributes, data)


def _event(attributes: Mapping[str, Json], data: Json) -> CloudEvent:
    if problems := list(_problems(attributes)):
        raise Refused(problems)
    return CloudEvent(
        id=attributes["id"],
        source=attributes["source"],
        type=attributes["type"],
        subject=attributes.get("subject", ""),
        data=data,
        extensions={name: str(value) for name, value in attributes.items() if name not in _KNOWN},
    )


def _problems(attributes: Mapping[str, Json]) -> Iterator[Problem]:
    version = attributes.get("specversion")
    if version != SPEC_VERSION:
        yield Problem(field="specversion", message=f"must be {SPEC_VERSION!r}, not {version!r:.50}")
    for name in (*_REQUIRED, "subject", "time", "datacontenttype"):
        if name in attributes:
            yield from _text_problems(name, attributes[name])
        elif name in _REQUIRED:
            yield Problem(field=name, message="must be given")
    if "data_base64" in attributes:
        yield Problem(field="data_base64", message="must be JSON in `data`, not base64")
    yield from _time_problems(attributes.get("time"))
    kind = attributes.get("datacontenttype")
    if isinstance(kind, str) and not _JSON_TYPE.fullmatch(_media_type(kind)):
        yield Problem(field="datacontenttype", message=f"must be JSON, not {kind:.50}")
    yield from _extension_problems([name for name in attributes if name not in _KNOWN], attributes)


def _text_problems(name: str, value: Json) -> Iterator[Problem]:
    if not isinstance(value, str) or not value:
        yield Problem(field=name, message="must be a text that is not empty")
    elif len(value) > MAX_ATTRIBUTE_CHARS or not value.isprintable():
        message = f"must be printable, at most {MAX_ATTRIBUTE_CHARS} characters"
        yield Problem(field=name, message=message)


def _time_problems(value: Json) -> Iterator[Problem]:
    if not isinstance(value, str):
        return
    try:
        datetime.fromisoformat(value)
    except ValueError:
        yield Problem(field="time", message=f"is not RFC 3339: {value[:50]!r}")


def _extension_problems(names: list[str], attributes: Mapping[str, Json]) -> Iterator[Problem]:
    if len(names) > MAX_EXTENSIONS:
        yield Problem(field="", message=f"more than {MAX_EXTENSIONS} extension attributes")
        return
    for name in names:
        value = attributes[name]
        if not _EXTENSION_NAME.fullmatch(name):
            message = "is no name of an attribute: 1 to 20 lower-case letters and digits"
            yield Problem(field=name[:50], message=message)
        elif not isinstance(value, str | int | bool) or len(str(value)) > MAX_ATTRIBUTE_CHARS:
            message = (
                f"must be a text, number or boolean of at most {MAX_ATTRIBUTE_CHARS} characters"
            )
            yield Problem(field=name, message=message)


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()
