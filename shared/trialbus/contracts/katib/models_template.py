"""What a trial is made from, and how its metrics are collected."""

from typing import Annotated, Any

from pydantic import Field

from trialbus.contracts.katib.models_base import ByName, Name, Set, Whole, Wire, one_of
from trialbus.kernel.spec import CollectorKind, MetricsFormat, PathKind

# Any object at all: a Job, a PyTorchJob, a container.
FreeObject = Annotated[
    dict[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})
]


class TrialParameterSpec(Wire):
    """What a placeholder of the template stands for."""

    name: Name | None = None
    """The placeholder's name: ${trialParameters.<name>} in the template."""
    description: str | None = None
    """What the parameter means, for people."""
    reference: Name | None = None
    """The search parameter whose value is put in, or the trial's own metadata, such as
    ${trialSpec.Name}."""


class ConfigMapSource(Wire):
    """A template that is kept in a ConfigMap; on one machine, in a file."""

    config_map_name: Name | None = None
    """The ConfigMap's name."""
    config_map_namespace: Name | None = None
    """The ConfigMap's namespace."""
    template_path: Name | None = None
    """The key of the ConfigMap under which the template stands."""


class TrialTemplate(Wire):
    """The object that every trial becomes, and how its end is told."""

    retain: bool | None = None
    """Whether a trial's object is kept after its end. By default it is deleted."""
    trial_spec: FreeObject | None = None
    """The object itself, with placeholders, without name and namespace: a Job of batch/v1, or on
    a cluster any other kind. Either this or configMap."""
    config_map: ConfigMapSource | None = None
    """Where the object is kept, as YAML. Either this or trialSpec."""
    trial_parameters: ByName[TrialParameterSpec] | None = None
    """What the placeholders ${trialParameters.<name>} of the object stand for."""
    primary_pod_labels: dict[str, str] | None = None
    """The labels by which the pod that tells the metrics is found. Without it: every pod of the
    trial."""
    primary_container_name: Name | None = None
    """The container that trains: its output and its end are the trial's."""
    success_condition: str | None = None
    """When a trial has succeeded: a GJSON expression over its object that finds something. The
    usual kinds have a default."""
    failure_condition: str | None = None
    """When a trial has failed: a GJSON expression over its object that finds something. It is
    looked at before successCondition. The usual kinds have a default."""


class HttpHeader(Wire):
    """A header of the request for the metrics."""

    name: str | None = None
    """The header's name."""
    value: str | None = None
    """The header's value."""


_PORT: dict[str, Any] = {"x-kubernetes-int-or-string": True}


class HttpGet(Wire):
    """Where a trial answers with its metrics while it runs: Kubernetes' HTTPGetAction."""

    path: str | None = None
    """The path of the metrics, by default /metrics."""
    port: Annotated[int | str, Field(json_schema_extra=_PORT)] | None = None
    """The port, as a number or by its name in the container; by default 8080."""
    host: str | None = None
    """The host, by default the trial's own."""
    scheme: str | None = None
    """HTTP (the default) or HTTPS."""
    http_headers: Whole[HttpHeader] | None = None
    """Headers to send with the request."""


class FileSystemPath(Wire):
    """Where a trial writes its metrics, as its container sees it."""

    path: str | None = None
    """An absolute path: of a file, or for TensorFlowEvent of a folder."""
    kind: Annotated[str, one_of(PathKind)] | None = None
    """Whether the path is a File or a Directory."""
    format: Annotated[str, one_of(MetricsFormat)] | None = None
    """TEXT: lines with name=value. JSON: an object in every line. Of a File."""


class FilterSpec(Wire):
    """How metrics look in text."""

    metrics_format: Set[Name] | None = None
    """Regular expressions with two groups, the metric's name and its value."""


class SourceSpec(Wire):
    """Where the metrics are."""

    http_get: HttpGet | None = None
    """Where they are asked for. Of PrometheusMetric."""
    file_system_path: FileSystemPath | None = None
    """Where they are written. Of File, TensorFlowEvent and Custom."""
    filter: FilterSpec | None = None
    """How they look in text. Of StdOut and of File with TEXT."""


class CollectorSpec(Wire):
    """What collects the metrics."""

    kind: Annotated[Name, one_of(CollectorKind)] | None = None
    """StdOut (the default) reads the trial's output, File and TensorFlowEvent what it writes,
    PrometheusMetric asks it, Custom is a container of your own, Push leaves it to the trial."""
    custom_collector: FreeObject | None = None
    """The container that collects the metrics. Of Custom."""


class MetricsCollectorSpec(Wire):
    """How the metrics of a trial are collected."""

    source: SourceSpec | None = None
    """Where the metrics are."""
    collector: CollectorSpec | None = None
    """What collects them."""
