"""An Experiment of Katib becomes a specification, or is refused with every problem at once.

The table names each rule by its number in Katib's validation webhook (validator.go).
"""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trialbus.contracts.katib.spec import ParsedExperiment, parse_experiment
from trialbus.contracts.yaml_input import load_document
from trialbus.kernel.catalogue import (
    AlgorithmDescription,
    Catalogue,
    Setting,
    StoppingRuleDescription,
)
from trialbus.kernel.errors import Refused
from trialbus.kernel.objective import ObjectiveType, Strategy
from trialbus.kernel.space_rules import Parameter
from trialbus.kernel.spec import AtGoal, CollectorKind, ResumePolicy
from trialbus.runtime import catalogue as runtime_catalogue
from trialbus_early_stopping.core.catalogue import MEDIAN_STOP
from trialbus_suggestion.core.catalogue import BAYESIAN_OPTIMIZATION, RANDOM

EXAMPLES = Path(__file__).parents[2] / "examples"
TYPES = frozenset({"double", "int", "discrete", "categorical"})
SEED = Setting(name="random_state", kind="int", check=lambda v: v >= 0, message="must be >= 0")
CATALOGUE = Catalogue(
    algorithms={
        "random": AlgorithmDescription(
            name="random",
            settings=(SEED,),
            parameter_types=TYPES,
            distributions=frozenset({"uniform", "logUniform", "normal", "logNormal"}),
        ),
        "bayesianoptimization": AlgorithmDescription(
            name="bayesianoptimization",
            parameter_types=TYPES - {"discrete"},
            distributions=frozenset({"uniform"}),
        ),
    },
    stopping_rules={
        "medianstop": StoppingRuleDescription(
            name="medianstop", settings=(Setting(name="start_step", kind="int"),)
        )
    },
)
BUILT_IN = Catalogue(
    algorithms={"random": RANDOM, "bayesianoptimization": BAYESIAN_OPTIMIZATION},
    stopping_rules={"medianstop": MEDIAN_STOP},
)
Object = dict[str, Any]
JOB_SUCCESS = 'status.conditions.#(type=="Complete")#|#(status=="True")#'
JOB_FAILURE = 'status.conditions.#(type=="Failed")#|#(status=="True")#'


def valid() -> Object:
    """With everything in it that the rules look at."""
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"namespace": "team", "name": "exp"},
        "spec": {
            "objective": {
                "type": "minimize",
                "goal": 0.001,
                "objectiveMetricName": "loss",
                "additionalMetricNames": ["accuracy"],
            },
            "algorithm": {
                "algorithmName": "random",
                "algorithmSettings": [{"name": "random_state", "value": "1"}],
            },
            "parallelTrialCount": 2,
            "maxTrialCount": 10,
            "maxFailedTrialCount": 3,
            "parameters": [
                {
                    "name": "lr",
                    "parameterType": "double",
                    "feasibleSpace": {"min": "0.01", "max": "0.05", "step": "0.01"},
                },
                {
                    "name": "opt",
                    "parameterType": "categorical",
                    "feasibleSpace": {"list": ["sgd", "adam"]},
                },
            ],
            "trialTemplate": {
                "primaryContainerName": "main",
                "trialParameters": [
                    {"name": "rate", "reference": "lr"},
                    {"name": "optimizer", "reference": "opt"},
                ],
                "trialSpec": {
                    "apiVersion": "batch/v1",
                    "kind": "Job",
                    "spec": {
                        "template": {
                            "spec": {
                                "containers": [
                                    {
                                        "name": "main",
                                        "image": "any",
                                        "command": [
                                            "python",
                                            "t.py",
                                            "--lr=${trialParameters.rate}",
                                            "--opt=${trialParameters.optimizer}",
                                        ],
                                    }
                                ]
                            }
                        }
                    },
                },
            },
        },
    }


def parse(obj: object, **options: Any) -> ParsedExperiment:
    return parse_experiment(obj, catalogue=CATALOGUE, **options)


