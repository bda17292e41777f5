"""What the experiment service sees of the world when it decides."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from trialbus.kernel.objective import Objective
from trialbus.kernel.run import Run
from trialbus.kernel.suggestion import Answer
from trialbus.kernel.trial import MetricValues


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenObservation:
    """All metric points of an ended attempt are stored; these are their summaries."""

    metrics: tuple[MetricValues, ...]

    def counted(self, objective: Objective) -> float | str | None:
        """The objective by its strategy: a number, a text, or nothing."""
        for values in self.metrics:
            if values.name == objective.metric:
                return values.counted(objective.strategy(objective.metric))
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """runs, observations: by trial index, of the attempt that the experiment has open (or is
    closing). answers: by request number. settled: indices in `closing` whose trial documents
    are written."""

    runs: Mapping[int, Run] = field(default_factory=dict)
    observations: Mapping[int, SeenObservation] = field(default_factory=dict)
    answers: Mapping[int, Answer] = field(default_factory=dict)
    settled: frozenset[int] = frozenset()
