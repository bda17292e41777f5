"""Server-sent events, bytes to CloudEvents: source https://html.spec.whatwg.org, 9.2.6."""

import codecs
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

_LAST = "experiment.deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What happened. type: such as `trial.succeeded` (docs/reference/events.md lists all).
    subject: the trial that it tells of, else the experiment. raw: the whole CloudEvent."""

    id: str
    type: str
    subject: str
    at: datetime
    reason: str = ""
    message: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def is_last(self) -> bool:
        """Nothing can follow: the experiment is deleted."""
        return self.type == _LAST


class EventReader:
    """Feed it what comes; it gives what is whole."""

    def __init__(self) -> None:
        self._text = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""
        self._data: list[str] = []

    def feed(self, data: bytes) -> Iterator[Event]:
        *lines, self._rest = (self._rest + self._text.decode(data)).split("\n")
        for line in map(str.rstrip, lines):
            if line.startswith("data:"):
                self._data.append(line[5:].removeprefix(" "))
            elif not line and self._data:
                text, self._data = "\n".join(self._data), []
                yield parse_event(json.loads(text))


def parse_event(raw: Mapping[str, Any]) -> Event:
    body = raw.get("data") or {}
    return Event(
        id=str(raw["id"]),
        type=str(raw.get("type", "")).removeprefix("io.trialbus.").removesuffix(".v1"),
        subject=str(raw.get("subject", "")),
        at=datetime.fromisoformat(str(raw["time"])),
        reason=str(body.get("reason") or ""),
        message=str(body.get("message") or ""),
        data=body.get("data") or {},
        raw=raw,
    )
