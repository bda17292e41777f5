"""What is known of one attempt of a trial: its objective by step, and the verdict if there is one.

In meaning a map step -> value (step: 1-based ordinal of the report). It is kept as the part without
gaps plus what arrived ahead of a gap, because a step is judged only when all before it are known.

Law: reports that are repeated, or arrive in another order, lead to equal evidence.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import NamedTuple

from trialbus.kernel.limits import MAX_EVIDENCE_STEPS
from trialbus.kernel.objective import ObjectiveType


class Report(NamedTuple):
    """One value of the objective. `step`: 1-based ordinal of the report within its attempt."""

    step: int
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictEvidence:
    """What a verdict was made from, in the user's own direction.

    `watermark`: finish number up to which trials were known; `completed`: how many of them count.
    `numbers`: what else the rule decided with, by name.
    """

    best: float
    median: float | None
    completed: int
    watermark: int
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    stop: bool
    step: int
    reason: str
    evidence: VerdictEvidence


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialEvidence:
    """`values`: of steps 1, 2, ... without a gap; `ahead`: later steps, sorted.

    `judged`: the last step that was judged; `verdict`: the stop verdict, which never changes.
    """

    trial: str
    attempt: int
    values: tuple[float, ...] = ()
    ahead: tuple[Report, ...] = ()
    judged: int = 0
    verdict: Verdict | None = None

    def with_reports(self, reports: Iterable[Report]) -> "TrialEvidence":
        """A known step keeps its value; steps beyond `MAX_EVIDENCE_STEPS` are not judged."""
        waiting = dict(self.ahead)
        for step, value in reports:
            if step < 1:
                raise ValueError(f"steps are counted from 1, not {step}")
            if len(self.values) < step <= MAX_EVIDENCE_STEPS:
                waiting.setdefault(step, value)
        values = list(self.values)
        while len(values) + 1 in waiting:
            values.append(waiting.pop(len(values) + 1))
        if len(values) == len(self.values) and len(waiting) == len(self.ahead):
            return self
        ahead = tuple(Report(step, waiting[step]) for step in sorted(waiting))
        return replace(self, values=tuple(values), ahead=ahead)


def turned(loss: float, objective: ObjectiveType) -> float:
    """A loss in the user's own direction."""
    return loss if objective is ObjectiveType.MINIMIZE else -loss


def losses(values: Iterable[float], objective: ObjectiveType) -> list[float]:
    """Values turned so that lower is better; NaN is the worst there is."""
    sign = 1.0 if objective is ObjectiveType.MINIMIZE else -1.0
    return [math.inf if math.isnan(value) else sign * value for value in values]


def running_averages(values: Sequence[float], objective: ObjectiveType) -> list[float]:
    """The mean loss up to each step: (steps,). Once a NaN is in it, the worst there is."""
    sums = accumulate(losses(values, objective))
    # Infinities of both signs have no mean: the worst, as for NaN.
    return [math.inf if math.isnan(total) else total / n for n, total in enumerate(sums, start=1)]
