"""What an experiment optimises: direction, goal, metrics and their strategies."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class ObjectiveType(StrEnum):
    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"


class Strategy(StrEnum):
    """Which of a metric's values over a trial counts."""

    MIN = "min"
    MAX = "max"
    LATEST = "latest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    type: ObjectiveType
    metric: str
    goal: float | None = None
    additional: tuple[str, ...] = ()
    strategies: Mapping[str, Strategy] = field(default_factory=dict)

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The objective first, then the additional ones."""
        return (self.metric, *self.additional)

    def strategy(self, metric: str) -> Strategy:
        """Katib's default: the best value for the direction, for every metric."""
        default = Strategy.MIN if self.type is ObjectiveType.MINIMIZE else Strategy.MAX
        return self.strategies.get(metric, default)

    def better(self, value: float, than: float) -> bool:
        """Strictly better. NaN is worse than every number and never better."""
        if math.isnan(value):
            return False
        if math.isnan(than):
            return True
        return value < than if self.type is ObjectiveType.MINIMIZE else value > than

    def reached(self, value: float) -> bool:
        """Whether the goal, if there is one, is met by `value`."""
        if self.goal is None or math.isnan(value):
            return False
        return value <= self.goal if self.type is ObjectiveType.MINIMIZE else value >= self.goal
