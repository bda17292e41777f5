"""The patience rule: a trial that has stopped getting better, as Keras' EarlyStopping has it.

A running trial is stopped at the step at which, for `patience` steps, no report was better by at
least `min_delta` than the last one that was an improvement. Other trials do not matter. NaN never
improves; after it, any number does.
"""

from trialbus.kernel.measurements import format_value
from trialbus.kernel.objective import ObjectiveType
from trialbus_early_stopping.core.evidence import Verdict
from trialbus_early_stopping.core.rule import Curve, Settings, StoppingRule


class PatienceRule(StoppingRule):
    def __init__(self, settings: Settings, objective: ObjectiveType) -> None:
        super().__init__(objective)
        self._patience = int(settings["patience"])
        self._min_delta = float(settings["min_delta"])
        self._start_step = int(settings["start_step"])

    def judge(self, curve: Curve, step: int) -> Verdict | None:
        if step < self._start_step:
            return None
        improved_at = curve.improved(self._min_delta)[step - 1]
        reference = self.own(curve.losses[improved_at - 1])
        waited = step - improved_at
        numbers = {
            "patience": self._patience,
            "min_delta": self._min_delta,
            "waited": waited,
            "improved_at": improved_at,
            "reference": reference,
        }
        delta = f" by at least {format_value(self._min_delta)}" if self._min_delta else ""
        reason = (
            f"objective {format_value(reference)} of step {improved_at} has not improved{delta} "
            f"for {waited} of {self._patience} steps by step {step}"
        )
        stop = waited >= self._patience
        return self.verdict(curve, step, stop=stop, reason=reason, numbers=numbers)
