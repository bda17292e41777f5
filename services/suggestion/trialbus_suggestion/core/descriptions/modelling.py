"""Algorithms that model the results."""

import math
from dataclasses import replace

from trialbus.kernel.catalogue import AlgorithmDescription, Setting
from trialbus_suggestion.core.descriptions.shared_settings import (
    ALL_DISTRIBUTIONS,
    ALL_TYPES,
    DUPLICATES,
    RANDOM_STATE,
    not_negative,
    one_of,
)

BASE_ESTIMATORS = ("GP", "RF", "ET", "GBRT")
ACQUISITIONS = ("gp_hedge", "LCB", "EI", "PI", "EIps", "PIps")
ACQUISITION_OPTIMIZERS = ("auto", "sampling", "lbfgs")


BAYESIAN_OPTIMIZATION = AlgorithmDescription(
    name="bayesianoptimization",
    warm_start="learns",
    settings=(
        Setting(
            name="base_estimator",
            kind="str",
            default="GP",
            check=one_of(*BASE_ESTIMATORS),
            message="base_estimator {value} is not supported in Bayesian optimization",
            meaning="GP: Gaussian process; RF: random forest; ET: extra trees; "
            "GBRT: gradient boosted quantiles; the last three are scikit-optimize's.",
        ),
        Setting(
            name="n_initial_points",
            kind="int",
            default=10,
            check=not_negative,
            message="n_initial_points should be great or equal than zero",
            meaning="How many points are spread evenly (a scrambled Sobol' sequence) before the "
            "model is used; those that run count.",
        ),
        Setting(
            name="acq_func",
            kind="str",
            default="gp_hedge",
            check=one_of(*ACQUISITIONS),
            message="acq_func {value} is not supported in Bayesian optimization",
            meaning="gp_hedge: one of EI, LCB and PI by chance for each point; EIps and PIps are "
            "EI and PI, because trials are not timed for the model.",
        ),
        Setting(
            name="acq_optimizer",
            kind="str",
            default="auto",
            check=one_of(*ACQUISITION_OPTIMIZERS),
            message="acq_optimizer {value} is not supported in Bayesian optimization",
            meaning="How the best place is found. sampling: thousands are looked at; lbfgs: "
            "hundreds, and the most promising are refined by gradient; auto: lbfgs with GP, else "
            "sampling (the other estimators have no gradients, so lbfgs is sampling for them).",
        ),
        RANDOM_STATE,
        DUPLICATES,
    ),
    look_ahead="pending",
    parameter_types=ALL_TYPES,
    distributions=ALL_DISTRIBUTIONS,
    implementation="trialbus_suggestion.core.bayesian:BayesianOptimization",
    heavy=True,
    meaning="A Gaussian process learns what to expect of each point and how surely; the next point "
    "promises most: the choice for trials that are dear. Some ten milliseconds a point; running "
    "trials count as if they had shown what is expected of them.",
)


def _tpe_setting(name: str, default: int, message: str, meaning: str) -> Setting:
    return Setting(
        name=name,
        kind="int",
        default=default,
        check=not_negative,
        message=message,
        meaning=meaning,
    )


_STARTUP_MEANING = "How many trials must have ended before the model is used; before: random."
_CANDIDATES_MEANING = "How many candidates are drawn for each point; the most promising is taken."
# Katib's spelling.
_GREATE = "{} should be greate or equal than zero"

TPE = AlgorithmDescription(
    name="tpe",
    warm_start="learns",
    settings=(
        Setting(
            name="gamma",
            kind="float",
            default=0.1,
            check=lambda value: bool(0 < value < 1),
            message="gamma should be in the range of (0, 1)",
            meaning="The share of the ended trials that counts as good, the best, at most 25.",
        ),
        Setting(
            name="prior_weight",
            kind="float",
            default=1.0,
            check=lambda value: bool(0 < value < math.inf),
            message="prior_weight should be great than zero",
            meaning="How much the parameters' distributions count beside the trials: as so many.",
        ),
        Setting(
            name="n_EI_candidates",
            kind="int",
            default=24,
            check=lambda value: bool(value > 0),
            message="n_EI_candidates should be great than zero",
            meaning=_CANDIDATES_MEANING,
        ),
        _tpe_setting("n_startup_trials", 10, _GREATE.format("n_startup_trials"), _STARTUP_MEANING),
        RANDOM_STATE,
        DUPLICATES,
    ),
    look_ahead="pending",
    parameter_types=ALL_TYPES,
    distributions=ALL_DISTRIBUTIONS,
    implementation="trialbus_suggestion.core.tpe:univariate",
    heavy=True,
    meaning="Tree-structured Parzen estimator: values that are likelier among the good trials than "
    "among the others, each parameter by itself. Fast with thousands of trials and with many at a "
    "time; running and failed trials count as bad ones. hyperopt's `gamma` is a share of the root "
    "of the number, here it is the paper's, of the number itself. Source: Bergstra, Bardenet, "
    "Bengio and Kégl 2011 (Algorithms for Hyper-Parameter Optimization).",
)

MULTIVARIATE_TPE = AlgorithmDescription(
    name="multivariate-tpe",
    warm_start="learns",
    settings=(
        _tpe_setting("n_startup_trials", 10, _GREATE.format("n_startup_trials"), _STARTUP_MEANING),
        _tpe_setting("n_ei_candidates", 24, _GREATE.format("n_ei_candidates"), _CANDIDATES_MEANING),
        replace(RANDOM_STATE, message=_GREATE.format("random_state")),
        DUPLICATES,
    ),
    look_ahead="pending",
    parameter_types=ALL_TYPES,
    distributions=ALL_DISTRIBUTIONS,
    implementation="trialbus_suggestion.core.tpe:multivariate",
    heavy=True,
    meaning="As `tpe`, but with all parameters at once, so that it learns which values go "
    "together: the better choice unless parameters have nothing to do with each other. Of n "
    "ended trials the best 0.6 sqrt(n), at most 25, are good. Sources: Falkner, Klein and Hutter "
    "2018 (BOHB), Watanabe 2023 (arXiv 2304.11127); bandwidths as in Optuna.",
)