def problems(obj: object, **options: Any) -> dict[str, str]:
    with pytest.raises(Refused) as caught:
        parse(obj, **options)
    return {problem.field: problem.message for problem in caught.value.problems}


def at(obj: Object, path: str) -> Any:
    node: Any = obj
    for part in filter(None, path.replace("[", ".").replace("]", "").split(".")):
        node = node[int(part)] if part.isdigit() else node[part]
    return node


def put(path: str, value: Any) -> Callable[[Object], None]:
    """Set a field; the value `DELETE` removes it."""
    parent, _, last = path.rpartition(".")

    def change(obj: Object) -> None:
        node = at(obj, parent)
        if value is DELETE:
            del node[last]
        else:
            node[last] = value

    return change


DELETE = object()
SPACE = "spec.parameters[0].feasibleSpace"
TEMPLATE = "spec.trialTemplate"
JOB = "spec.trialTemplate.trialSpec"
POD = f"{JOB}.spec.template.spec"
MAIN = f"{POD}.containers[0]"


def extra_parameter(**fields: Any) -> Callable[[Object], None]:
    def change(obj: Object) -> None:
        obj["spec"]["trialTemplate"]["trialParameters"].append(fields)

    return change


def both(*changes: Callable[[Object], None]) -> Callable[[Object], None]:
    def change(obj: Object) -> None:
        for one in changes:
            one(obj)

    return change


