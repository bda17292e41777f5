"""What an algorithm says to a whole submission: settings, space and counts together.

Loaded by every service, as the catalogue is.
"""

from collections.abc import Iterator
from decimal import Decimal

from trialbus.kernel.catalogue import Submission
from trialbus.kernel.errors import Problem

# As many dimensions as `joe_kuo` has direction numbers for.
MAX_SOBOL_PARAMETERS = 256


def check_grid(submission: Submission) -> Iterator[Problem]:
    """A double without a step has no grid. More trials than points are fine: the experiment ends
    when the grid is spent (Katib refuses them)."""
    for i, parameter in enumerate(submission.parameters):
        if parameter.type != "double" or parameter.step:
            continue
        if Decimal(parameter.min) != Decimal(parameter.max):
            yield Problem(
                field=f"spec.parameters[{i}].feasibleSpace.step",
                message=f"Param {parameter.name} step is nil; "
                "For discrete search space, all parameters must include step",
            )


def check_sobol(submission: Submission) -> Iterator[Problem]:
    count = len(submission.parameters)
    if count > MAX_SOBOL_PARAMETERS:
        yield Problem(
            field="spec.parameters",
            message=f"the algorithm sobol searches at most {MAX_SOBOL_PARAMETERS} parameters, "
            f"not {count}; random takes any number",
        )
