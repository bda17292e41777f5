"""What a stopping rule is: it learns completed trials, and judges the running ones.

Law: a verdict is a function of the settings, of the set of completed trials (of a `PeerRule`: of
what other trials had reported by then), and of the running trial's reports up to the step. Order
and repeats of trials and reports do not change it.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from trialbus.kernel.catalogue import SettingValue
from trialbus.kernel.limits import MAX_EVIDENCE_STEPS
from trialbus.kernel.measurements import format_value
from trialbus.kernel.objective import ObjectiveType
from trialbus_early_stopping.core.evidence import (
    Verdict,
    VerdictEvidence,
    losses,
    turned,
)

Settings = Mapping[str, SettingValue]
Stops = Literal["worse", "below", "above"]


class Curve:
    """The objective of one trial by step, in the ways that rules look at it; index 0 is step 1.

    values: as reported. losses: turned so that lower is better, NaN being the worst. best: the best
    loss by each step. trial: its name.
    """

    def __init__(self, values: Sequence[float], objective: ObjectiveType, trial: str = "") -> None:
        self.trial = trial
        self.values = values
        self.objective = objective
        self.losses = losses(values, objective)
        self.best = list(accumulate(self.losses, min))
        self._improved: dict[float, list[int]] = {}

    def improved(self, min_delta: float) -> list[int]:
        """By step: the last step that was better by at least `min_delta` than the last such step
        before it, so that small gains add up; the first step counts as one."""
        if min_delta not in self._improved:
            self._improved[min_delta] = _improved(self.losses, min_delta)
        return self._improved[min_delta]


def _improved(values: Sequence[float], min_delta: float) -> list[int]:
    steps: list[int] = []
    reference, last = math.inf, 1
    for step, loss in enumerate(values, start=1):
        # Of equal infinities the difference is NaN, and no improvement.
        if step == 1 or (loss < reference and reference - loss >= min_delta):
            reference, last = loss, step
        steps.append(last)
    return steps


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedRule:
    """What Katib's collectors judge by themselves: to be stopped is a trial whose best objective at
    its report number `start_step` (0: at any report) is worse than, below or above `value`."""

    value: float
    start_step: int
    stops: Stops = "worse"


class StoppingRule(ABC):
    """Judges one running trial by its own reports. One instance serves one experiment.

    A rule that compares with completed trials is a `ComparingRule`.
    """

    watermark = 0
    completed = 0

    def __init__(self, objective: ObjectiveType) -> None:
        self.objective = objective

    @abstractmethod
    def judge(self, curve: Curve, step: int) -> Verdict | None:
        """The verdict at report number `step`, which `curve` reaches or passes; what comes after
        the step must not matter. None: it is not judged there."""

    @property
    def katib_steps(self) -> int | None:
        """How many first reports of completed trials `katib_rule` is made from; None: it cannot
        be said as a rule of Katib's."""
        return None

    def katib_rule(self) -> FixedRule | None:
        """None: not now."""
        return None

    def own(self, loss: float) -> float:
        """A loss in the user's own direction."""
        return turned(loss, self.objective)

    def verdict(
        self,
        curve: Curve,
        step: int,
        *,
        stop: bool,
        reason: str,
        median: float | None = None,
        numbers: Mapping[str, float] | None = None,
    ) -> Verdict:
        """reason: a sentence for the user. numbers: with which it was decided, by name."""
        evidence = VerdictEvidence(
            best=self.own(curve.best[step - 1]),
            median=median,
            completed=self.completed,
            watermark=self.watermark,
            numbers={} if numbers is None else numbers,
        )
        return Verdict(stop=stop, step=step, reason=reason, evidence=evidence)


class ComparingRule(StoppingRule):
    """A cache at a watermark: built again from the completed trials' evidence in any order.

    Completed means succeeded with at least one report; stopped and failed trials never count.
    """

    def __init__(self, objective: ObjectiveType) -> None:
        super().__init__(objective)
        self._trials: set[str] = set()

    @abstractmethod
    def learn(self, curve: Curve) -> None:
        """A completed trial, with at least one report. Each is told once, in any order."""

    def add(self, trial: str, values: Sequence[float], finished: int) -> None:
        """A succeeded trial with its objective by step; `finished` is its finish number."""
        self.pass_over(finished)
        if not values or trial in self._trials:
            return
        self._trials.add(trial)
        self.completed = len(self._trials)
        self.learn(Curve(values[:MAX_EVIDENCE_STEPS], self.objective, trial))

    def pass_over(self, finished: int) -> None:
        """A finished trial that does not count: only the watermark moves."""
        self.watermark = max(self.watermark, finished)


class PeerRule(ComparingRule):
    """Compares with all trials that have reported, whether they run, were stopped or have failed.

    What is told of a trial is what is stored of it when somebody is judged; what it reports later
    is told then.
    """

    @abstractmethod
    def hear(self, trial: str, values: Sequence[float]) -> None:
        """All that the trial has reported so far, by step; of a new attempt it may be less, and
        what the attempt before it had reported is forgotten."""

    def learn(self, curve: Curve) -> None:
        self.hear(curve.trial, curve.values)


Factory = Callable[[Settings, ObjectiveType], StoppingRule]


def is_due(step: int, start_step: int, interval_steps: int) -> bool:
    """Whether a rule with these settings judges at `step`."""
    return step >= start_step and (step - start_step) % interval_steps == 0


def worse_or_not(
    curve: Curve, step: int, *, stop: bool, bar: float, meaning: str, completed: int
) -> str:
    """The reason of a rule that compares the best so far with a bar in the user's direction."""
    best = turned(curve.best[step - 1], curve.objective)
    return (
        f"best objective {format_value(best)} by step {step} is "
        f"{'worse' if stop else 'not worse'} than {format_value(bar)}, {meaning} "
        f"of {completed} completed trials"
    )
