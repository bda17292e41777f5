"""The built-in algorithms: names, settings and messages as in Katib, and a few settings of our own.

Loaded by every service, so it imports nothing heavy.
"""

from collections.abc import Callable
from typing import Any

from trialbus.kernel.catalogue import AlgorithmDescription, Setting
from trialbus_suggestion.core.checks import check_grid, check_sobol

ALL_TYPES = frozenset({"double", "int", "discrete", "categorical"})
ALL_DISTRIBUTIONS = frozenset({"uniform", "logUniform", "normal", "logNormal"})
BASE_ESTIMATORS = ("GP", "RF", "ET", "GBRT")
ACQUISITIONS = ("gp_hedge", "LCB", "EI", "PI", "EIps", "PIps")
ACQUISITION_OPTIMIZERS = ("auto", "sampling", "lbfgs")


def _one_of(*texts: str) -> Callable[[Any], bool]:
    return texts.__contains__


def _not_negative(value: Any) -> bool:
    return bool(value >= 0)


RANDOM_STATE = Setting(
    name="random_state",
    kind="int",
    check=_not_negative,
    message="random_state should be great or equal than zero",
    meaning="The seed: the same experiment with the same seed draws the same points.",
)
DUPLICATES = Setting(
    name="duplicates",
    kind="str",
    default="avoid",
    check=_one_of("avoid", "allow"),
    message="duplicates {value} is not supported: avoid or allow",
    meaning="avoid: no point twice, and a finite space ends when it is spent; allow: as Katib.",
)

RANDOM = AlgorithmDescription(
    name="random",
    settings=(RANDOM_STATE, DUPLICATES),
    look_ahead="free",
    parameter_types=ALL_TYPES,
    distributions=ALL_DISTRIBUTIONS,
    implementation="trialbus_suggestion.core.random_search:RandomSearch",
    meaning="Independent draws by the parameters' distributions. A good start, and what others "
    "are compared with. The same `random_state` draws the same points, whatever "
    "`parallelTrialCount` is.",
)

GRID = AlgorithmDescription(
    name="grid",
    settings=(RANDOM_STATE,),
    check=check_grid,
    look_ahead="free",
    parameter_types=ALL_TYPES,
    distributions=ALL_DISTRIBUTIONS,
    implementation="trialbus_suggestion.core.grid:GridSearch",
    meaning="Every point of the grid once, in an order shuffled by the seed; for small spaces that "
    "are to be covered. Every double needs a step; distributions make no difference. When the grid "
    "is spent the experiment has succeeded, even below `maxTrialCount` (Katib refuses such a "
    "count). The order is computed, not listed (a Feistel network with cycle walking: Black and "
    "Rogaway 2002), so a grid may have any size.",
)

SOBOL = AlgorithmDescription(
    name="sobol",
    settings=(RANDOM_STATE, DUPLICATES),
    check=check_sobol,
    look_ahead="free",
    parameter_types=ALL_TYPES,
    distributions=ALL_DISTRIBUTIONS,
    implementation="trialbus_suggestion.core.sobol:SobolSearch",
    meaning="A scrambled Sobol' sequence, mapped by the parameters' distributions: it covers the "
    "space more evenly than `random`, which tells with a few dozen points or more; best with 2, 4, "
    "8, ... of them. Up to 256 parameters. Sources: Joe and Kuo 2008 (direction numbers), Matousek "
    "1998 (scrambling).",
)

BAYESIAN_OPTIMIZATION = AlgorithmDescription(
    name="bayesianoptimization",
    settings=(
        Setting(
            name="base_estimator",
            kind="str",
            default="GP",
            check=_one_of(*BASE_ESTIMATORS),
            message="base_estimator {value} is not supported in Bayesian optimization",
            meaning="GP: Gaussian process; RF: random forest; ET: extra trees; "
            "GBRT: gradient boosted quantiles.",
        ),
        Setting(
            name="n_initial_points",
            kind="int",
            default=10,
            check=_not_negative,
            message="n_initial_points should be great or equal than zero",
            meaning="How many points are drawn at random before the model is used.",
        ),
        Setting(
            name="acq_func",
            kind="str",
            default="gp_hedge",
            check=_one_of(*ACQUISITIONS),
            message="acq_func {value} is not supported in Bayesian optimization",
            meaning="gp_hedge: one of EI, LCB and PI by chance for each point; EIps and PIps are "
            "EI and PI, because trials are not timed for the model.",
        ),
        Setting(
            name="acq_optimizer",
            kind="str",
            default="auto",
            check=_one_of(*ACQUISITION_OPTIMIZERS),
            message="acq_optimizer {value} is not supported in Bayesian optimization",
            meaning="auto: lbfgs with GP, else sampling; the other estimators have no gradients, "
            "so lbfgs is sampling for them.",
        ),
        RANDOM_STATE,
        DUPLICATES,
    ),
    look_ahead="pending",
    parameter_types=ALL_TYPES,
    distributions=ALL_DISTRIBUTIONS,
    implementation="trialbus_suggestion.core.bayesian:BayesianOptimization",
    heavy=True,
    meaning="A surrogate model by scikit-optimize; running trials count as average ones.",
)

BUILT_IN = (RANDOM, GRID, SOBOL, BAYESIAN_OPTIMIZATION)
