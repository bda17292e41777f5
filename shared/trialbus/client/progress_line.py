"""One line that shows how far it is, on a terminal or in a notebook; elsewhere nothing."""

import sys
import time
from typing import TextIO

from trialbus.contracts.progress import Progress

BAR_CHARS = 24
LINE_CHARS = 100


class ProgressLine:
    """out: None for nowhere."""

    def __init__(self, out: TextIO | None) -> None:
        self._out = out
        self._began = time.monotonic()
        self._shown = ""

    @property
    def is_shown(self) -> bool:
        return self._out is not None

    def show(self, progress: Progress) -> None:
        self.say(progress_text(progress, time.monotonic() - self._began))

    def say(self, text: str) -> None:
        """Replace what is shown."""
        if self._out is None or text == self._shown:
            return
        # Written over: what was longer before is blanked out.
        self._out.write("\r" + text[:LINE_CHARS].ljust(min(len(self._shown), LINE_CHARS)))
        self._out.flush()
        self._shown = text

    def close(self) -> None:
        if self._out is not None and self._shown:
            self._out.write("\n")
            self._out.flush()


def progress_line(wanted: bool) -> ProgressLine:
    """On stderr, if people look at it."""
    seen = wanted and (sys.stderr.isatty() or _in_notebook())
    return ProgressLine(sys.stderr if seen else None)


def progress_text(progress: Progress, elapsed_s: float) -> str:
    """`[######    ] 5/20  loss=0.12  0:03, about 0:09 left`."""
    done, most = progress.finished, progress.max_trials
    parts = [f"{done} trials" if most is None else f"{_bar(done / most)} {done}/{most}"]
    if progress.best is not None:
        value = progress.best.value
        shown = f"{value:.6g}" if isinstance(value, float) else value[:20]
        parts.append(f"{progress.metric}={shown}")
    failed = progress.trials.get("failed", 0) + progress.trials.get("metricsUnavailable", 0)
    if failed:
        parts.append(f"{failed} failed")
    left = ""
    if most is not None and 0 < done < most and not progress.ended:
        left = f", about {_clock(elapsed_s / done * (most - done))} left"
    return "  ".join([*parts, _clock(elapsed_s) + left])


def _bar(share: float) -> str:
    full = round(min(share, 1.0) * BAR_CHARS)
    return f"[{'#' * full}{' ' * (BAR_CHARS - full)}]"


def _clock(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def _in_notebook() -> bool:
    """A notebook shows what a terminal would, and is none."""
    return type(sys.stderr).__module__.startswith("ipykernel")
