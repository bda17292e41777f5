"""Evolution strategies."""

import math
from collections.abc import Iterator

from trialbus.kernel.catalogue import AlgorithmDescription, Setting, Submission
from trialbus.kernel.errors import Problem
from trialbus_suggestion.core.descriptions.shared_settings import (
    ALL_DISTRIBUTIONS,
    ALL_TYPES,
    DUPLICATES,
    RANDOM_STATE,
    one_of,
)

RESTART_STRATEGIES = ("none", "ipop", "bipop")
MIN_DIMENSIONS = 2
# With fewer, the best half is a single point, and nothing is learned of directions.
MIN_POPULATION = 4


def check_cmaes(submission: Submission) -> Iterator[Problem]:
    """Katib's rule: two numbers at least. Lists beside them are searched, too."""
    numbers = sum(parameter.type in ("double", "int") for parameter in submission.parameters)
    if numbers < MIN_DIMENSIONS:
        yield Problem(
            field="spec.parameters",
            message="CMA-ES only supports two or more dimensional continuous search space. Of the "
            f"{len(submission.parameters)} parameters {numbers} are double or int; tpe and "
            "bayesianoptimization search any space",
        )


CMAES = AlgorithmDescription(
    name="cmaes",
    settings=(
        RANDOM_STATE,
        Setting(
            name="sigma",
            kind="float",
            default=0.0,
            check=lambda value: bool(0 <= value < math.inf),
            message="sigma should be great or equal than zero",
            meaning="The standard deviation of the first points around the middle, as a share of "
            "each parameter's range (1 at most); 0: a sixth.",
        ),
        Setting(
            name="restart_strategy",
            kind="str",
            default="none",
            check=one_of(*RESTART_STRATEGIES),
            message="restart_strategy {value} is not supported in CMA-ES: none, ipop or bipop",
            meaning="What follows when a run has converged. ipop: one with twice the population, "
            "from elsewhere; bipop: such ones in turn with small ones, each kind with half of the "
            "trials; none: random points.",
        ),
        Setting(
            name="population_size",
            kind="int",
            default=0,
            check=lambda value: bool(value == 0 or value >= MIN_POPULATION),
            message=f"population_size should be 0 or at least {MIN_POPULATION}",
            meaning="How many results each step of the distribution learns from; 0: as many as "
            "the number of searched parameters asks for, 4 + 3 ln n.",
        ),
        DUPLICATES,
    ),
    check=check_cmaes,
    look_ahead="pending",
    parameter_types=ALL_TYPES,
    distributions=ALL_DISTRIBUTIONS,
    implementation="trialbus_suggestion.core.cmaes:CmaEs",
    heavy=True,
    meaning="Covariance matrix adaptation: a normal distribution that moves, turns and narrows "
    "towards the best points. For at least two numbers, hundreds of trials and objectives "
    "without many categorical parameters, whose values are drawn at random. Results that come "
    "late, from many trials at a time, are learned from too. By the package cmaes. Sources: Hansen "
    "2016 (arXiv 1604.00772), Hamano et al. 2022 (arXiv 2205.13482, integers), Auger and Hansen "
    "2005 (ipop), Hansen 2009 (bipop).",
)
