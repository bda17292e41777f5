"""What a model learns from finished trials: one standardised loss per trial, lower is better."""

import math
from collections.abc import Sequence
from statistics import fmean, pstdev, quantiles

from trialbus.kernel.objective import ObjectiveType
from trialbus.kernel.proposals import FinishedTrial
from trialbus.kernel.trial import TrialPhase

# Tukey's outer fence (Exploratory Data Analysis, 1977): a diverged training would otherwise make
# all other losses look the same to a model. Only the bad side is cut.
FENCE = 3.0
# Fewer losses have no meaningful quartiles.
MIN_FENCED = 5
# They ended for reasons that say nothing about their point.
UNINFORMATIVE = {TrialPhase.KILLED, TrialPhase.METRICS_UNAVAILABLE}

Loss = tuple[int, float]


def losses_of(finished: Sequence[FinishedTrial], objective: ObjectiveType) -> list[Loss]:
    """(index of the trial, loss) in order of finishing; mean 0, deviation 1.

    Failed trials and NaN or infinitely bad values get the worst loss so far, as in SMAC (Hutter,
    Hoos, Leyton-Brown 2011, section 4): the model avoids them without losing its scale. Empty
    while no trial has a finite value.
    """
    losses = [(trial.index, loss_of(trial, objective)) for trial in finished]
    raw = [(index, loss) for index, loss in losses if loss is not None]
    finite = [loss for _, loss in raw if math.isfinite(loss)]
    if not finite:
        return []
    best, worst = min(finite), _fence(finite)
    # max() and min() put every non-finite loss at an end; NaN was made +inf before.
    bounded = [(index, min(max(loss, best), worst)) for index, loss in raw]
    return _standardised(bounded, best, worst)


def loss_of(trial: FinishedTrial, objective: ObjectiveType) -> float | None:
    """As it is, lower is better; inf: failed or NaN; None: the trial says nothing."""
    value = trial.value
    if trial.phase in UNINFORMATIVE or (value is None and trial.phase is not TrialPhase.FAILED):
        return None
    if trial.phase is TrialPhase.FAILED or value is None or math.isnan(value):
        return math.inf
    return value if objective is ObjectiveType.MINIMIZE else -value


def _fence(finite: list[float]) -> float:
    if len(finite) < MIN_FENCED:
        return max(finite)
    lower, _, upper = quantiles(finite, n=4, method="inclusive")
    width = upper - lower
    return min(max(finite), upper + FENCE * width) if width > 0 else max(finite)


def _standardised(bounded: list[Loss], best: float, worst: float) -> list[Loss]:
    # First to [0, 1], dividing before subtracting: squares of huge values would overflow.
    scale = max(abs(best), abs(worst))
    if best == worst:
        return [(index, 0.0) for index, _ in bounded]
    width = worst / scale - best / scale
    unit = [(loss / scale - best / scale) / width for _, loss in bounded]
    center, spread = fmean(unit), pstdev(unit)
    indexes = (index for index, _ in bounded)
    return [(index, (u - center) / spread) for index, u in zip(indexes, unit, strict=True)]
