"""What Katib's webhook fills in, in its order (experiment_defaults.go)."""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

from trialbus.kernel.limits import DEFAULT_PARALLEL_TRIAL_COUNT

Json = Any
Fields = dict[str, Json]

JOB_SUCCESS = 'status.conditions.#(type=="Complete")#|#(status=="True")#'
JOB_FAILURE = 'status.conditions.#(type=="Failed")#|#(status=="True")#'
_SUCCEEDED = 'status.conditions.#(type=="Succeeded")#|#(status=="True")#'
_TRAINING_LABELS = {"training.kubeflow.org/job-role": "master"}
_TRAIN_JOB_LABELS = {
    "jobset.sigs.k8s.io/replicatedjob-name": "node",
    "batch.kubernetes.io/job-completion-index": "0",
}
# Kind -> success condition, labels of the primary pod. By kind alone, as in Katib.
_KINDS: dict[str, tuple[str, dict[str, str]]] = {
    "Job": (JOB_SUCCESS, {}),
    "TrainJob": (JOB_SUCCESS, _TRAIN_JOB_LABELS),
    **dict.fromkeys(
        ("TFJob", "PyTorchJob", "XGBoostJob", "MPIJob"), (_SUCCEEDED, _TRAINING_LABELS)
    ),
}
_STRATEGIES = {"minimize": "min", "maximize": "max"}
_COLLECTOR_SOURCES: dict[str, Fields] = {
    "PrometheusMetric": {"httpGet": {"path": "/metrics", "port": 8080}},
    "File": {
        "fileSystemPath": {"kind": "File", "path": "/var/log/katib/metrics.log", "format": "TEXT"}
    },
    "TensorFlowEvent": {"fileSystemPath": {"kind": "Directory", "path": "/var/log/katib/tfevent/"}},
}


def with_defaults(spec: Fields, trial_spec: Mapping[str, Json] | None = None) -> Fields:
    """A spec of the right shape with what was left out. The argument stays as it is.

    `trial_spec`: the trial template's object, wherever it is written. (Katib gives no defaults to a
    template in a ConfigMap, which is then refused for want of conditions.)
    """
    spec = deepcopy(spec)
    if spec.get("parallelTrialCount") is None:
        spec["parallelTrialCount"] = DEFAULT_PARALLEL_TRIAL_COUNT
    spec["resumePolicy"] = spec.get("resumePolicy") or "Never"
    if spec.get("objective") is not None:
        _default_strategies(spec["objective"])
    if spec.get("trialTemplate") is not None:
        _default_template(spec["trialTemplate"], trial_spec)
    _default_collector(spec)
    for parameter in spec.get("parameters") or []:
        if (space := parameter.get("feasibleSpace")) is not None:
            space["distribution"] = space.get("distribution") or "uniform"
    return spec


def _default_strategies(objective: Fields) -> None:
    """Katib's comment says `latest` for the additional metrics; its code, and so here, the same
    as for the objective."""
    strategies = list(objective.get("metricStrategies") or [])
    listed = {strategy.get("name") for strategy in strategies}
    value = _STRATEGIES.get(objective.get("type") or "", "latest")
    names = [objective.get("objectiveMetricName"), *(objective.get("additionalMetricNames") or [])]
    for name in dict.fromkeys(names):
        if name and name not in listed:
            strategies.append({"name": name, "value": value})
    objective["metricStrategies"] = strategies


def _default_template(template: Fields, trial_spec: Mapping[str, Json] | None) -> None:
    kind = trial_spec.get("kind") if trial_spec else None
    if not isinstance(kind, str) or kind not in _KINDS:
        return
    success, labels = _KINDS[kind]
    template["successCondition"] = template.get("successCondition") or success
    template["failureCondition"] = template.get("failureCondition") or JOB_FAILURE
    if labels and not template.get("primaryPodLabels"):
        template["primaryPodLabels"] = dict(labels)


def _default_collector(spec: Fields) -> None:
    collector_spec = spec["metricsCollectorSpec"] = spec.get("metricsCollectorSpec") or {}
    collector = collector_spec["collector"] = collector_spec.get("collector") or {}
    collector["kind"] = collector.get("kind") or "StdOut"
    for part, fields in _COLLECTOR_SOURCES.get(collector["kind"], {}).items():
        source = collector_spec["source"] = collector_spec.get("source") or {}
        source[part] = _filled(source.get(part) or {}, fields.items())


def _filled(given: Fields, defaults: Iterable[tuple[str, Json]]) -> Fields:
    return {**dict(defaults), **{name: value for name, value in given.items() if value}}