# rule, change to the valid object, field of the problem, words in its message
RULES: list[tuple[str, Callable[[Object], None], str, str]] = [
    ("1", put("metadata.name", "1abc"), "metadata.name", "lower case alphanumeric"),
    ("1", put("metadata.name", "abc-"), "metadata.name", "end with an alphanumeric"),
    ("1 anchored", put("metadata.name", "abc$(id)"), "metadata.name", "lower case"),
    ("1 anchored", put("metadata.name", "abc\n"), "metadata.name", "lower case"),
    ("1", put("metadata.name", "a" * 41), "metadata.name", "40 characters"),
    ("1", put("metadata.name", DELETE), "metadata.name", "lower case"),
    ("namespace", put("metadata.namespace", "A.b"), "metadata.namespace", "lower case"),
    ("2", put("spec.maxFailedTrialCount", -1), "spec.maxFailedTrialCount", "not be less than 0"),
    ("3", put("spec.maxTrialCount", 0), "spec.maxTrialCount", "greater than 0"),
    ("4", put("spec.parallelTrialCount", 0), "spec.parallelTrialCount", "greater than 0"),
    ("5", put("spec.maxFailedTrialCount", 11), "spec.maxFailedTrialCount", "maxTrialCount 10"),
    ("6", put("spec.parallelTrialCount", 11), "spec.parallelTrialCount", "maxTrialCount 10"),
    ("10", put("spec.objective", DELETE), "spec.objective", "must be specified"),
    ("11", put("spec.objective.type", "min"), "spec.objective.type", "minimize or maximize"),
    ("11", put("spec.objective.type", DELETE), "spec.objective.type", "minimize or maximize"),
    (
        "12",
        both(
            put("spec.objective.objectiveMetricName", ""),
            put("spec.objective.additionalMetricNames", []),
        ),
        "spec.objective.objectiveMetricName",
        "must be specified",
    ),
    (
        "13",
        put("spec.objective.additionalMetricNames", ["accuracy", "loss"]),
        "spec.objective.additionalMetricNames[1]",
        "should not contain spec.objective.objectiveMetricName",
    ),
    (
        "metric twice",
        put("spec.objective.additionalMetricNames", ["a", "a"]),
        "spec.objective.additionalMetricNames[1]",
        "more than once",
    ),
    (
        "strategy of an unknown metric",
        put("spec.objective.metricStrategies", [{"name": "acuracy", "value": "max"}]),
        "spec.objective.metricStrategies[0].name",
        "did you mean accuracy?",
    ),
    (
        "strategy twice",
        put("spec.objective.metricStrategies", [{"name": "loss", "value": "min"}] * 2),
        "spec.objective.metricStrategies[1].name",
        "more than one",
    ),
    (
        "unknown strategy",
        put("spec.objective.metricStrategies", [{"name": "loss", "value": "mean"}]),
        "spec.objective.metricStrategies[0].value",
        "min or max or latest",
    ),
    ("14", put("spec.algorithm", DELETE), "spec.algorithm", "must be specified"),
    (
        "15",
        put("spec.algorithm.algorithmName", ""),
        "spec.algorithm.algorithmName",
        "must be specified",
    ),
    (
        "15",
        put("spec.algorithm.algorithmName", "randon"),
        "spec.algorithm.algorithmName",
        "did you mean random?",
    ),
    (
        "algorithm setting",
        put("spec.algorithm.algorithmSettings", [{"name": "random_state", "value": "-1"}]),
        "spec.algorithm.algorithmSettings[0]",
        "must be >= 0",
    ),
    (
        "unknown algorithm setting",
        put("spec.algorithm.algorithmSettings", [{"name": "seed", "value": "1"}]),
        "spec.algorithm.algorithmSettings[0]",
        "unknown setting seed",
    ),
    (
        "16",
        put("spec.earlyStopping", {}),
        "spec.earlyStopping.algorithmName",
        "must be specified",
    ),
    (
        "16",
        put("spec.earlyStopping", {"algorithmName": "median"}),
        "spec.earlyStopping.algorithmName",
        "did you mean medianstop?",
    ),
    (
        "early stopping setting",
        put(
            "spec.earlyStopping",
            {
                "algorithmName": "medianstop",
                "algorithmSettings": [{"name": "start_step", "value": "x"}],
            },
        ),
        "spec.earlyStopping.algorithmSettings[0]",
        "start_step(x)",
    ),
    ("17", put("spec.resumePolicy", "Always"), "spec.resumePolicy", "Never or LongRunning"),
    (
        "19",
        put(f"{TEMPLATE}.primaryContainerName", ""),
        f"{TEMPLATE}.primaryContainerName",
        "must be specified",
    ),
    (
        "20",
        put(f"{JOB}.kind", "Workflow"),
        TEMPLATE,
        "successCondition and failureCondition must be specified",
    ),
    (
        "21",
        put(f"{TEMPLATE}.trialParameters", DELETE),
        f"{TEMPLATE}.trialParameters",
        "must be specified",
    ),
    ("22", put(JOB, DELETE), TEMPLATE, "trialSpec must be specified"),
    ("23", put(f"{TEMPLATE}.configMap", {}), TEMPLATE, "only one of"),
    (
        "24",
        both(put(JOB, DELETE), put(f"{TEMPLATE}.configMap", {"configMapName": "x"})),
        f"{TEMPLATE}.configMap",
        "must be specified",
    ),
    (
        "25 not supported yet",
        put(f"{TEMPLATE}.configMap", {}),
        f"{TEMPLATE}.configMap",
        "write the template into spec.trialTemplate.trialSpec",
    ),
    (
        "26",
        extra_parameter(name="x"),
        f"{TEMPLATE}.trialParameters[2]",
        "name and reference must be specified",
    ),
    (
        "26",
        extra_parameter(name="a}b", reference="lr"),
        f"{TEMPLATE}.trialParameters[2].name",
        "neither {",
    ),
    (
        "27",
        extra_parameter(name="rate", reference="lr"),
        f"{TEMPLATE}.trialParameters[2].name",
        "can't be duplicated",
    ),
    (
        "28",
        extra_parameter(name="other", reference="lr"),
        f"{TEMPLATE}.trialParameters[2].reference",
        "can't be duplicated",
    ),
    (
        "29",
        extra_parameter(name="rate2", reference="op"),
        f"{TEMPLATE}.trialParameters[2].reference",
        "does not exist in spec.parameters; did you mean opt?",
    ),
    (
        "29 unknown meta key",
        extra_parameter(name="m", reference="${trialSpec.Uid}"),
        f"{TEMPLATE}.trialParameters[2].reference",
        "Labels[key] are",
    ),
    (
        "29 missing label",
        extra_parameter(name="m", reference="${trialSpec.Labels[x]}"),
        f"{TEMPLATE}.trialParameters[2].reference",
        "no such entry",
    ),
    (
        "30",
        extra_parameter(name="m", reference="${trialSpec.Name}"),
        f"{TEMPLATE}.trialParameters[2].name",
        "does not occur in trialSpec",
    ),
    (
        "31",
        put(f"{MAIN}.args", ["${trialParameters.rat}"]),
        JOB,
        "${trialParameters.rat} is not found in trialParameters; did you mean rate?",
    ),
    ("33", put(f"{JOB}.metadata", {"name": "x"}), f"{JOB}.metadata", "must be omitted"),
    ("33", put(f"{JOB}.metadata", {"namespace": "x"}), f"{JOB}.metadata", "must be omitted"),
    ("34", put(f"{JOB}.apiVersion", DELETE), JOB, "APIVersion and Kind"),
    ("34", put(f"{JOB}.kind", ""), JOB, "APIVersion and Kind"),
    ("35", put(f"{MAIN}.comand", []), f"{MAIN}.comand", "did you mean command?"),
    ("35", put(f"{JOB}.spec.backofLimit", 1), f"{JOB}.spec.backofLimit", "backoffLimit?"),
    ("35", put(f"{POD}.container", []), f"{POD}.container", "did you mean containers?"),
    ("kind for a cluster", put(f"{JOB}.kind", "TFJob"), JOB, "needs a cluster"),
    ("Job of another group", put(f"{JOB}.apiVersion", "batch/v2"), JOB, "needs a cluster"),
    ("no command", put(f"{MAIN}.command", DELETE), f"{MAIN}.command", "must be given"),
    ("number in command", put(f"{MAIN}.args", [16]), f"{MAIN}.args[0]", "in quotes"),
    (
        "variable from elsewhere",
        put(f"{MAIN}.env", [{"name": "A", "valueFrom": {}}]),
        f"{MAIN}.env[0].valueFrom",
        "one machine",
    ),
    (
        "unknown container",
        put(f"{TEMPLATE}.primaryContainerName", "mian"),
        f"{TEMPLATE}.primaryContainerName",
        "containers: main",
    ),
    (
        "own success condition",
        put(f"{TEMPLATE}.successCondition", "status.x"),
        f"{TEMPLATE}.successCondition",
        "exit code 0",
    ),
    (
        "placeholder in a field's name",
        put(f"{JOB}.metadata", {"labels": {"${trialParameters.rate}": "x"}}),
        JOB,
        "not in names of fields",
    ),
    (
        "unused parameter",
        put(f"{TEMPLATE}.trialParameters", [{"name": "rate", "reference": "lr"}]),
        "spec.parameters[1].name",
        "opt is used by no trialParameters",
    ),
    (
        "command out of bounds",
        put(f"{MAIN}.args", ["${trialParameters.rate}" * 20_000]),
        TEMPLATE,
        "longer than",
    ),
    ("36", put("spec.parameters", DELETE), "spec.parameters", "must be specified"),
    ("36", put("spec.parameters", []), "spec.parameters", "at least one"),
    ("37", put("spec.nasConfig", {}), "spec", "only one of"),
    ("no search yet", put("spec.nasConfig", {}), "spec.nasConfig", "not supported yet"),
    (
        "38",
        put("spec.parameters[0].parameterType", "float"),
        "spec.parameters[0].parameterType",
        "double, int, discrete, categorical",
    ),
    (
        "38 unknown",
        put("spec.parameters[0].parameterType", "unknown"),
        "spec.parameters[0].parameterType",
        "double, int, discrete, categorical",
    ),
    ("39", put(f"{SPACE}.distribution", "beta"), f"{SPACE}.distribution", "uniform, logUniform"),
    (
        "39 unknown",
        put(f"{SPACE}.distribution", "unknown"),
        f"{SPACE}.distribution",
        "uniform, logUniform",
    ),
    ("40", put(SPACE, DELETE), SPACE, "must be specified"),
    ("40", put(SPACE, {}), SPACE, "must be specified"),
    ("41", put(f"{SPACE}.list", ["1"]), f"{SPACE}.list", "not supported"),
    ("42", put(f"{SPACE}.min", DELETE), f"{SPACE}.min", "must be given"),
    ("42", put(f"{SPACE}.max", ""), f"{SPACE}.max", "must be given"),
    (
        "43",
        put("spec.parameters[1].feasibleSpace.step", "1"),
        "spec.parameters[1].feasibleSpace.step",
        "not supported",
    ),
    ("min above max", put(f"{SPACE}.min", "0.06"), f"{SPACE}.min", "greater than max"),
    ("no number", put(f"{SPACE}.min", "nan"), f"{SPACE}.min", "not a finite number"),
    ("no number", put(f"{SPACE}.max", "1_0"), f"{SPACE}.max", "not a finite number"),
    ("step 0", put(f"{SPACE}.step", "0"), f"{SPACE}.step", "above 0"),
    ("step too wide", put(f"{SPACE}.step", "1"), f"{SPACE}.step", "wider"),
    (
        "log of 0",
        both(put(f"{SPACE}.min", "0"), put(f"{SPACE}.distribution", "logUniform")),
        f"{SPACE}.min",
        "above 0 for the distribution logUniform",
    ),
    (
        "parameter twice",
        put("spec.parameters[1].name", "lr"),
        "spec.parameters[1].name",
        "already used",
    ),
    (
        "empty list",
        put("spec.parameters[1].feasibleSpace", {"list": [], "distribution": "uniform"}),
        "spec.parameters[1].feasibleSpace",
        "must be specified",
    ),
    (
        "value twice",
        put("spec.parameters[1].feasibleSpace.list", ["a", "a"]),
        "spec.parameters[1].feasibleSpace.list",
        "more than once",
    ),
    (
        "distribution of a list",
        put("spec.parameters[1].feasibleSpace.distribution", "normal"),
        "spec.parameters[1].feasibleSpace.distribution",
        "not supported for a categorical list",
    ),
    (
        "distribution that the algorithm lacks",
        both(
            put("spec.algorithm", {"algorithmName": "bayesianoptimization"}),
            put(f"{SPACE}.distribution", "normal"),
        ),
        f"{SPACE}.distribution",
        "does not support normal; it supports uniform",
    ),
    (
        "type that the algorithm lacks",
        both(
            put("spec.algorithm", {"algorithmName": "bayesianoptimization"}),
            put("spec.parameters[1].parameterType", "discrete"),
        ),
        "spec.parameters[1].parameterType",
        "does not support discrete",
    ),
    (
        "44",
        put("spec.metricsCollectorSpec", {"collector": {"kind": "Stdout"}}),
        "spec.metricsCollectorSpec.collector.kind",
        "did you mean StdOut?",
    ),
    (
        "44 not supported yet",
        put("spec.metricsCollectorSpec", {"collector": {"kind": "File"}}),
        "spec.metricsCollectorSpec.collector.kind",
        "File is not supported yet",
    ),
    (
        "49",
        put("spec.metricsCollectorSpec", {"source": {"filter": {"metricsFormat": ["(a"]}}}),
        "spec.metricsCollectorSpec.source.filter.metricsFormat[0]",
        "invalid filter",
    ),
    (
        "49",
        put("spec.metricsCollectorSpec", {"source": {"filter": {"metricsFormat": ["(a)"]}}}),
        "spec.metricsCollectorSpec.source.filter.metricsFormat[0]",
        "two top subexpressions",
    ),
    (
        "at goal",
        put("metadata.annotations", {"trialbus.io/at-goal": "kill"}),
        "metadata.annotations[trialbus.io/at-goal]",
        "stop or drain",
    ),
    # The wire shape.
    (
        "unknown field",
        put("spec.objective.objectiveMetricname", "x"),
        "spec.objective.objectiveMetricname",
        "did you mean objectiveMetricName?",
    ),
    ("unknown field", put("spec.maxTrials", 5), "spec.maxTrials", "did you mean maxTrialCount?"),
    ("unknown field", put("sepc", {}), "sepc", "did you mean spec?"),
    ("unknown field", put("spec.zzz", 5), "spec.zzz", "known here: parameters, objective"),
    ("unquoted number", put(f"{SPACE}.min", 0.01), f"{SPACE}.min", 'write "0.01" in quotes'),
    (
        "unquoted word",
        put("spec.parameters[1].feasibleSpace.list", ["sgd", True]),
        "spec.parameters[1].feasibleSpace.list[1]",
        "must be text, not true",
    ),
    ("no integer", put("spec.maxTrialCount", "10"), "spec.maxTrialCount", "whole number"),
    ("no integer", put("spec.maxTrialCount", 10.0), "spec.maxTrialCount", "whole number"),
    ("no integer", put("spec.parallelTrialCount", True), "spec.parallelTrialCount", "not true"),
    ("no integer of 32 bits", put("spec.maxTrialCount", 2**31), "spec.maxTrialCount", "32 bits"),
    ("no number", put("spec.objective.goal", "0.1"), "spec.objective.goal", "must be a number"),
    ("no number", put("spec.objective.goal", True), "spec.objective.goal", "not true"),
    ("no truth value", put("spec.suspend", "yes"), "spec.suspend", "true or false"),
    ("no object", put("spec.objective", "loss"), "spec.objective", "must be an object"),
    ("no list", put("spec.parameters", {"lr": {}}), "spec.parameters", "must be a list"),
    ("no object in a list", put("spec.parameters", ["lr"]), "spec.parameters[0]", "an object"),
    ("no spec", put("spec.objective", None), "spec.objective", "must be specified"),
    ("long number", put(f"{SPACE}.min", "0" * 101), f"{SPACE}.min", "longer than 100"),
]


