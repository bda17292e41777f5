"""`trialbus logs` and `trialbus events`: what is there, and what comes."""

import codecs
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from trialbus.cli.api import Api, experiment_path, path_of
from trialbus.cli.failures import CommandFailed, Unreachable
from trialbus.cli.names import find_experiment, find_trial

_ATTRIBUTES = "data:"
_LAST = "io.trialbus.experiment.deleted.v1"
# A gateway that is started again is back in a second or two.
AWAY_DEADLINE_S = 15.0
LOOK_S = 0.2
# What fails sooner, with nothing told, had not begun at all: that is said at once.
BEGUN_S = 1.0
# What was shown last; it finds the place in the whole log when only its end was asked for.
MARK_BYTES = 64 * 1024


class BrokenOff(Unreachable):
    """What was followed came to an end that is not its own."""


def print_log(
    api: Api, name: str, *, namespace: str | None, follow: bool, tail: int | None
) -> None:
    trial = find_trial(api, name, namespace)
    log = _Log(api, trial)
    if follow:
        _persistently(lambda: log.follow(tail), lambda: log.seen_bytes)
    else:
        log.show(api.blocks(path_of("trials", trial, "log"), tail=tail))


class _Log:
    """What has been shown of a trial's log. skip: bytes of the whole before what comes next; None
    while it is not known, because only the end was asked for."""

    def __init__(self, api: Api, trial: str) -> None:
        self._api = api
        self._trial = trial
        self._path = path_of("trials", trial, "log")
        self._text = codecs.getincrementaldecoder("utf-8")("replace")
        self._mark = b""
        self._skip: int | None = 0
        self.seen_bytes = 0

    def show(self, blocks: Iterator[bytes]) -> None:
        for block in blocks:
            self.seen_bytes += len(block)
            self._mark = (self._mark + block)[-MARK_BYTES:]
            if self._skip is not None:
                self._skip += len(block)
            sys.stdout.write(self._text.decode(block))
            sys.stdout.flush()

    def follow(self, tail: int | None) -> None:
        """To its end. Raises Unreachable; called again, it goes on with what was not shown."""
        if tail is not None and not self.seen_bytes:
            self._skip = None
            self.show(self._api.blocks(self._path, follow="true", tail=tail))
        else:
            if self._skip is None:
                self._skip = self._place()
            whole = self._api.blocks(self._path, follow="true")
            self.show(_without(whole, self._skip))
        # A gateway that stops ends its answers as if there were no more.
        self._api.get(path_of("trials", self._trial))

    def _place(self) -> int:
        whole = b"".join(self._api.blocks(self._path))
        found = whole.rfind(self._mark)
        return len(whole) if found < 0 else found + len(self._mark)


def _without(blocks: Iterator[bytes], skip: int) -> Iterator[bytes]:
    for block in blocks:
        left = block[skip:]
        skip = max(skip - len(block), 0)
        if left:
            yield left


def print_events(
    api: Api, name: str, namespace: str | None, *, follow: bool, as_json: bool
) -> None:
    place, name = find_experiment(api, name, namespace)
    path = experiment_path(place, name, "events")
    seen: dict[str, None] = {}

    def show() -> None:
        """Events that were not shown yet. Raises BrokenOff when more of them may come."""
        ended = not follow
        for line in api.lines(path, follow="true" if follow else None):
            if not line.startswith(_ATTRIBUTES):
                continue  # ids, comments that keep the connection, and blank lines between events
            event = json.loads(line.removeprefix(_ATTRIBUTES))
            ended = ended or event.get("type") == _LAST
            if event["id"] in seen:
                continue
            seen[event["id"]] = None
            sys.stdout.write(f"{json.dumps(event) if as_json else event_line(event)}\n")
            sys.stdout.flush()
        if not ended:
            raise BrokenOff(f"the events of {place}/{name} broke off")

    if follow:
        _persistently(show, lambda: len(seen))
    else:
        show()


def _persistently(follow: Callable[[], None], seen: Callable[[], int]) -> None:
    """Begin again when the gateway goes away, which may be a restart, until it has told nothing
    new for a while. Raises Unreachable then, and StackGone at once."""
    deadline: float | None = None
    while True:
        before, began = seen(), time.monotonic()
        try:
            return follow()
        except Unreachable as error:
            now = time.monotonic()
            never = before == 0 == seen() and now - began < BEGUN_S
            if deadline is None and never and not isinstance(error, BrokenOff):
                raise
            if deadline is None or seen() > before or now - began > AWAY_DEADLINE_S:
                deadline = now + AWAY_DEADLINE_S
            if now > deadline:
                raise CommandFailed(error.lines) from error
        time.sleep(LOOK_S)


def event_line(event: dict[str, Any]) -> str:
    """Time, what happened to what, and why."""
    data = event.get("data") or {}
    kind = str(event.get("type", "")).removeprefix("io.trialbus.").removesuffix(".v1")
    words = [str(event.get("time", "")), kind, " ".join(_trials(event, data))]
    words += [str(data.get("reason") or ""), str(data.get("message") or "")]
    return "  ".join(word for word in words if word)


def _trials(event: dict[str, Any], data: dict[str, Any]) -> Iterator[str]:
    """Those that it is about; an event of a service's group names its runs."""
    if event.get("subject") != event.get("experiment"):
        yield str(event.get("subject"))
    yield from (str(run["trial"]) for run in (data.get("data") or {}).get("runs") or ())
