"""What this process remembers of experiments: a cache that may be dropped at any time."""

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field

from trialbus.kernel.limits import MAX_RULE_AVERAGES, MAX_RULES
from trialbus_early_stopping.app.evidence_documents import RunEvidence
from trialbus_early_stopping.app.views import WatchedExperiment
from trialbus_early_stopping.core.catalogue import MedianStopSettings
from trialbus_early_stopping.core.median import MedianRule


@dataclass(slots=True, kw_only=True)
class Remembered:
    """Of one experiment. rule: its completed trials, up to a watermark. evidence: of open runs,
    by run id. steps: of its longest completed trial."""

    rule: MedianRule
    evidence: dict[str, RunEvidence] = field(default_factory=dict)
    steps: int = 0

    def complete(self, run: RunEvidence, finished: int) -> None:
        """A trial has succeeded with this evidence."""
        self.rule.add(run.id, run.values, finished)
        self.steps = max(self.steps, len(run.values))

    @property
    def averages(self) -> int:
        """What the rule holds, in numbers."""
        return self.rule.completed * (self.steps + 1)


class Memory:
    """The experiments that were looked at last, within a number and a size."""

    def __init__(self, experiments: int = MAX_RULES, averages: int = MAX_RULE_AVERAGES) -> None:
        self._experiments = experiments
        self._averages = averages
        self._known: OrderedDict[str, Remembered] = OrderedDict()

    def of(
        self, experiment: WatchedExperiment, settings: tuple[tuple[str, str], ...]
    ) -> Remembered:
        remembered = self._known.get(experiment.id)
        if remembered is None:
            rule = MedianRule(MedianStopSettings.read(settings), experiment.spec.objective.type)
            remembered = self._known[experiment.id] = Remembered(rule=rule)
        self._known.move_to_end(experiment.id)
        return remembered

    def drop(self, uid: str) -> None:
        self._known.pop(uid, None)

    def keep(self, uids: Collection[str]) -> None:
        """Drop all others: they have ended."""
        for uid in self._known.keys() - uids:
            del self._known[uid]

    def trim(self) -> None:
        """Drop what is above the limits, but for the newest."""
        held = sum(each.averages for each in self._known.values())
        while len(self._known) > 1 and (
            len(self._known) > self._experiments or held > self._averages
        ):
            _, dropped = self._known.popitem(last=False)
            held -= dropped.averages