@pytest.mark.parametrize(("rule", "change", "field", "words"), RULES)
def test_a_broken_rule_is_named_by_its_field(
    rule: str, change: Callable[[Object], None], field: str, words: str
) -> None:
    obj = valid()
    change(obj)
    found = problems_list(obj)
    assert any(where == field and words in message for where, message in found), found


def problems_list(obj: object, **options: Any) -> list[tuple[str, str]]:
    with pytest.raises(Refused) as caught:
        parse(obj, **options)
    return [(problem.field, problem.message) for problem in caught.value.problems]


def test_rule_18_a_template_is_required_only_without_a_default_one() -> None:
    obj = valid()
    del obj["spec"]["trialTemplate"]
    assert parse(obj).spec.template is None
    assert list(problems(obj, default_template_allowed=False)) == ["spec.trialTemplate"]


def test_rule_13_and_the_others_are_reported_together_with_those_of_shape() -> None:
    obj = valid()
    obj["metadata"]["name"] = "Bad_Name"
    obj["spec"]["objective"] |= {"type": 5, "additionalMetricNames": ["loss"]}
    obj["spec"]["parameters"][0]["feasibleSpace"]["min"] = "9"
    obj["spec"]["parameters"].insert(0, "lr")
    obj["spec"]["algorithm"]["algorithmName"] = "nope"
    obj["spec"]["parallelTrialCount"] = "two"
    obj["spec"]["maxTrialCount"] = -1
    del obj["spec"]["trialTemplate"]
    assert set(problems(obj)) == {
        "metadata.name",
        "spec.objective.type",
        "spec.objective.additionalMetricNames[0]",
        "spec.parameters[0]",
        "spec.parameters[1].feasibleSpace.min",
        "spec.algorithm.algorithmName",
        "spec.parallelTrialCount",
        "spec.maxTrialCount",
    }


