"""What the experiment service sees of the world when it decides."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from trialbus.kernel.run import Run
from trialbus.kernel.suggestion import Answer
from trialbus.kernel.trial import MetricValues


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenObservation:
    """All metric points of an ended attempt are stored; these are their summaries."""

    metrics: tuple[MetricValues, ...]

    def value(self, metric: str, strategy: str) -> float | None:
        for values in self.metrics:
            if values.name == metric:
                return float(getattr(values, strategy))
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
