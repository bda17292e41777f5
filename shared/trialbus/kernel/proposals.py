"""What goes into an algorithm and what comes out: points so far, finished trials, new points.

Points travel as texts in the order of the experiment's parameters; the i-th point is that of the
trial with index i.
"""

from dataclasses import dataclass

from trialbus.kernel.objective import ObjectiveType
from trialbus.kernel.space import Parameter
from trialbus.kernel.spec import AlgorithmSpec
from trialbus.kernel.trial import TrialPhase

PointTexts = tuple[str, ...]
Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What never changes in an experiment, as far as an algorithm is concerned.

    seed: of all draws; the same for experiments with the same `random_state`.
    """

    parameters: tuple[Parameter, ...]
    objective: ObjectiveType
    algorithm: AlgorithmSpec
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedTrial:
    """number: finish number, 1-based, in the order of learning. value: the objective, may be NaN
    or infinite; None: not observed (failed, killed, metrics lost)."""

    number: int
    index: int
    point: PointTexts
    phase: TrialPhase
    value: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A stretch of the past: `points` from index `first` on, `finished` by number."""

    first: int = 0
    points: tuple[PointTexts, ...] = ()
    finished: tuple[FinishedTrial, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalRequest:
    """Asks for the points `first` .. `first + count - 1`.

    The answer is a function of the points before `first`, the finished trials up to `watermark`,
    and `seed` alone. Earlier points that have not finished by then count as running.
    """

    number: int
    first: int
    count: int
    watermark: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """exhausted: the space is spent, so there are fewer points than asked for. names, settings: of
    an algorithm on another server, what it calls its points and the settings that it wants to see
    in the next request (None: those of the experiment). labels: what the trials are to be marked
    with. names and labels are in the order of the points, or empty."""

    points: tuple[PointTexts, ...]
    exhausted: bool = False
    names: tuple[str, ...] = ()
    labels: tuple[Labels, ...] = ()
    settings: tuple[tuple[str, str], ...] | None = None
