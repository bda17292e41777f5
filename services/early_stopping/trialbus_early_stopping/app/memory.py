"""What this process remembers of experiments: a cache that may be dropped at any time."""

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field

from trialbus.kernel.limits import MAX_RULE_AVERAGES, MAX_RULES
from trialbus.kernel.spec import AlgorithmSpec
from trialbus_early_stopping.app.evidence_documents import RunEvidence
from trialbus_early_stopping.app.rule_guard import (
    TimeLimit,
    check_rule,
    check_watermark,
    guarded,
    no_limit,
)
from trialbus_early_stopping.app.views import WatchedExperiment
from trialbus_early_stopping.core.registry import Registry
from trialbus_early_stopping.core.rule import ComparingRule, StoppingRule


@dataclass(slots=True, kw_only=True)
class Remembered:
    """Of one experiment. name: of its rule. rule: its completed trials, up to a watermark.
    limit: on the rule's computing. evidence: of open runs, by run id. completed: trials that the
    rule has learned. steps: of the longest of them."""

    name: str
    rule: StoppingRule
    limit: TimeLimit = no_limit
    evidence: dict[str, RunEvidence] = field(default_factory=dict)
    completed: int = 0
    steps: int = 0

    def complete(self, rule: ComparingRule, run: RunEvidence, finished: int) -> None:
        """A trial has succeeded with this evidence. Raises RuleFailed."""
        with guarded(self.limit):
            rule.add(run.trial, run.values, finished)
            check_watermark(rule, finished)
        self.completed += 1
        self.steps = max(self.steps, len(run.values))

    def pass_over(self, rule: ComparingRule, finished: int) -> None:
        """A trial has ended with this finish number and does not count. Raises RuleFailed."""
        with guarded(self.limit):
            rule.pass_over(finished)
            check_watermark(rule, finished)

    @property
    def averages(self) -> int:
        """What the rule holds, in numbers."""
        return self.completed * (self.steps + 1)


class Memory:
    """The experiments that were looked at last, within a number and a size."""

    def __init__(
        self,
        rules: Registry,
        experiments: int = MAX_RULES,
        averages: int = MAX_RULE_AVERAGES,
        limit: TimeLimit = no_limit,
    ) -> None:
        self._rules = rules
        self._limit = limit
        self._experiments = experiments
        self._averages = averages
        self._known: OrderedDict[str, Remembered] = OrderedDict()

    def __contains__(self, uid: str) -> bool:
        return uid in self._known

    def of(self, experiment: WatchedExperiment, said: AlgorithmSpec) -> Remembered:
        """said: its stopping rule, one that is known. Raises RuleFailed."""
        remembered = self._known.get(experiment.id)
        if remembered is None:
            objective = experiment.spec.objective.type
            with guarded(self._limit):
                rule = check_rule(self._rules.create(said.name, said.settings, objective))
            remembered = Remembered(name=said.name, rule=rule, limit=self._limit)
            self._known[experiment.id] = remembered
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