@pytest.mark.parametrize(
    ("obj", "fields"),
    [
        ({"apiVersion": "v1", "kind": "Pod", "spec": {"x": 1}}, ["apiVersion", "kind"]),
        ({"apiVersion": "kubeflow.org/v1alpha3", "kind": "Experiment"}, ["apiVersion"]),
        ({}, ["apiVersion", "kind"]),
        ([], [""]),
        ("text", [""]),
        (None, [""]),
        (
            {"apiVersion": "kubeflow.org/v1beta1", "kind": "Experiment"},
            ["metadata.name", "spec"],
        ),
    ],
)
def test_what_is_no_experiment_is_refused_in_few_words(obj: object, fields: list[str]) -> None:
    assert list(problems(obj)) == fields


def test_a_valid_experiment_is_taken_in() -> None:
    obj = valid()
    obj["metadata"] |= {
        "annotations": {"trialbus.io/at-goal": "drain"},
        "uid": "u",
        "labels": {"a.b/c": "d"},
    }
    obj["spec"] |= {"suspend": True, "resumePolicy": "FromVolume"}
    obj["spec"]["earlyStopping"] = {"algorithmName": "medianstop"}
    obj["spec"]["metricsCollectorSpec"] = {
        "source": {"filter": {"metricsFormat": [r"([\w]+)=(\d+)"]}}
    }
    obj["status"] = {"conditions": "whatever"}
    before = copy.deepcopy(obj)
    parsed = parse(obj, base_dir=Path("/work/dir"))
    spec = parsed.spec
    assert obj == before
    assert (parsed.namespace, parsed.name) == ("team", "exp")
    assert spec.parameters == (
        Parameter(name="lr", type="double", min="0.01", max="0.05", step="0.01"),
        Parameter(name="opt", type="categorical", list=("sgd", "adam")),
    )
    assert spec.objective.type is ObjectiveType.MINIMIZE
    assert spec.objective.goal == 0.001
    assert spec.objective.metric_names == ("loss", "accuracy")
    assert spec.objective.strategies == {"loss": Strategy.MIN, "accuracy": Strategy.MIN}
    assert spec.algorithm.name == "random"
    assert spec.algorithm.settings == (("random_state", "1"),)
    assert spec.early_stopping is not None
    assert spec.early_stopping.name == "medianstop"
    assert (spec.parallel_trial_count, spec.max_trial_count) == (2, 10)
    assert spec.max_failed_trial_count == 3
    assert spec.resume_policy is ResumePolicy.FROM_VOLUME
    assert spec.at_goal is AtGoal.DRAIN
    assert spec.suspend
    assert spec.working_dir == "/work/dir"
    assert spec.metrics_collector.kind is CollectorKind.STDOUT
    assert spec.metrics_collector.filters == (r"([\w]+)=(\d+)",)
    assert spec.template is not None
    assert [(p.name, p.reference) for p in spec.template.parameters] == [
        ("rate", "lr"),
        ("optimizer", "opt"),
    ]
    assert spec.template.primary_container == "main"
    assert "status" not in parsed.source
    assert parsed.metadata == {
        "namespace": "team",
        "name": "exp",
        "annotations": {"trialbus.io/at-goal": "drain"},
        "labels": {"a.b/c": "d"},
    }


