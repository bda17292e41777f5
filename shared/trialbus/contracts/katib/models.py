"""The wire shape of Katib's v1beta1 Experiment: fields and types, nothing about their meaning.

Everything is optional here, as in Katib's Go types; the rules say what must be there. Unknown
fields are refused except in `metadata`, `status` and `trialSpec`.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

API_VERSION = "kubeflow.org/v1beta1"

# Far above what means anything; a value is copied into every trial, a number is read as decimal.
MAX_NAME_CHARS = 1000
MAX_NUMBER_CHARS = 100
MAX_VALUE_CHARS = 10_000
MAX_INT32 = 2**31 - 1

Name = Annotated[str, StringConstraints(max_length=MAX_NAME_CHARS)]
Number = Annotated[str, StringConstraints(max_length=MAX_NUMBER_CHARS)]
Value = Annotated[str, StringConstraints(max_length=MAX_VALUE_CHARS)]
Values = list[Value]
Count = Annotated[int, Field(ge=-MAX_INT32, le=MAX_INT32)]


class Wire(BaseModel):
    """One object of the wire: strict types, camelCase names, no unknown fields."""

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        allow_inf_nan=False,
    )


class NameValue(Wire):
    """A setting of an algorithm, or the strategy of a metric."""

    name: Name | None = None
    value: Value | None = None


class FeasibleSpace(Wire):
    """All values are texts: numbers are written in quotes."""

    min: Number | None = None
    max: Number | None = None
    step: Number | None = None
    list: Values | None = None
    distribution: Name | None = None


class ParameterSpec(Wire):
    name: Name | None = None
    parameter_type: Name | None = None
    feasible_space: FeasibleSpace | None = None


class ObjectiveSpec(Wire):
    type: Name | None = None
    goal: float | None = None
    objective_metric_name: Name | None = None
    additional_metric_names: list[Name] | None = None
    metric_strategies: list[NameValue] | None = None


class AlgorithmSpec(Wire):
    """An algorithm or, under `earlyStopping`, a stopping rule."""

    algorithm_name: Name | None = None
    algorithm_settings: list[NameValue] | None = None


class TrialParameterSpec(Wire):
    name: Name | None = None
    description: str | None = None
    reference: Name | None = None


class ConfigMapSource(Wire):
    config_map_name: Name | None = None
    config_map_namespace: Name | None = None
    template_path: Name | None = None


class TrialTemplate(Wire):
    retain: bool | None = None
    trial_spec: dict[str, Any] | None = None
    config_map: ConfigMapSource | None = None
    trial_parameters: list[TrialParameterSpec] | None = None
    primary_pod_labels: dict[str, str] | None = None
    primary_container_name: Name | None = None
    success_condition: str | None = None
    failure_condition: str | None = None


class HttpHeader(Wire):
    name: str | None = None
    value: str | None = None


class HttpGet(Wire):
    """Kubernetes' HTTPGetAction."""

    path: str | None = None
    port: int | str | None = None
    host: str | None = None
    scheme: str | None = None
    http_headers: list[HttpHeader] | None = None


class FileSystemPath(Wire):
    path: str | None = None
    kind: str | None = None
    format: str | None = None


class FilterSpec(Wire):
    metrics_format: list[Name] | None = None


class SourceSpec(Wire):
    http_get: HttpGet | None = None
    file_system_path: FileSystemPath | None = None
    filter: FilterSpec | None = None


class CollectorSpec(Wire):
    kind: Name | None = None
    custom_collector: dict[str, Any] | None = None


class MetricsCollectorSpec(Wire):
    source: SourceSpec | None = None
    collector: CollectorSpec | None = None


class GraphConfig(Wire):
    num_layers: Count | None = None
    input_sizes: list[Count] | None = None
    output_sizes: list[Count] | None = None


class Operation(Wire):
    operation_type: Name | None = None
    parameters: list[ParameterSpec] | None = None


class NasConfig(Wire):
    graph_config: GraphConfig | None = None
    operations: list[Operation] | None = None


class ExperimentSpec(Wire):
    """`suspend` is not Katib's: true stops the running trials and starts no others."""

    parameters: list[ParameterSpec] | None = None
    objective: ObjectiveSpec | None = None
    algorithm: AlgorithmSpec | None = None
    early_stopping: AlgorithmSpec | None = None
    trial_template: TrialTemplate | None = None
    parallel_trial_count: Count | None = None
    max_trial_count: Count | None = None
    max_failed_trial_count: Count | None = None
    metrics_collector_spec: MetricsCollectorSpec | None = None
    nas_config: NasConfig | None = None
    resume_policy: Name | None = None
    suspend: bool | None = None


class Metadata(Wire):
    """Kubernetes' ObjectMeta: what is not named here is kept as it is."""

    model_config = ConfigDict(extra="allow")

    name: str | None = None
    namespace: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class ExperimentObject(Wire):
    """`status` is taken and not looked at: people apply what they got."""

    api_version: str | None = None
    kind: str | None = None
    metadata: Metadata | None = None
    spec: ExperimentSpec | None = None
    status: Any = None
