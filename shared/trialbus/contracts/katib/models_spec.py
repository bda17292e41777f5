"""What an Experiment asks for, apart from its trials' template: the search space, the objective,
the algorithms and the network of an architecture search."""

from typing import Annotated

from pydantic import Field

from trialbus.contracts.katib.models_base import (
    Budget,
    ByName,
    Count,
    Name,
    NameValue,
    Number,
    Set,
    Value,
    Values,
    Whole,
    Wire,
    one_of,
)
from trialbus.kernel.distributions import DistributionKind
from trialbus.kernel.objective import ObjectiveType, Strategy
from trialbus.kernel.space_rules import PARAMETER_TYPES


class FeasibleSpace(Wire):
    """The values that a parameter may take. All of them are texts: numbers are written in quotes,
    so that no digit is lost."""

    min: Number | None = None
    """The smallest value, itself included. Of a double or an int."""
    max: Number | None = None
    """The largest value, itself included. Of a double or an int."""
    step: Number | None = None
    """The distance between neighbouring values, counted from min. An int has 1 without it."""
    list: Values | None = None
    """The values themselves. Of a discrete (numbers) or a categorical (any texts) parameter."""
    distribution: Annotated[Name, one_of([*DistributionKind, "unknown"])] | None = None
    """How values between min and max are drawn: uniform (the default), logUniform, normal or
    logNormal. An algorithm that cannot honour it says so before anything starts."""


class ParameterSpec(Wire):
    """One parameter of the search space."""

    name: Name | None = None
    """The parameter's name, which trialParameters refer to."""
    parameter_type: Annotated[Name, one_of(PARAMETER_TYPES)] | None = None
    """double and int have a range, discrete and categorical a list."""
    feasible_space: FeasibleSpace | None = None
    """The values that the parameter may take."""


class MetricStrategy(Wire):
    """Which of a metric's values over a trial counts."""

    name: Name | None = None
    """The metric: the objective's or an additional one."""
    value: Annotated[Value, one_of(Strategy)] | None = None
    """The smallest, the largest or the latest value."""


class ObjectiveSpec(Wire):
    """What is optimised, and what else is observed."""

    type: Annotated[Name, one_of(ObjectiveType)] | None = None
    """Whether small or large values of the metric are good."""
    goal: Annotated[float, Field(json_schema_extra={"format": "double"})] | None = None
    """The experiment succeeds as soon as the metric is at least this good."""
    objective_metric_name: Name | None = None
    """The metric that is optimised."""
    additional_metric_names: Set[Name] | None = None
    """More metrics to collect from every trial; they are shown, not optimised."""
    metric_strategies: ByName[MetricStrategy] | None = None
    """Which value of each metric counts. Left out: the best one of the objective's direction."""


class AlgorithmSpec(Wire):
    """An algorithm that proposes points, with its settings."""

    algorithm_name: Name | None = None
    """The algorithm's name, such as random or bayesianoptimization."""
    algorithm_settings: ByName[NameValue] | None = None
    """The algorithm's settings; those left out have the algorithm's own defaults."""


class GraphConfig(Wire):
    """The frame of the networks of an architecture search."""

    num_layers: Budget | None = None
    """The number of layers of a network."""
    input_sizes: Whole[Count] | None = None
    """The shape of a network's input."""
    output_sizes: Whole[Count] | None = None
    """The shape of a network's output."""


class Operation(Wire):
    """One kind of layer that a network may have."""

    operation_type: Name | None = None
    """The kind of layer, such as convolution; the trial's program knows what it means."""
    parameters: ByName[ParameterSpec] | None = None
    """The parameters of such a layer, each with the values that it may take."""


class NasConfig(Wire):
    """The space of an architecture search."""

    graph_config: GraphConfig | None = None
    """How many layers a network has, and the shapes of what goes in and comes out."""
    operations: Whole[Operation] | None = None
    """The kinds of layers to choose from."""
