"""The built-in algorithms: names, settings and messages as in Katib, and a few settings of our own.

Loaded by every service, so neither this nor a description imports anything heavy.
"""

from trialbus_suggestion.core.descriptions.cmaes import CMAES
from trialbus_suggestion.core.descriptions.darts import DARTS
from trialbus_suggestion.core.descriptions.enas import ENAS
from trialbus_suggestion.core.descriptions.modelling import (
    BAYESIAN_OPTIMIZATION,
    MULTIVARIATE_TPE,
    TPE,
)
from trialbus_suggestion.core.descriptions.pbt import PBT
from trialbus_suggestion.core.descriptions.rungs import ASHA, ASYNC_HYPERBAND, HYPERBAND
from trialbus_suggestion.core.descriptions.sampling import GRID, RANDOM, SOBOL

BUILT_IN = (
    RANDOM,
    GRID,
    SOBOL,
    BAYESIAN_OPTIMIZATION,
    TPE,
    MULTIVARIATE_TPE,
    CMAES,
    HYPERBAND,
    ASHA,
    ASYNC_HYPERBAND,
    DARTS,
    ENAS,
    PBT,
)