# default, change, path in `source`, value
DEFAULTS: list[tuple[Callable[[Object], None], str, Any]] = [
    (put("spec.parallelTrialCount", DELETE), "spec.parallelTrialCount", 3),
    (put("metadata.namespace", DELETE), "metadata.namespace", "default"),
    (put("spec.suspend", False), "spec.resumePolicy", "Never"),
    (
        put("spec.objective.type", "maximize"),
        "spec.objective.metricStrategies",
        [{"name": "loss", "value": "max"}, {"name": "accuracy", "value": "max"}],
    ),
    (
        put("spec.objective.metricStrategies", [{"name": "accuracy", "value": "latest"}]),
        "spec.objective.metricStrategies",
        [{"name": "accuracy", "value": "latest"}, {"name": "loss", "value": "min"}],
    ),
    (put("spec.suspend", False), "spec.trialTemplate.successCondition", JOB_SUCCESS),
    (put("spec.suspend", False), "spec.trialTemplate.failureCondition", JOB_FAILURE),
    (put("spec.suspend", False), "spec.metricsCollectorSpec", {"collector": {"kind": "StdOut"}}),
    (put("spec.suspend", False), f"{SPACE}.distribution", "uniform"),
    (
        put("spec.parameters[1].feasibleSpace.distribution", ""),
        "spec.parameters[1].feasibleSpace.distribution",
        "uniform",
    ),
]


