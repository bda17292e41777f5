"""What went wrong with the trials of an experiment, told before its stack ends."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from trialbus.cli.api import Api, experiment_path, path_of
from trialbus.cli.failures import CommandFailed

Json = dict[str, Any]
LOG_LINES = 10
_EVENT = "trial failed"


def trouble(api: Api, namespace: str, name: str) -> tuple[str, list[str]] | None:
    """The newest failed trial's name, and lines that tell of it and of those before it. None: no
    trial failed, or the stack does not tell, which must not hide how the run ended."""
    with suppress(CommandFailed):
        story = api.get(experiment_path(namespace, name, "explain"))
        failures = [step for step in story.get("chain") or () if step["event"] == _EVENT]
        if not failures:
            return None
        *others, newest = (str(step["message"]) for step in failures)
        trial, _, message = newest.partition(": ")
        lines = [f"Trial {trial} failed: {message}"]
        lines += _log_end(_story(api, trial))
        if others:
            lines += ["Before it:", *(f"  {other}" for other in reversed(others))]
        return trial, lines
    return None


def _story(api: Api, trial: str) -> Json:
    with suppress(CommandFailed):
        found: Json = api.get(path_of("trials", trial, "explain"))
        return found
    return {}


def _log_end(story: Json) -> Iterator[str]:
    log = str(story.get("logTail") or "").splitlines()
    if not log:
        yield "It has printed nothing."
        return
    yield "Its output ends with:" if len(log) > LOG_LINES else "Its output:"
    yield from (f"  {line}" for line in log[-LOG_LINES:])
