"""What ENAS says to a whole submission. Loaded by every service, as the descriptions are."""

import math
from collections.abc import Iterator

from trialbus.kernel.catalogue import Submission
from trialbus.kernel.errors import Problem
from trialbus.kernel.space import axis_of
from trialbus.kernel.spec import NasConfig, NasOperation

# What a point can hold, as Katib names it.
VALUES = ("architecture", "nn_config")
# Of the controller's output, and of its steps: it would learn for minutes, and from too little.
MAX_OPERATIONS = 4096
MAX_LAYERS = 32

_GRAPH = "spec.nasConfig.graphConfig"
_TEMPLATE = "spec.trialTemplate.trialParameters"


def check_enas(submission: Submission) -> Iterator[Problem]:
    """Sizes that are missing, a search too large, and a template that asks for other values."""
    if submission.nas is not None:
        yield from _size_problems(submission.nas)
    for name in dict.fromkeys(submission.names):
        if name not in VALUES:
            message = f"the algorithm enas gives {' and '.join(VALUES)}, not {name}"
            yield Problem(field=_TEMPLATE, message=message)
    if VALUES[0] not in submission.names:
        message = f"must refer to {VALUES[0]}, so that a trial knows its network"
        yield Problem(field=_TEMPLATE, message=message)


def _size_problems(config: NasConfig) -> Iterator[Problem]:
    if not config.input_sizes:
        yield Problem(field=f"{_GRAPH}.inputSizes", message="Missing InputSizes in GraphConfig")
    if not config.output_sizes:
        yield Problem(field=f"{_GRAPH}.outputSizes", message="Missing OutputSizes in GraphConfig")
    if config.num_layers > MAX_LAYERS:
        message = f"{config.num_layers}: the algorithm enas searches at most {MAX_LAYERS} layers"
        yield Problem(field=f"{_GRAPH}.numLayers", message=message)
    forms = sum(map(_forms, config.operations))
    if forms > MAX_OPERATIONS:
        message = (
            f"the algorithm enas searches at most {MAX_OPERATIONS} operations, "
            f"not {forms}: those listed with all combinations of their parameters' values"
        )
        yield Problem(field="spec.nasConfig.operations", message=message)


def _forms(operation: NasOperation) -> int:
    return math.prod(axis_of(parameter).size or 1 for parameter in operation.parameters)