@pytest.mark.parametrize(("change", "path", "value"), DEFAULTS)
def test_what_is_left_out_is_filled_in_as_katib_does(
    change: Callable[[Object], None], path: str, value: Any
) -> None:
    obj = valid()
    change(obj)
    assert at(parse(obj).source, path) == value


def test_no_limit_and_no_goal_have_no_default() -> None:
    obj = valid()
    for field in ("maxTrialCount", "maxFailedTrialCount"):
        del obj["spec"][field]
    del obj["spec"]["objective"]["goal"]
    spec = parse(obj).spec
    assert (spec.max_trial_count, spec.max_failed_trial_count) == (None, None)
    assert spec.objective.goal is None


def test_the_result_parses_to_itself() -> None:
    first = parse(valid())
    again = parse(first.source)
    assert again == first


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.yaml")), ids=lambda path: path.stem)
def test_the_examples_are_valid(path: Path) -> None:
    parse_experiment(load_document(path.read_bytes()), catalogue=BUILT_IN, base_dir=path.parent)


def test_katibs_metadata_references_are_taken() -> None:
    obj = valid()
    references = ["Name", "Namespace", "Kind", "APIVersion", "Labels[my.key]", "Annotations[k/e-y]"]
    job = obj["spec"]["trialTemplate"]["trialSpec"]
    job["metadata"] = {"labels": {"my.key": "1"}, "annotations": {"k/e-y": "2"}}
    main = job["spec"]["template"]["spec"]["containers"][0]
    main["env"] = []
    for i, reference in enumerate(references):
        extra_parameter(name=f"m{i}", reference=f"${{trialSpec.{reference}}}")(obj)
        main["env"].append({"name": f"M{i}", "value": f"${{trialParameters.m{i}}}"})
    assert parse(obj).spec.template is not None


