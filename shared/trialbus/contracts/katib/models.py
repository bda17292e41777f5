"""The wire shape of Katib's v1beta1 Experiment, Suggestion and Trial: fields and types, nothing
about their meaning.

Everything is optional here, as in Katib's Go types; the rules say what must be there. Unknown
fields are refused except in `metadata` and where an object is free. The fields' own sentences are
what `kubectl explain` shows.
"""

from typing import Annotated, Any

from pydantic import ConfigDict

from trialbus.contracts.katib.models_base import (
    API_GROUP,
    API_GROUP_VERSION,
    API_VERSION,
    MAX_INT32,
    MAX_NAME_CHARS,
    MAX_NUMBER_CHARS,
    MAX_VALUE_CHARS,
    Amount,
    Budget,
    ByName,
    Name,
    NameValue,
    Whole,
    Wire,
    one_of,
)
from trialbus.contracts.katib.models_spec import (
    AlgorithmSpec,
    FeasibleSpace,
    GraphConfig,
    MetricStrategy,
    NasConfig,
    ObjectiveSpec,
    Operation,
    ParameterSpec,
)
from trialbus.contracts.katib.models_status import (
    Condition,
    EarlyStoppingRule,
    ExperimentStatus,
    Metric,
    Observation,
    OptimalTrial,
    ParameterAssignment,
    SuggestionStatus,
    TrialAssignment,
    TrialStatus,
)
from trialbus.contracts.katib.models_template import (
    CollectorSpec,
    ConfigMapSource,
    FileSystemPath,
    FilterSpec,
    FreeObject,
    HttpGet,
    HttpHeader,
    MetricsCollectorSpec,
    SourceSpec,
    TrialParameterSpec,
    TrialTemplate,
)
from trialbus.kernel.spec import ResumePolicy

__all__ = [
    "API_GROUP",
    "API_GROUP_VERSION",
    "API_VERSION",
    "MAX_INT32",
    "MAX_NAME_CHARS",
    "MAX_NUMBER_CHARS",
    "MAX_VALUE_CHARS",
    "AlgorithmSpec",
    "CollectorSpec",
    "Condition",
    "ConfigMapSource",
    "EarlyStoppingRule",
    "Experiment",
    "ExperimentObject",
    "ExperimentSpec",
    "ExperimentStatus",
    "FeasibleSpace",
    "FileSystemPath",
    "FilterSpec",
    "FreeObject",
    "GraphConfig",
    "HttpGet",
    "HttpHeader",
    "Metadata",
    "Metric",
    "MetricStrategy",
    "MetricsCollectorSpec",
    "NameValue",
    "NasConfig",
    "ObjectiveSpec",
    "Observation",
    "Operation",
    "OptimalTrial",
    "ParameterAssignment",
    "ParameterSpec",
    "SourceSpec",
    "Suggestion",
    "SuggestionSpec",
    "SuggestionStatus",
    "Trial",
    "TrialAssignment",
    "TrialParameterSpec",
    "TrialSpec",
    "TrialStatus",
    "TrialTemplate",
    "Wire",
]

PolicyName = Annotated[Name, one_of(ResumePolicy)]


class ExperimentSpec(Wire):
    """What to search, how, and how many trials it may take."""

    parameters: ByName[ParameterSpec] | None = None
    """The search space: its parameters. Either this or nasConfig."""
    objective: ObjectiveSpec | None = None
    """What is optimised."""
    algorithm: AlgorithmSpec | None = None
    """The algorithm that proposes points."""
    early_stopping: AlgorithmSpec | None = None
    """The rule that stops trials which promise nothing. Without it none is stopped."""
    trial_template: TrialTemplate | None = None
    """The object that every trial becomes. Without it the configured default template is used."""
    parallel_trial_count: Budget | None = None
    """How many trials may run at the same time, by default 3."""
    max_trial_count: Budget | None = None
    """How many trials there are in all; with the last one the experiment has succeeded. Without it
    the search goes on until the goal is reached or too many trials have failed."""
    max_failed_trial_count: Amount | None = None
    """With so many failed trials the experiment has failed; 0 means at the first one, too. Without
    it failed trials stop nothing."""
    metrics_collector_spec: MetricsCollectorSpec | None = None
    """How the trials' metrics are collected, by default from their output."""
    nas_config: NasConfig | None = None
    """The space of an architecture search. Either this or parameters."""
    resume_policy: PolicyName | None = None
    """Whether the experiment may go on after its end with a larger budget: Never (the default),
    LongRunning, or FromVolume, which keeps the algorithm's state but not its process."""
    suspend: bool | None = None
    """True stops the running trials and starts no others, until it is false again. (Our own.)"""


class SuggestionSpec(Wire):
    """What is wanted from the algorithm."""

    algorithm: AlgorithmSpec | None = None
    """The algorithm that proposes points."""
    early_stopping: AlgorithmSpec | None = None
    """The rule that stops trials which promise nothing."""
    requests: Amount | None = None
    """How many points are wanted, in all so far."""
    resume_policy: PolicyName | None = None
    """What becomes of the algorithm after the experiment's end."""


class TrialSpec(Wire):
    """One trial: its parameters, and the object that it runs as."""

    objective: ObjectiveSpec | None = None
    """What is optimised."""
    parameter_assignments: ByName[ParameterAssignment] | None = None
    """The values of the trial's parameters."""
    early_stopping_rules: Whole[EarlyStoppingRule] | None = None
    """Rules by which the trial is stopped early."""
    run_spec: FreeObject | None = None
    """The trial's object: the template with its placeholders replaced."""
    retain_run: bool | None = None
    """Whether the object is kept after the trial's end."""
    metrics_collector: MetricsCollectorSpec | None = None
    """How the trial's metrics are collected."""
    primary_pod_labels: dict[str, str] | None = None
    """The labels by which the pod that tells the metrics is found."""
    primary_container_name: str | None = None
    """The container that trains."""
    success_condition: str | None = None
    """When the trial has succeeded: a GJSON expression over its object."""
    failure_condition: str | None = None
    """When the trial has failed: a GJSON expression over its object."""
    labels: dict[str, str] | None = None
    """Labels that the algorithm gave the trial."""


class Metadata(Wire):
    """Kubernetes' ObjectMeta: what is not named here is kept as it is."""

    model_config = ConfigDict(extra="allow")

    name: str | None = None
    namespace: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class Identified(Wire):
    """What every Kubernetes object has."""

    api_version: str | None = None
    """The group and version of this object: kubeflow.org/v1beta1."""
    kind: str | None = None
    """What this object is."""
    metadata: Metadata | None = None
    """Name, namespace, labels and annotations."""


class ExperimentObject(Identified):
    """An Experiment as it is sent: `status` is taken and not looked at, because people apply what
    they got."""

    spec: ExperimentSpec | None = None
    """What to search, how, and how many trials it may take."""
    status: Any = None


class Experiment(ExperimentObject):
    """A search for the best parameters: it starts trials until its budget is used up or its goal
    is reached."""

    status: ExperimentStatus | None = None
    """How far the experiment is."""


class Suggestion(Identified):
    """What an experiment's algorithm was asked for and has proposed. It has the experiment's name,
    and is made with it."""

    spec: SuggestionSpec | None = None
    """What is wanted from the algorithm."""
    status: SuggestionStatus | None = None
    """What the algorithm has proposed."""


class Trial(Identified):
    """One run of the training with given parameters. Experiments make their trials."""

    spec: TrialSpec | None = None
    """The trial's parameters, and the object that it runs as."""
    status: TrialStatus | None = None
    """How far the trial is."""
