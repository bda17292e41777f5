"""The median stopping rule of Vizier.

Golovin et al., "Google Vizier: A Service for Black-Box Optimization", KDD 2017, section 3.2.2: stop
a running trial at step s if its best objective value by step s is strictly worse than the median of
the running averages of all completed trials' objectives reported up to step s. A completed trial
with fewer than s reports has reported all of them up to step s, so its last average counts.
Completed means succeeded with at least one report; stopped and failed trials never count.

NaN counts as the worst value: a running trial that reported only NaN is stopped by any finite
median, and a completed trial's average is the worst from its first NaN on.

Law: neither the order of completion nor repeats change a verdict; only the set of trials does.
"""

from array import array
from bisect import insort
from collections.abc import Sequence

from trialbus.kernel.limits import MAX_EVIDENCE_STEPS
from trialbus.kernel.measurements import format_value
from trialbus.kernel.objective import ObjectiveType
from trialbus_early_stopping.core.catalogue import MedianStopSettings
from trialbus_early_stopping.core.evidence import Verdict, VerdictEvidence, running_averages


class MedianRule:
    """The completed trials of one experiment, ready to judge the running ones.

    A cache at a watermark: built again from the completed trials' evidence in any order. Keeps per
    step the sorted averages of all completed trials, so judging looks up a middle, and adding a
    trial is one sorted insertion per step. Memory: 8 bytes per completed trial and step.
    """

    def __init__(self, settings: MedianStopSettings, objective: ObjectiveType) -> None:
        self.settings = settings
        self.objective = objective
        self.watermark = 0
        self._trials: set[str] = set()
        self._by_step: list[array[float]] = []  # of step 1, 2, ... to the longest trial's last
        self._last: array[float] = array("d")  # the averages of whole trials: all steps after

    @property
    def completed(self) -> int:
        """How many completed trials count."""
        return len(self._trials)

    def add(self, trial: str, values: Sequence[float], finished: int) -> None:
        """A succeeded trial with its objective by step; `finished` is its finish number."""
        self.pass_over(finished)
        averages = running_averages(values[:MAX_EVIDENCE_STEPS], self.objective)
        if not averages or trial in self._trials:
            return
        self._trials.add(trial)
        while len(self._by_step) < len(averages):
            self._by_step.append(self._last[:])
        for index, column in enumerate(self._by_step):
            insort(column, averages[index] if index < len(averages) else averages[-1])
        insort(self._last, averages[-1])

    def pass_over(self, finished: int) -> None:
        """A finished trial that does not count: only the watermark moves."""
        self.watermark = max(self.watermark, finished)

    def median_at(self, step: int) -> float | None:
        """The median loss of the completed trials up to `step`; None without any."""
        column = self._by_step[step - 1] if step <= len(self._by_step) else self._last
        if not column:
            return None
        upper = column[len(column) // 2]
        lower = column[(len(column) - 1) // 2]
        # Halves first: a sum could overflow. Equal ones stay exact, however small.
        return upper if lower == upper else lower / 2 + upper / 2

    def judge(self, step: int, best_loss: float) -> Verdict | None:
        """The verdict on a running trial's report number `step`; None if it is too early for one.

        `best_loss`: the best by this step, lower is better.
        """
        if step < self.settings.start_step or self.completed < self.settings.min_trials_required:
            return None
        median = self.median_at(step)
        if median is None:
            return None
        # Between -inf and inf there is no middle: NaN, and nothing is worse than it.
        stop = best_loss > median
        sign = 1.0 if self.objective is ObjectiveType.MINIMIZE else -1.0
        evidence = VerdictEvidence(
            best=sign * best_loss,
            median=sign * median,
            completed=self.completed,
            watermark=self.watermark,
        )
        return Verdict(
            stop=stop, step=step, reason=_reason(stop, step, evidence), evidence=evidence
        )


def _reason(stop: bool, step: int, evidence: VerdictEvidence) -> str:
    median = "" if evidence.median is None else format_value(evidence.median)
    return (
        f"best objective {format_value(evidence.best)} by step {step} is "
        f"{'worse' if stop else 'not worse'} than {median}, the median of the running averages "
        f"of {evidence.completed} completed trials"
    )
