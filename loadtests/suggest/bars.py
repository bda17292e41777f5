"""What is measured, and what the product promises: milliseconds a point, by finished trials."""

from collections.abc import Mapping
from dataclasses import dataclass

from trialbus.kernel.space import Parameter

_DOUBLES = tuple(
    Parameter(name=f"x{i}", type="double", min="0", max="1") for i in range(6)
) + tuple(
    Parameter(name=f"lr{i}", type="double", min="1e-5", max="0.1", distribution="logUniform")
    for i in range(2)
)
_NUMBERS = (*_DOUBLES, Parameter(name="layers", type="int", min="1", max="16"))
# 8 doubles of which 2 log, 1 int, 1 categorical.
MIXED = (
    *_NUMBERS,
    Parameter(name="optimizer", type="categorical", list=("sgd", "adam", "ftrl", "lamb")),
)
# A grid needs steps: 10^8 * 16 * 4 points.
STEPPED = tuple(
    Parameter(name=it.name, type="double", min="0.1", max="1", step="0.1")
    if it.type == "double"
    else it
    for it in MIXED
)
# 4^10 points, a million.
MILLION = tuple(Parameter(name=f"x{i}", type="int", min="1", max="4") for i in range(10))
MEMORY_BAR_MB = 50.0
REPLAYED_TRIALS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """bars_ms: the median may be so long at that many finished trials; None: no bar, only shown.
    peers: names in `peers.PEERS`, and up to how many trials they are asked. grows_itself: its past
    must be of its own making, because its points hang together. note: what is special."""

    name: str
    bars_ms: Mapping[int, float | None]
    space: tuple[Parameter, ...] = MIXED
    peers: tuple[tuple[str, int], ...] = ()
    grows_itself: bool = False
    note: str = ""

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(self.bars_ms)


_CHEAP = {100: None, 1_000: None, 5_000: 2.0, 10_000: None}
_TPE = {100: None, 500: None, 1_000: 5.0, 2_000: None, 5_000: 25.0, 10_000: None}

SUBJECTS = (
    Subject(name="random", bars_ms=_CHEAP, peers=(("optuna random", 10_000),)),
    Subject(name="grid", bars_ms=_CHEAP, space=STEPPED, note="every double with a step"),
    Subject(name="sobol", bars_ms=_CHEAP, peers=(("optuna qmc", 10_000),)),
    Subject(
        name="cmaes",
        bars_ms=_CHEAP,
        space=_NUMBERS,
        peers=(("optuna cmaes", 5_000),),
        grows_itself=True,
        note="without the categorical parameter, which it would draw at random",
    ),
    Subject(
        name="tpe",
        bars_ms=_TPE,
        peers=(("optuna tpe", 10_000), ("optuna tpe, univariate", 10_000)),
    ),
    Subject(name="multivariate-tpe", bars_ms=_TPE, peers=(("optuna tpe", 10_000),)),
    Subject(
        name="bayesianoptimization",
        bars_ms={100: 300.0, 500: 1_000.0, 1_000: None, 2_000: 1_000.0},
        peers=(("scikit-optimize", 500),),
    ),
)
