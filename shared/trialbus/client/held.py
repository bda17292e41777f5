"""What a worker knows of a trial that it holds, and what it may say of it. No I/O."""

import itertools
import time
import traceback
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trialbus.client.failures import LeaseLost, NothingTold
from trialbus.client.reports import read_report
from trialbus.contracts.work import Answered, GivenTrial, HeldTrial, Report, Result
from trialbus.kernel.checkpoints import is_uri
from trialbus.kernel.limits import MAX_MESSAGE_CHARS
from trialbus.kernel.run import StopReason

# Three words may get lost before a lease does.
BEATS_PER_LEASE = 3
# Why the experiment itself ends a trial: its worker has lost nothing, it may just stop.
_STOPPED = frozenset(StopReason) - {StopReason.RELEASED}


class Held:
    """last: newest value of each metric that was reported. stop: why the worker should stop, ""
    if it should not. ended: the experiment has stopped it, so nothing that its worker says is of
    interest. lost: why what it says is not taken any more. done: its end is told, or it was given
    back."""

    def __init__(self, given: GivenTrial, now: Callable[[], float] = time.monotonic) -> None:
        self.given = given
        self.key = HeldTrial(trial=given.trial, attempt=given.attempt)
        self.last: dict[str, float] = {}
        self.stop = ""
        self.ended = False
        self.lost: str | None = None
        self.done = False
        self._now = now
        self._renewed_at = now()
        self._reports = itertools.count()
        # Whether anything is stored of this attempt; None: that is not known.
        self._reported: bool | None = False
        self._word = uuid.uuid4().hex[:12]

    @property
    def is_over(self) -> bool:
        """Its lease needs no renewal any more."""
        return self.done or self.ended or self.lost is not None

    @property
    def beat_at(self) -> float:
        """When its lease should be renewed, by this clock."""
        return self._renewed_at + self.given.lease / BEATS_PER_LEASE

    def report(
        self, step: int | Mapping[str, float] | None, metrics: Mapping[str, float] | None,
        values: Mapping[str, float],
    ) -> Report:  # fmt: skip
        """Raises ValueError, LeaseLost."""
        self.check()
        number, found = read_report(step, metrics, values)
        self._reported = self._reported or None
        return Report(
            trial=self.given.trial,
            attempt=self.given.attempt,
            metrics=found,
            step=number,
            # Without a step each report is one of its own; repeated, it is still the same.
            id=f"{self._word}.{next(self._reports)}" if number is None else None,
        )

    def reported(self, report: Report) -> None:
        self.last.update(report.metrics)
        self._reported = True

    def success(self, metrics: Mapping[str, float]) -> Result:
        self.check()
        return Result(
            trial=self.given.trial,
            attempt=self.given.attempt,
            metrics=dict(metrics),
            reported=self._reported,
        )

    def failure(self, message: str) -> Result:
        return Result(
            trial=self.given.trial,
            attempt=self.given.attempt,
            state="failed",
            message=message[:MAX_MESSAGE_CHARS],
            reported=self._reported,
        )

    def heard(self, answered: Answered) -> None:
        """What the other side says of it renews it, or ends it."""
        self._renewed_at = self._now()
        self.stop = answered.stop or self.stop
        if answered.accepted or answered.refused is None:
            return
        if answered.stop in _STOPPED:
            self.ended = True
        else:
            self.lost = answered.refused

    def postpone(self) -> None:
        """Its renewal could not be said; the next try comes soon, not at once."""
        self._renewed_at = self._now() - self.given.lease / BEATS_PER_LEASE * 0.8

    def check(self) -> None:
        """Raises LeaseLost, ValueError once its end is told."""
        if self.lost is not None:
            raise LeaseLost(self.given.trial, self.lost)
        if self.done:
            raise ValueError(f"{self.given.trial}: its end is told already")


class TrialFacts:
    """A trial that this worker holds. Part of the sync and of the async one."""

    def __init__(self, held: Held, namespace: str, experiment: str) -> None:
        self._held = held
        self.namespace = namespace
        self.experiment = experiment

    @property
    def name(self) -> str:
        """Its name, which is unique over all experiments."""
        return self._held.given.trial

    @property
    def attempt(self) -> int:
        """1, and one more each time that its lease was lost or it was given back."""
        return self._held.given.attempt

    @property
    def index(self) -> int:
        """0-based, in the order in which the experiment opened its trials."""
        return self._held.given.index

    @property
    def parameters(self) -> dict[str, Any]:
        """By name, typed as the search space says: `f(**trial.parameters)`."""
        return self._held.given.parameters

    @property
    def labels(self) -> dict[str, str]:
        """What the algorithm marked it with: its rung, its generation."""
        return self._held.given.labels

    @property
    def checkpoint(self) -> Path | str | None:
        """Where it keeps what a later attempt, or a trial after it, goes on from: a folder, which
        may not be there yet, or a URI."""
        return _place(self._held.given.checkpoint)

    @property
    def parent_checkpoint(self) -> Path | str | None:
        """That of the trial that it goes on from; None: it begins anew."""
        return _place(self._held.given.parent)

    @property
    def traceparent(self) -> str | None:
        """Its place in the experiment's trace, as W3C's Trace Context has it; None: no trace is
        kept. What a worker does for it may be traced beneath."""
        return self._held.given.traceparent or None

    @property
    def stop_reason(self) -> str:
        """Why it should stop; empty if it should not."""
        return self._held.lost or self._held.stop

    def should_stop(self) -> bool:
        """Whether to stop working on it, as the last word about it said: a stopping rule wants it,
        the experiment has ended, or the lease is lost. Asks nobody, so it costs nothing."""
        return bool(self._held.stop or self._held.lost)

    def __repr__(self) -> str:
        return f"<trial {self.name}, attempt {self.attempt}, {self.parameters}>"


def read_result(
    value: float | Mapping[str, float] | None,
    values: Mapping[str, float],
    last: Mapping[str, float],
    objective: str | None,
) -> dict[str, float]:
    """What `tell` was called with: the objective's value, metrics, or nothing, then it is what was
    reported last. objective: None where it is not known. Raises NothingTold."""
    if isinstance(value, Mapping):
        values = {**value, **values}
    elif value is not None:
        if objective is None:
            raise ValueError("which metric is the objective is not known here: tell(loss=...)")
        values = {objective: value, **values}
    found = {str(name): float(number) for name, number in values.items()} or dict(last)
    if not found or (objective is not None and objective not in found and objective not in last):
        seen = ", ".join(map(repr, found or last)) or "nothing"
        wanted = "no result" if objective is None else f"no value of {objective!r}"
        raise NothingTold(f"{wanted} was told or reported; there is {seen}")
    if objective is not None and objective not in found:
        found[objective] = last[objective]
    return found


def message_of(error: BaseException) -> str:
    """One line, as Python would end the traceback."""
    return traceback.format_exception_only(error)[-1].strip()


def _place(text: str) -> Path | str | None:
    if not text:
        return None
    return text if is_uri(text) else Path(text)
