"""The models of Katib's objects: every field of Katib's, by its name, with a sentence."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from trialbus.contracts.katib import models

EXAMPLES = sorted(Path(__file__).parents[2].glob("examples/katib/*.yaml"))

# Katib's fields (pkg/apis/controller, v1beta1), and our own `suspend`.
OBJECT = "apiVersion kind metadata spec status"
TIMES = "startTime completionTime lastReconcileTime conditions"
FIELDS: Mapping[type[BaseModel], str] = {
    models.Experiment: OBJECT,
    models.Suggestion: OBJECT,
    models.Trial: OBJECT,
    models.ExperimentSpec: "parameters objective algorithm earlyStopping trialTemplate "
    "parallelTrialCount maxTrialCount maxFailedTrialCount metricsCollectorSpec nasConfig "
    "resumePolicy suspend",
    models.ExperimentStatus: f"{TIMES} currentOptimalTrial runningTrialList pendingTrialList "
    "failedTrialList succeededTrialList killedTrialList earlyStoppedTrialList "
    "metricsUnavailableTrialList trials trialsSucceeded trialsFailed trialsKilled trialsPending "
    "trialsRunning trialsEarlyStopped trialMetricsUnavailable",
    models.SuggestionSpec: "algorithm earlyStopping requests resumePolicy",
    models.SuggestionStatus: f"{TIMES} algorithmSettings suggestionCount suggestions",
    models.TrialAssignment: "name parameterAssignments earlyStoppingRules labels",
    models.TrialSpec: "objective parameterAssignments earlyStoppingRules runSpec retainRun "
    "metricsCollector primaryPodLabels primaryContainerName successCondition failureCondition "
    "labels",
    models.TrialStatus: f"{TIMES} observation",
    models.ParameterSpec: "name parameterType feasibleSpace",
    models.FeasibleSpace: "min max step list distribution",
    models.ObjectiveSpec: "type goal objectiveMetricName additionalMetricNames metricStrategies",
    models.MetricStrategy: "name value",
    models.AlgorithmSpec: "algorithmName algorithmSettings",
    models.NameValue: "name value",
    models.TrialTemplate: "retain trialSpec configMap trialParameters primaryPodLabels "
    "primaryContainerName successCondition failureCondition",
    models.ConfigMapSource: "configMapName configMapNamespace templatePath",
    models.TrialParameterSpec: "name description reference",
    models.MetricsCollectorSpec: "source collector",
    models.SourceSpec: "httpGet fileSystemPath filter",
    models.HttpGet: "path port host scheme httpHeaders",
    models.HttpHeader: "name value",
    models.FileSystemPath: "path kind format",
    models.FilterSpec: "metricsFormat",
    models.CollectorSpec: "kind customCollector",
    models.NasConfig: "graphConfig operations",
    models.GraphConfig: "numLayers inputSizes outputSizes",
    models.Operation: "operationType parameters",
    models.Condition: "type status reason message lastUpdateTime lastTransitionTime",
    models.OptimalTrial: "bestTrialName parameterAssignments observation",
    models.ParameterAssignment: "name value",
    models.Observation: "metrics",
    models.Metric: "name min max latest",
    models.EarlyStoppingRule: "name value comparison startStep",
}


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a field's type names, however deep."""
    if isinstance(annotation, type) and not get_args(annotation):
        if issubclass(annotation, BaseModel):
            yield annotation
        return
    for argument in get_args(annotation):
        yield from models_in(argument)


def reached(model: type[BaseModel]) -> set[type[BaseModel]]:
    found = {model}
    for info in model.model_fields.values():
        for inner in models_in(info.annotation):
            found |= reached(inner)
    return found


REACHED = reached(models.Experiment) | reached(models.Suggestion) | reached(models.Trial)
TOLD = sorted(REACHED - {models.Metadata}, key=lambda model: model.__name__)


@pytest.mark.parametrize("model", FIELDS, ids=lambda model: model.__name__)
def test_a_model_has_katibs_fields(model: type[BaseModel]) -> None:
    aliases = {info.alias for info in model.model_fields.values()}
    assert aliases == set(FIELDS[model].split())


def test_no_model_is_left_out() -> None:
    assert set(TOLD) == set(FIELDS)


@pytest.mark.parametrize("model", TOLD, ids=lambda model: model.__name__)
def test_every_model_and_field_has_a_sentence(model: type[BaseModel]) -> None:
    told = {info.alias: info.description for info in model.model_fields.values()}
    told[None] = model.__doc__
    assert [
        name for name, text in told.items() if not (text or "").strip().endswith((".", ".)"))
    ] == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_katibs_own_experiments_lose_nothing(path: Path) -> None:
    given = yaml.safe_load(path.read_text())
    parsed = models.Experiment.model_validate(given)
    assert parsed.model_dump(by_alias=True, exclude_unset=True) == given


@pytest.mark.parametrize(
    ("model", "given", "where"),
    [
        (models.Condition, {"type": "Running", "status": None}, ("status",)),
        (models.Condition, {"status": "True"}, ("type",)),
        (models.ExperimentStatus, {"trialsMetricsUnavailable": 1}, ("trialsMetricsUnavailable",)),
        (models.ExperimentStatus, {"trials": "1"}, ("trials",)),
        (models.TrialStatus, {"startTime": "yesterday"}, ("startTime",)),
        (models.TrialStatus, {"startTime": "2023-11-14T22:13:20+01:00"}, ("startTime",)),
        (models.TrialSpec, {"parameterAssignments": [{"value": 0.1}]},
         ("parameterAssignments", 0, "value")),
    ],
)  # fmt: skip
def test_what_is_no_katib_object_is_refused(
    model: type[BaseModel], given: dict[str, Any], where: tuple[str | int, ...]
) -> None:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(given)
    assert [error["loc"] for error in caught.value.errors()] == [where]
