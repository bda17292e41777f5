"""Streams that go on: where an experiment's events were left, and how a log becomes text."""

import codecs
from collections.abc import Iterator

from trialbus.client.calls import Call
from trialbus.client.events import Event, EventReader
from trialbus.client.failures import NotThere, Unavailable
from trialbus.client.patience import FIRST_PAUSE_S, LAST_PAUSE_S, Patience
from trialbus.contracts.http_paths import path_of, query_of

# The gateway sends a comment every 15 s; without a few of them the connection is dead.
SILENCE_S = 60.0


class Following:
    """done: nothing more is to be read. pause_s: before the next connection."""

    def __init__(self, path: str, follow: bool, after: str | None) -> None:
        self._path = path + query_of({"follow": "true" if follow else None})
        self._follow = follow
        self._last = after
        self._seen: set[str] = set()
        self._reader = EventReader()
        self._failing_since: float | None = None
        self.silence_s = SILENCE_S
        self.pause_s = FIRST_PAUSE_S
        self.done = False

    @property
    def call(self) -> Call:
        """From after the last event that came whole."""
        self._reader = EventReader()
        headers = {"accept": "text/event-stream"}
        if self._last is not None:
            headers["last-event-id"] = self._last
        return Call(method="GET", path=self._path, headers=headers)

    def feed(self, block: bytes) -> Iterator[Event]:
        self._failing_since, self.pause_s = None, FIRST_PAUSE_S
        for event in self._reader.feed(block):
            self._last = event.id
            # A stream that does not know the last event any more begins anew.
            if event.id not in self._seen:
                self._seen.add(event.id)
                yield event
            self.done = self.done or event.is_last

    def gone(self, failure: NotThere) -> None:
        """There is no such experiment. Raises `failure` if there never was: one that was followed
        has been deleted meanwhile."""
        if not self._seen:
            raise failure
        self.done = True

    def ended(self) -> None:
        """The answer came to its end: all there is, unless more were to follow (a gateway that
        stops ends its answers)."""
        self.done = self.done or not self._follow

    def broken(self, failure: Unavailable, patience: Patience) -> None:
        """Raises `failure` when it has gone on for too long."""
        now = patience.now()
        self._failing_since = self._failing_since or now
        if now - self._failing_since >= patience.seconds:
            raise failure
        self.pause_s = min(self.pause_s * 2, LAST_PAUSE_S)


class LogText:
    def __init__(self, trial: str, follow: bool, tail: int | None) -> None:
        query = query_of({"follow": "true" if follow else None, "tail": tail})
        self.call = Call(method="GET", path=path_of("trials", trial, "log") + query)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def decode(self, block: bytes) -> str:
        return self._decoder.decode(block)
