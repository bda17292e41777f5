"""Watching an experiment until it ends: a live display on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TextIO, TypeVar

from trialbus.cli.api import Api, experiment_path
from trialbus.cli.failures import Unreachable
from trialbus.cli.progress import Pace, Progress, parse_progress, plain_line, times

T = TypeVar("T")

LOOK_S = 0.1
# A restarted gateway is back in a second or two.
AWAY_DEADLINE_S = 60.0


class Display(Protocol):
    def show(self, progress: Progress, elapsed_s: float, left_s: float | None) -> None: ...


class Silent:
    def show(self, progress: Progress, elapsed_s: float, left_s: float | None) -> None:
        """Nobody watches."""


class PlainDisplay:
    """A line whenever something but the time has changed; no control codes."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._last = ""

    def show(self, progress: Progress, elapsed_s: float, left_s: float | None) -> None:
        line = plain_line(progress)
        if line != self._last:
            self._last = line
            self._out.write(f"{line}; {times(elapsed_s, left_s)}\n")
            self._out.flush()


def display_on(out: TextIO) -> AbstractContextManager[Display]:
    if out.isatty():
        from trialbus.cli.live import LiveDisplay  # noqa: PLC0415 - Rich is slow to import

        return LiveDisplay(out)
    return nullcontext(PlainDisplay(out))


def read_progress(api: Api, namespace: str, name: str) -> Progress:
    return parse_progress(api.get(experiment_path(namespace, name, "progress")))


def watch(
    api: Api,
    namespace: str,
    name: str,
    display: Display,
    *,
    until: Callable[[Progress], bool] = lambda progress: progress.ended,
    within_s: float | None = None,
) -> Progress:
    """The first progress that meets `until`; None of a deadline waits for ever.

    Raises TimeoutError, and Unreachable when nobody answers for a minute.
    """
    began = time.monotonic()
    pace = Pace()
    over = None if within_s is None else began + within_s
    while True:
        progress = patiently(lambda: read_progress(api, namespace, name), over=over)
        now = time.monotonic()
        pace = pace.seen(progress, now)
        display.show(progress, now - began, pace.left_s(progress))
        if until(progress):
            return progress
        if over is not None and now > over:
            raise TimeoutError
        time.sleep(LOOK_S)


def patiently(call: Callable[[], T], *, over: float | None = None) -> T:
    """Repeat while the gateway is away, which may be a restart, for a minute.

    over: of the monotonic clock. Raises TimeoutError if it is still away then."""
    deadline = time.monotonic() + AWAY_DEADLINE_S
    while True:
        try:
            return call()
        except Unreachable as error:
            now = time.monotonic()
            if over is not None and now > over:
                raise TimeoutError from error
            if now > deadline:
                raise
        time.sleep(LOOK_S)
