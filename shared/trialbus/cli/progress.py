"""An experiment's progress as text: pure functions of what the gateway says, and a clock."""

import math
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace

from trialbus.contracts.progress import FINISHED, BestTrial, Progress, parse_progress

__all__ = ["FINISHED", "BestTrial", "Progress", "parse_progress"]

# In the order in which people read them, with the words they know.
STATES = (
    ("running", "running"),
    ("pending", "pending"),
    ("paused", "paused"),
    ("succeeded", "succeeded"),
    ("earlyStopped", "stopped early"),
    ("killed", "killed"),
    ("failed", "failed"),
    ("metricsUnavailable", "without metrics"),
)
_SHORT_CHARS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long trials take, from what was seen of them: the time that running trials have spent
    since the first look, over the trials that ended since. at: of the last look."""

    first_at: float | None = None
    at: float = 0.0
    first_finished: int = 0
    finished: int = 0
    running: int = 0
    spent_s: float = 0.0

    def seen(self, progress: Progress, at: float) -> "Pace":
        """The pace with one more look."""
        new = replace(self, at=at, finished=progress.finished, running=progress.running)
        if self.first_at is None:
            return replace(new, first_at=at, first_finished=progress.finished)
        return replace(new, spent_s=self.spent_s + self.running * (at - self.at))

    def left_s(self, progress: Progress) -> float | None:
        """Until `maxTrialCount` trials have ended or the time is over; None: not known. The goal
        may come earlier."""
        if progress.phase != "Running":
            return None
        known = []
        if (limit := progress.spent.get("maxSeconds")) is not None:
            known.append(max(0.0, limit - progress.spent["seconds"]))
        ended = self.finished - self.first_finished
        if progress.max_trials is not None and ended > 0:
            left = max(progress.max_trials - progress.finished, 0)
            known.append(left * self.spent_s / ended / max(progress.parallel, 1))
        return min(known, default=None)


def clock(seconds: float) -> str:
    """0:05, 12:40, 3:02:01."""
    minutes, second = divmod(math.ceil(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"


def short(value: float | str) -> str:
    """For a place in a line."""
    text = number(value)
    return text if len(text) <= _SHORT_CHARS else f"{text[: _SHORT_CHARS - 3]}..."


def counts(progress: Progress) -> str:
    """`3 running, 5 succeeded, 1 failed`: what there is."""
    there = [
        f"{progress.trials[key]} {word}" for key, word in STATES if progress.trials.get(key, 0)
    ]
    return ", ".join(there) or "no trials yet"


def plain_line(progress: Progress) -> str:
    """One line without times: print it when it differs from the last one."""
    of = "" if progress.max_trials is None else f"/{progress.max_trials}"
    parts = [f"{progress.name}: {progress.phase}", f"{progress.finished}{of} done"]
    parts.append(counts(progress))
    if progress.best is not None:
        best = progress.best
        parts.append(f"best {progress.metric}={short(best.value)} ({best.trial})")
    elif progress.phase not in ("Created", "Running") and progress.message:
        parts.append(progress.message)
    return "; ".join(parts)


def spent_time(progress: Progress) -> str:
    """`0:12 of 2:30:00; 340 of 3600 cpu-seconds`: of the budgets that there are."""
    spent, parts = progress.spent, []
    if spent.get("maxSeconds") is not None:
        parts.append(f"{clock(spent['seconds'])} of {clock(spent['maxSeconds'])}")
    if spent.get("maxResourceSeconds") is not None:
        paid, limit = number(spent["resourceSeconds"]), number(spent["maxResourceSeconds"])
        parts.append(f"{paid} of {limit} {spent['resource']}-seconds")
    return "; ".join(parts)


def times(elapsed_s: float, left_s: float | None) -> str:
    """`0:12 elapsed, about 0:30 left`."""
    left = "" if left_s is None else f", about {clock(left_s)} left"
    return f"{clock(elapsed_s)} elapsed{left}"


def summary(progress: Progress) -> Iterator[str]:
    """The end: how, the best trial, and how to repeat it."""
    verdict = progress.phase.lower()
    why = f" ({progress.reason})" if progress.reason else ""
    yield f"{progress.namespace}/{progress.name} {verdict}{why}: {counts(progress)}"
    if progress.message:
        yield progress.message
    if time := spent_time(progress):
        yield f"Spent: {time}"
    best = progress.best
    if best is None:
        if not progress.trials.get("failed"):
            yield f"No trial has reported {progress.metric}."
        return
    yield ""
    yield f"Best trial: {best.trial}"
    yield f"  {progress.metric} = {number(best.value)}"
    width = max((len(name) for name in best.parameters), default=0)
    for name, value in best.parameters.items():
        yield f"  {name:<{width}} = {value}"
    if best.command is not None:
        yield ""
        yield "Repeat it with:"
        yield f"  {repeat_command(best.command, best)}"


def repeat_command(command: tuple[str, ...], best: BestTrial) -> str:
    """For a POSIX shell, quoted; each step only if those before it went well."""
    steps = []
    if best.checkpoint is not None:
        path, copy_of = best.checkpoint
        steps.append(f"rm -rf {shlex.quote(path)}")
        steps.append(
            f"mkdir -p {shlex.quote(path)}"
            if copy_of is None
            else f"cp -a {shlex.quote(copy_of)} {shlex.quote(path)}"
        )
    if best.working_dir is not None:
        steps.append(f"cd {shlex.quote(best.working_dir)}")
    env = [f"{name}={shlex.quote(value)}" for name, value in best.env.items()]
    return " && ".join((*steps, " ".join((*env, shlex.join(command)))))
