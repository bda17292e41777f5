"""`trialbus wait`: until an experiment is in a state, or cannot come into it any more."""

import re
import sys
import time

from trialbus.cli.api import Api
from trialbus.cli.choices import Goal
from trialbus.cli.failures import FAILED, OK, REFUSED, TIMED_OUT, CommandFailed, NotFound
from trialbus.cli.names import find_experiment
from trialbus.cli.progress import Progress
from trialbus.cli.watching import Silent, patiently, watch

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "ms": 0.001, "": 1.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|h|m|s))+|\d+(?:\.\d+)?")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s|)")


def wait(api: Api, name: str, goal: Goal, *, namespace: str | None, within_s: float | None) -> int:
    """OK: it is so. FAILED: it ended otherwise. TIMED_OUT: not in time. Says which on stderr."""
    over = None if within_s is None else time.monotonic() + within_s
    try:
        place, name = patiently(lambda: find_experiment(api, name, namespace), over=over)
        seen = watch(
            api,
            place,
            name,
            Silent(),
            until=lambda progress: _decided(progress, goal),
            within_s=None if over is None else over - time.monotonic(),
        )
    except NotFound:
        if goal is Goal.DELETED:
            return _said(f"{name} is deleted", OK)
        raise
    except TimeoutError:
        return _said(f"{name} is not {goal.value} after {within_s:g} s", TIMED_OUT)
    if _met(seen, goal):
        return _said(f"{place}/{name} is {seen.phase}", OK)
    why = f": {seen.message}" if seen.message else ""
    return _said(f"{place}/{name} is {seen.phase}, not {goal.value}{why}", FAILED)


def _said(line: str, code: int) -> int:
    sys.stderr.write(f"{line}\n")
    return code


def _met(progress: Progress, goal: Goal) -> bool:
    return progress.ended if goal is Goal.ENDED else progress.phase == goal.value


def _decided(progress: Progress, goal: Goal) -> bool:
    """An end is final, but what has ended can still be deleted."""
    return _met(progress, goal) or (progress.ended and goal is not Goal.DELETED)


def seconds(text: str) -> float:
    """`30s`, `5m`, `1h30m`, `500ms`, or a number of seconds. Raises CommandFailed."""
    if not _DURATION.fullmatch(text.strip()):
        raise CommandFailed(f"--timeout {text}: a duration such as 30s, 5m or 1h30m", REFUSED)
    return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text.strip()))