def test_a_flood_of_problems_is_cut_off_quickly() -> None:
    obj = valid()
    obj["spec"] |= {f"objectiv{i}": 1 for i in range(9000)}
    assert len(problems(obj)) == 100


class _Entry:
    def __init__(self, name: str, described: object) -> None:
        self.name, self.value, self._described = name, "a.module:NAME", described

    def load(self) -> object:
        return self._described


def test_the_catalogue_is_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = {
        "trialbus.algorithms": [_Entry("random", CATALOGUE.algorithms["random"])],
        "trialbus.stopping_rules": [_Entry("medianstop", CATALOGUE.stopping_rules["medianstop"])],
    }
    monkeypatch.setattr(runtime_catalogue, "entry_points", lambda group: groups[group])
    loaded = runtime_catalogue.load_catalogue()
    assert list(loaded.algorithms) == ["random"]
    assert list(loaded.stopping_rules) == ["medianstop"]


@pytest.mark.parametrize(
    "entry", [_Entry("random", "text"), _Entry("other", CATALOGUE.algorithms["random"])]
)
def test_an_entry_that_is_no_description_is_an_error(
    entry: _Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime_catalogue, "entry_points", lambda group: [entry])
    with pytest.raises(TypeError, match="is no AlgorithmDescription"):
        runtime_catalogue.load_catalogue()
