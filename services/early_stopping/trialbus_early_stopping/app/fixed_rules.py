"""Katib's GetEarlyStoppingRules: what a new trial is to be measured by, from the succeeded ones."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from trialbus.kernel.catalogue import check_settings
from trialbus.kernel.errors import NotThere, Problem, Refused
from trialbus.kernel.limits import MAX_KNOWN_TAILS
from trialbus.kernel.objective import ObjectiveType
from trialbus.ports.store import Store
from trialbus.runtime.named_trials import NamedTrials
from trialbus_early_stopping.app.chunk_reading import ChunkReader, Mark
from trialbus_early_stopping.core.registry import Registry
from trialbus_early_stopping.core.rule import ComparingRule, FixedRule

Settings = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SucceededTrial:
    """observed: its objective as the asker knows it, () if not."""

    name: str
    observed: tuple[float, ...]


class FixedRules:
    def __init__(self, store: Store, rules: Registry, capacity: int = MAX_KNOWN_TAILS) -> None:
        self._rules = rules
        self._trials = NamedTrials(store)
        self._reader = ChunkReader(store)
        self._capacity = capacity
        # What succeeded trials have reported first never changes: trial, metric, steps -> values.
        self._known: OrderedDict[tuple[str, str, int], tuple[float, ...]] = OrderedDict()

    def check(self, name: str, settings: Settings) -> None:
        """Raises Refused with every problem, in Katib's words."""
        if name not in self._rules:
            raise Refused([Problem(field="", message=f"unknown algorithm name {name}")])
        problems = check_settings(self._rules.describe(name), settings)
        if problems:
            raise Refused([Problem(field="", message=each.message) for each in problems])

    async def rule(
        self,
        name: str,
        settings: Settings,
        *,
        objective: ObjectiveType,
        metric: str,
        trials: Sequence[SucceededTrial],
    ) -> FixedRule | None:
        """None while too few have succeeded, and of a rule that Katib has no words for. name,
        settings: checked. Raises Transient."""
        rule = self._rules.create(name, settings, objective)
        steps = rule.katib_steps
        if steps is not None and isinstance(rule, ComparingRule):
            told = {trial.name: trial for trial in trials}
            for number, trial in enumerate(told.values(), start=1):
                values = await self._values(trial, metric, steps)
                rule.add(trial.name, values[:steps], number)
        return None if steps is None else rule.katib_rule()

    async def _values(self, trial: SucceededTrial, metric: str, steps: int) -> tuple[float, ...]:
        """Its first values as they are stored here; of a trial of somebody else what is said."""
        key = (trial.name, metric, steps)
        if key not in self._known:
            stored = await self._stored(trial.name, metric)
            if not stored:
                return trial.observed
            self._known[key] = stored[:steps]
            if len(self._known) > self._capacity:
                self._known.popitem(last=False)
        return self._known[key]

    async def _stored(self, name: str, metric: str) -> tuple[float, ...]:
        try:
            trial = await self._trials.find(name)
        except NotThere:
            return ()
        run = str(trial.run)
        news = await self._reader.read([Mark(run=run, metric=metric, to_byte=0)])
        return tuple(report.value for report in news[run].reports) if run in news else ()
