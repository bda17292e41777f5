"""Algorithms that do not look at results."""

from trialbus.kernel.catalogue import AlgorithmDescription
from trialbus_suggestion.core.checks import check_grid, check_sobol
from trialbus_suggestion.core.descriptions.shared_settings import (
    ALL_DISTRIBUTIONS,
    ALL_TYPES,
    DUPLICATES,
    RANDOM_STATE,
)

RANDOM = AlgorithmDescription(
    name="random",
    warm_start="ignores",
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
    warm_start="ignores",
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
    warm_start="ignores",
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
