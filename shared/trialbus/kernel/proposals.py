"""What goes into an algorithm and what comes out: points so far, finished trials, new points.

Points travel as texts in the order of the experiment's parameters; the i-th point is that of the
trial with index i.
"""

from dataclasses import dataclass

from trialbus.kernel.objective import ObjectiveType
from trialbus.kernel.space import Parameter
from trialbus.kernel.spec import AlgorithmSpec, NasConfig
from trialbus.kernel.suggestion import Mark
from trialbus.kernel.trial import TrialPhase

PointTexts = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What never changes in an experiment, as far as an algorithm is concerned.

    seed: of all draws; the same for experiments with the same `random_state`. nas: what an
    architecture search searches; then there are no parameters, and `names` says what the values of
    a point are (of the parameters' values it is always their names).
    """

    parameters: tuple[Parameter, ...]
    objective: ObjectiveType
    algorithm: AlgorithmSpec
    seed: int = 0
    nas: NasConfig | None = None
    names: tuple[str, ...] = ()


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
    """A stretch of the past: `points` from index `first` on, with their `marks` (empty: none of
    them has any), `finished` by number."""

    first: int = 0
    points: tuple[PointTexts, ...] = ()
    marks: tuple[Mark, ...] = ()
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
    """Fewer points than asked for: the space is spent (`exhausted`), or the algorithm waits until
    more of the running trials have ended; it is asked again then. marks: what it knows the points
    by. names, settings: of an algorithm on another server, what it calls its points and the
    settings that it wants to see in the next request (None: those of the experiment). marks and
    names are in the order of the points, or empty."""

    points: tuple[PointTexts, ...]
    exhausted: bool = False
    names: tuple[str, ...] = ()
    marks: tuple[Mark, ...] = ()
    settings: tuple[tuple[str, str], ...] | None = None
