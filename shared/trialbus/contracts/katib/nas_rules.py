"""The rules of `spec.nasConfig`: those that Katib's architecture searches share (validation.py of
its nas package), and those of every search space for the parameters of operations."""

from collections.abc import Iterator, Sequence

from trialbus.contracts.katib.models import GraphConfig, NasConfig, Operation, ParameterSpec
from trialbus.contracts.katib.parameter_rules import kernel_parameter
from trialbus.kernel import space_rules
from trialbus.kernel import spec as kernel
from trialbus.kernel.catalogue import AlgorithmDescription
from trialbus.kernel.errors import Problem

_FIELD = "spec.nasConfig"
# It has only one form; Katib's darts-gpu.yaml gives it no parameters.
_WITHOUT_PARAMETERS = "skip_connection"


def nas_problems(
    config: NasConfig | None, algorithm: AlgorithmDescription | None
) -> Iterator[Problem]:
    """`algorithm`: None when it is unknown, so that nothing is said about what it can search."""
    if config is None:
        return
    if algorithm is not None and "architectures" not in algorithm.searches:
        other = "spec.parameters, not architectures; enas and darts search those"
        message = f"the algorithm {algorithm.name} searches {other}"
        yield Problem(field=_FIELD, message=message)
    graph = config.graph_config or GraphConfig()
    if graph.num_layers is None or graph.num_layers < 1:
        given = "" if graph.num_layers is None else f"{graph.num_layers}: "
        message = f"{given}must be at least 1"
        yield Problem(field=f"{_FIELD}.graphConfig.numLayers", message=message)
    for field, sizes in (("inputSizes", graph.input_sizes), ("outputSizes", graph.output_sizes)):
        for i, size in enumerate(sizes or ()):
            if size < 1:
                where = f"{_FIELD}.graphConfig.{field}[{i}]"
                yield Problem(field=where, message=f"{size}: must be at least 1")
    if not config.operations:
        yield Problem(field=f"{_FIELD}.operations", message="must hold at least one operation")
    for i, operation in enumerate(config.operations or ()):
        yield from _operation_problems(operation, f"{_FIELD}.operations[{i}]")


def _operation_problems(operation: Operation, where: str) -> Iterator[Problem]:
    if not operation.operation_type:
        yield Problem(field=f"{where}.operationType", message="must be specified")
    if not operation.parameters and operation.operation_type == _WITHOUT_PARAMETERS:
        return
    if not operation.parameters:
        message = "must be specified, with at least one parameter"
        yield Problem(field=f"{where}.parameters", message=message)
        return
    yield from _space_problems(operation.parameters, f"{where}.parameters")


def _space_problems(parameters: Sequence[ParameterSpec], where: str) -> Iterator[Problem]:
    for suffix, message in space_rules.problems_of([kernel_parameter(p) for p in parameters]):
        yield Problem(field=f"{where}{suffix}", message=message)
    for i, parameter in enumerate(parameters):
        space = parameter.feasible_space
        if parameter.parameter_type == "double" and not (space and space.step):
            message = "must be given: an operation has finitely many forms"
            yield Problem(field=f"{where}[{i}].feasibleSpace.step", message=message)


def kernel_nas(config: NasConfig | None) -> kernel.NasConfig | None:
    """Of a configuration that keeps the rules."""
    if config is None:
        return None
    graph = config.graph_config or GraphConfig()
    return kernel.NasConfig(
        num_layers=graph.num_layers or 0,
        input_sizes=tuple(graph.input_sizes or ()),
        output_sizes=tuple(graph.output_sizes or ()),
        operations=tuple(
            kernel.NasOperation(
                type=operation.operation_type or "",
                parameters=tuple(map(kernel_parameter, operation.parameters or ())),
            )
            for operation in config.operations or ()
        ),
    )
