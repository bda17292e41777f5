"""The stopping variant of ASHA: at each rung only the best go on, without waiting for the others.

Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", MLSys, in the form of
Syne Tune's stopping type (and, but for the judged trial's own value, of Ray Tune's AsyncHyperBand):
at its report number r_min * eta**(s + k) a trial is stopped if its value is worse than the quantile
1/eta of the values that trials have reported at that number so far, its own among them. As that is
one of them, it goes on if it is among the best ceil(n / eta) of n.

NaN counts as the worst value.
"""

import math
from bisect import bisect_left, insort
from collections.abc import Sequence
from fractions import Fraction

from trialbus.kernel.limits import MAX_EVIDENCE_STEPS
from trialbus.kernel.measurements import format_value
from trialbus.kernel.objective import ObjectiveType
from trialbus_early_stopping.core.evidence import Verdict, losses
from trialbus_early_stopping.core.rule import Curve, PeerRule, Settings


class _Rung:
    """The losses of all trials at one step; judging looks up a rank."""

    def __init__(self) -> None:
        self._by_trial: dict[str, float] = {}
        self._sorted: list[float] = []

    def record(self, trial: str, loss: float) -> None:
        if self._by_trial.get(trial) == loss:
            return
        # A new attempt of the trial may report something else.
        self.forget(trial)
        self._by_trial[trial] = loss
        insort(self._sorted, loss)

    def forget(self, trial: str) -> None:
        known = self._by_trial.pop(trial, None)
        if known is not None:
            del self._sorted[bisect_left(self._sorted, known)]

    def with_(self, trial: str, loss: float) -> list[float]:
        """Sorted, with this loss as the trial's."""
        losses_ = list(self._sorted)
        if trial in self._by_trial:
            del losses_[bisect_left(losses_, self._by_trial[trial])]
        insort(losses_, loss)
        return losses_


class AshaRule(PeerRule):
    def __init__(self, settings: Settings, objective: ObjectiveType) -> None:
        super().__init__(objective)
        # As it was written: 2.1 is 21 tenths.
        self._eta = Fraction(str(settings["eta"]))
        last = int(settings.get("r_l", MAX_EVIDENCE_STEPS + 1))
        first = int(settings["r_min"]) * self._eta ** int(settings["s"])
        self._rungs = {step: _Rung() for step in _steps(first, self._eta, last)}

    def hear(self, trial: str, values: Sequence[float]) -> None:
        for step, rung in self._rungs.items():
            if step > len(values):
                # An attempt that was lost may have come further: a restarted service has never
                # heard of that.
                rung.forget(trial)
                continue
            [loss] = losses(values[step - 1 : step], self.objective)
            rung.record(trial, loss)

    def judge(self, curve: Curve, step: int) -> Verdict | None:
        rung = self._rungs.get(step)
        if rung is None:
            return None
        loss = curve.losses[step - 1]
        recorded = rung.with_(curve.trial, loss)
        allowed = math.ceil(len(recorded) / self._eta)
        bar = recorded[allowed - 1]
        stop, shown = loss > bar, self.own(bar)
        value = self.own(loss)
        reason = (
            f"objective {format_value(value)} at step {step} is "
            f"{'not ' if stop else ''}among the best {allowed} of the {len(recorded)} trials that "
            f"have come to this rung, down to {format_value(shown)}"
        )
        numbers = {
            "value": value,
            "bar": shown,
            "rung": step,
            "recorded": len(recorded),
            "allowed": allowed,
            "eta": float(self._eta),
        }
        return self.verdict(curve, step, stop=stop, reason=reason, numbers=numbers)


def _steps(first: Fraction, eta: Fraction, last: int) -> list[int]:
    """Of the rungs, below `last`; whole numbers, cut down."""
    steps: list[int] = []
    while first < last:
        steps.append(math.floor(first))
        first *= eta
    return steps
