"""What a user asks for: an experiment's specification, parsed and valid."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from trialbus.kernel.limits import DEFAULT_PARALLEL_TRIAL_COUNT
from trialbus.kernel.objective import Objective
from trialbus.kernel.space import Parameter

Json = Any  # a JSON value: the template of a trial is the user's own object


@dataclass(frozen=True, slots=True, kw_only=True)
class AlgorithmSpec:
    """An algorithm or a stopping rule by name, with its settings as the user wrote them."""

    name: str
    settings: tuple[tuple[str, str], ...] = ()

    def setting(self, name: str, default: str | None = None) -> str | None:
        return dict(self.settings).get(name, default)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialParameter:
    """`${trialParameters.<name>}` stands for the search parameter (or metadata) `reference`."""

    name: str
    reference: str
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialTemplate:
    """The object that a trial becomes. `trial_spec` is kept as the user wrote it."""

    trial_spec: Mapping[str, Json]
    parameters: tuple[TrialParameter, ...] = ()
    primary_container: str = ""
    primary_pod_labels: Mapping[str, str] = field(default_factory=dict)
    success_condition: str = ""
    failure_condition: str = ""
    retain: bool = False


class Place(StrEnum):
    """Where trials run. ONE_MACHINE: as processes, each made of a Job. CLUSTER: any object."""

    ONE_MACHINE = "one machine"
    CLUSTER = "a cluster"


class CollectorKind(StrEnum):
    STDOUT = "StdOut"
    FILE = "File"
    TENSORFLOW_EVENT = "TensorFlowEvent"
    PROMETHEUS_METRIC = "PrometheusMetric"
    CUSTOM = "Custom"
    PUSH = "Push"


class PathKind(StrEnum):
    FILE = "File"
    DIRECTORY = "Directory"


class MetricsFormat(StrEnum):
    """TEXT: `name=value` in lines, as on stdout. JSON: one object per line."""

    TEXT = "TEXT"
    JSON = "JSON"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsPath:
    """Where a trial writes its metrics, as its container sees it: absolute."""

    path: str
    kind: PathKind
    format: MetricsFormat = MetricsFormat.TEXT


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsEndpoint:
    """Where a trial answers Prometheus while it runs. host: "" is the trial itself. scheme: HTTP
    or HTTPS. headers: sent with every request."""

    port: int
    path: str
    host: str = ""
    scheme: str = "HTTP"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsCollectorSpec:
    """path: of File, TensorFlowEvent and, if given, Custom. endpoint: of PrometheusMetric.
    container: the user's own collector, of Custom, a Kubernetes container as written. filters: of
    StdOut and of File with TEXT."""

    kind: CollectorKind = CollectorKind.STDOUT
    filters: tuple[str, ...] = ()
    path: MetricsPath | None = None
    endpoint: MetricsEndpoint | None = None
    container: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NasOperation:
    """One kind of layer of a network, with the parameters that it may have."""

    type: str
    parameters: tuple[Parameter, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NasConfig:
    """The space of an architecture search: so many layers, each one of the operations."""

    num_layers: int
    input_sizes: tuple[int, ...]
    output_sizes: tuple[int, ...]
    operations: tuple[NasOperation, ...]


class ResumePolicy(StrEnum):
    NEVER = "Never"
    LONG_RUNNING = "LongRunning"
    FROM_VOLUME = "FromVolume"


class AtGoal(StrEnum):
    """What happens to the running trials when the goal is reached."""

    STOP = "stop"
    DRAIN = "drain"


class TrialsBy(StrEnum):
    """Who runs the trials: the launcher, from the template, or workers that ask for them. IMPORT:
    nobody, they ended elsewhere and are told."""

    LAUNCHER = "launcher"
    WORKERS = "workers"
    IMPORT = "import"


class CountedResource(StrEnum):
    """What seconds of running are multiplied by: processors, devices or trials."""

    CPU = "cpu"
    GPU = "gpu"
    TRIAL = "trial"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentSpec:
    """Budgets are numbers of trials, and max_duration_s: of wall time that it is not suspended;
    max_resource_seconds: of all attempts, weighed by `counted_resource`. None: no limit.
    parameters: empty for an architecture search, which has `nas`. warm_start_from: experiments of
    its namespace whose trials it begins with. keep_best: so many trials keep their checkpoints and
    artifacts; None: all do."""

    parameters: tuple[Parameter, ...]
    objective: Objective
    algorithm: AlgorithmSpec
    early_stopping: AlgorithmSpec | None = None
    template: TrialTemplate | None = None
    parallel_trial_count: int = DEFAULT_PARALLEL_TRIAL_COUNT
    max_trial_count: int | None = None
    max_failed_trial_count: int | None = None
    metrics_collector: MetricsCollectorSpec = MetricsCollectorSpec()
    resume_policy: ResumePolicy = ResumePolicy.NEVER
    working_dir: str | None = None
    nas: NasConfig | None = None
    at_goal: AtGoal = AtGoal.STOP
    suspend: bool = False
    trials_by: TrialsBy = TrialsBy.LAUNCHER
    max_duration_s: float | None = None
    max_resource_seconds: float | None = None
    counted_resource: CountedResource = CountedResource.CPU
    warm_start_from: tuple[str, ...] = ()
    keep_best: int | None = None

    @property
    def assignment_names(self) -> tuple[str, ...]:
        """Of the values of a point, in their order: the parameters; in an architecture search what
        the template's parameters refer to, except the trial itself."""
        if self.nas is None:
            return tuple(parameter.name for parameter in self.parameters)
        given = self.template.parameters if self.template is not None else ()
        return tuple(it.reference for it in given if not it.reference.startswith("${"))
