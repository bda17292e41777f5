"""The rules in deploy/crds: what an API server takes of Experiments, and what it refuses."""

import copy
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("cel_expr_python", reason="no evaluator of CEL for this platform")

from trialbus.contracts.katib.schemas import EXPERIMENT, KINDS
from trialbus.contracts.katib.schemas_crd import definition_schema, schema_at
from trialbus.contracts.katib.spec import parse_experiment
from trialbus.kernel.errors import Refused
from trialbus.testkit.definition_checks import compiled, problems, pruned, uses
from trialbus.testkit.katib_cases import CATALOGUE, changed, options, put

REPOSITORY = Path(__file__).parents[2]
DATA = REPOSITORY / "tests/data/katib"
CRD = yaml.safe_load((REPOSITORY / "deploy/crds/experiment.yaml").read_text())
SCHEMA = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
VALID = yaml.safe_load((DATA / "valid.yaml").read_text())
BROKEN = yaml.safe_load((DATA / "broken-rules.yaml").read_text())
ACCEPTED = yaml.safe_load((DATA / "accepted.yaml").read_text())
FOLDERS = ("examples", "tests/data")
# Kubernetes' own: of one expression as it is reckoned beforehand, and of a whole definition.
MAX_COST, MAX_COST_OF_ALL = 10_000_000, 100_000_000
# How many of the broken cases an API server refuses: those that one object alone tells cheaply.
LEAST_REFUSED = 90
# Means nothing for its collector, and is no word of Katib's types either.
STRICTER = {"StdOut with a path that means nothing"}

Object = dict[str, Any]


def experiments() -> Iterator[tuple[str, Object]]:
    for folder in FOLDERS:
        for path in sorted((REPOSITORY / folder).rglob("*.yaml")):
            for document in yaml.safe_load_all(path.read_text()):
                if isinstance(document, dict) and document.get("kind") == "Experiment":
                    yield str(path.relative_to(REPOSITORY)), document


def with_change(case: Mapping[str, Any]) -> Object:
    return changed(copy.deepcopy(VALID), case)


def test_the_definition_is_made_of_the_models() -> None:
    assert definition_schema(EXPERIMENT) == SCHEMA


def test_every_experiment_in_the_repository_is_taken() -> None:
    found = list(experiments())
    assert len(found) > 20
    assert [(name, problems(SCHEMA, it)) for name, it in found if problems(SCHEMA, it)] == []


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case["case"])
def test_what_the_gateway_takes_is_taken(case: Mapping[str, Any]) -> None:
    found = problems(SCHEMA, with_change(case))
    assert bool(found) == (case["case"] in STRICTER), found


def test_what_is_refused_is_refused_by_the_gateway_at_the_same_field(tmp_path: Path) -> None:
    """The field of a rule may be above the one that the gateway names, and a missing one is told
    of what should hold it."""
    refused = [case for case in BROKEN if problems(SCHEMA, with_change(case))]
    assert len(refused) >= LEAST_REFUSED
    for case in refused:
        fields = [field for field, _ in problems(SCHEMA, with_change(case))]
        same = any(case["field"].startswith(it) or it.startswith(case["field"]) for it in fields)
        assert same, (case, fields)
        with pytest.raises(Refused):
            parse_experiment(with_change(case), catalogue=CATALOGUE, **options(case, tmp_path))


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"metadata.name": "a" * 41}, "", "may not be longer than 40"),
        ({"metadata.name": "1a"}, "", "start with an alphabetic"),
        ({"spec.maxFailedTrialCount": 11}, "spec.maxFailedTrialCount", "spec.maxTrialCount"),
        ({"spec.parallelTrialCount": 11}, "spec.parallelTrialCount", "spec.maxTrialCount"),
        ({"spec.parameters": []}, "spec", "spec.parameters or spec.nasConfig"),
        ({"spec.parameters[0].feasibleSpace.min": "1e1"},
         "spec.parameters[0].feasibleSpace.min", "greater than max"),
        ({"spec.parameters[0].feasibleSpace.min": "0,01"},
         "spec.parameters[0].feasibleSpace", "finite numbers"),
        ({"spec.parameters[0].feasibleSpace.max": "inf"},
         "spec.parameters[0].feasibleSpace", "finite numbers"),
        ({"spec.parameters[0].parameterType": "int"},
         "spec.parameters[0].feasibleSpace", "integers"),
        ({"spec.parameters[0].feasibleSpace.step": "-0.1"},
         "spec.parameters[0].feasibleSpace.step", "above 0"),
        ({"spec.parameters[0].feasibleSpace.list": ["1"]},
         "spec.parameters[0].feasibleSpace.list", "not supported"),
        ({"spec.parameters[1].feasibleSpace.list": []},
         "spec.parameters[1].feasibleSpace.list", "at least one"),
        ({"spec.parameters[1].feasibleSpace.max": "1"},
         "spec.parameters[1].feasibleSpace", "not supported"),
        ({"spec.objective.type": "best"}, "spec.objective.type", "best"),
        ({"spec.objective.additionalMetricNames": ["loss"]},
         "spec.objective.additionalMetricNames", "should not contain"),
        ({"spec.trialTemplate.configMap": {"configMapName": "a", "configMapNamespace": "b",
                                           "templatePath": "c"}},
         "spec.trialTemplate", "only one of"),
        ({"spec.trialTemplate.trialSpec.metadata": {"namespace": "a"}},
         "spec.trialTemplate.trialSpec.metadata", "must be omitted"),
        ({"spec.trialTemplate.trialParameters[0].name": "a{b"},
         "spec.trialTemplate.trialParameters[0].name", "neither"),
        ({"spec.metricsCollectorSpec": {"collector": {"kind": "Custom"}}},
         "spec.metricsCollectorSpec.collector.customCollector", "must be specified"),
    ],
)  # fmt: skip
def test_a_rule_names_the_field_and_says_why(change: Object, field: str, words: str) -> None:
    obj = copy.deepcopy(VALID)
    for path, value in change.items():
        put(obj, path, value)
    found = problems(SCHEMA, obj)
    assert [(at, words in message) for at, message in found] == [(field, True)]


@pytest.mark.parametrize(
    ("path", "value", "ok"),
    [
        ("spec.parallelTrialCount", 5, True),
        ("spec.maxTrialCount", 50, True),
        ("spec.maxFailedTrialCount", 0, True),
        ("spec.objective.goal", 0.5, True),
        ("spec.suspend", True, True),
        ("metadata.labels", {"a": "b"}, True),
        ("spec.objective.type", "maximize", False),
        ("spec.objective.objectiveMetricName", "error", False),
        ("spec.objective.additionalMetricNames", ["f1"], False),
        ("spec.algorithm.algorithmName", "tpe", False),
        ("spec.algorithm.algorithmSettings[0].value", "2", False),
        ("spec.earlyStopping", {"algorithmName": "medianstop"}, False),
        ("spec.parameters[0].feasibleSpace.min", "0.02", False),
        ("spec.trialTemplate.retain", True, False),
        ("spec.trialTemplate.trialSpec.spec.template.spec.containers[0].image", "other", False),
    ],
)
def test_only_budgets_goal_and_suspend_can_be_edited(path: str, value: object, ok: bool) -> None:
    new = copy.deepcopy(VALID)
    put(new, path, value)
    found = problems(SCHEMA, new, VALID)
    assert (found == []) == ok
    assert all("is not editable" in message for _, message in found)


def test_what_katib_kept_and_nobody_knows_is_taken_out_and_refuses_nothing() -> None:
    obj = copy.deepcopy(VALID)
    put(obj, "spec.zzz", {"a": 1})
    put(obj, "spec.objective.goals", [1])
    put(obj, "spec.nasConfig", None)
    assert problems(SCHEMA, obj) == []
    assert pruned(SCHEMA, obj) == VALID


def test_free_objects_are_kept_as_they_are() -> None:
    obj = copy.deepcopy(VALID)
    put(obj, "spec.trialTemplate.trialSpec.metadata", {"labels": {"a": "b"}, "x": None})
    put(obj, "spec.trialTemplate.trialSpec.anything", [{"a": {"b": [1]}}])
    assert pruned(SCHEMA, obj) == obj
    assert problems(SCHEMA, obj) == []


def test_only_free_objects_keep_what_is_unknown() -> None:
    free = {path for kind in KINDS for path in _free(definition_schema(kind), "")}
    last = {path.rpartition(".")[2] for path in free}
    assert last == {"trialSpec", "runSpec", "customCollector", "metadata"}


def _free(schema: Mapping[str, Any], path: str) -> Iterator[str]:
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        yield path
    for name, inner in schema.get("properties", {}).items():
        yield from _free(inner, f"{path}.{name}")
    if "items" in schema:
        yield from _free(schema["items"], path)


RULES = [pytest.param(at, rule, id=f"{at}-{i}") for i, (at, rule) in enumerate(uses(SCHEMA))]


@pytest.mark.parametrize(("at", "rule"), RULES)
def test_a_rule_is_cel_and_its_field_is_there(at: str, rule: Mapping[str, str]) -> None:
    compiled(rule["rule"])
    assert "\n" not in rule["message"]
    schema_at(SCHEMA, f"{at}{rule.get('fieldPath', '')}".lstrip("."))


# What the API server takes for the length of a text that the schema leaves open.
_REQUEST_CHARS = 3 * 1024**2


def test_rules_stay_within_the_cost_that_a_server_allows() -> None:
    """Nearly cel-go's own reckoning: texts cost a tenth of their length, patterns a quarter of
    theirs for each of that, and all of it for every item that there may be. Kubernetes' own server
    has been seen to reckon 2.4 times as much; where it is built, it is asked (test_definitions)."""
    costs = {(at, rule["rule"]): 3 * _cost(at, rule["rule"]) for at, rule in uses(SCHEMA)}
    assert max(costs.values()) < MAX_COST, max(costs.items(), key=lambda it: it[1])
    assert sum(costs.values()) < MAX_COST_OF_ALL


def _cost(at: str, rule: str) -> int:
    cost = 5 * len(re.findall(r"[a-zA-Z_]+", rule))
    for path, pattern in re.findall(r"self([.\w]*)\.matches\('([^']*)'\)", rule):
        cost += math.ceil(_chars(at, path) / 10 + 1) * math.ceil(len(pattern) / 4)
    for double, method in re.findall(
        r"double\(self([.\w]*)\)|self([.\w]*)\.(?:contains|startsWith)\(", rule
    ):
        cost += _chars(at, double or method) // 10
    if ".all(" in rule:  # each item may be looked for in a list as long, of texts as long
        cost *= 101 * 100
    if "oldSelf" in rule:
        cost += 10_000
    return cost * _items(at)


def _chars(at: str, path: str) -> int:
    if "metadata" in path:
        return _REQUEST_CHARS
    schema = schema_at(SCHEMA, f"{at}{path}".lstrip("."))
    return int(schema.get("maxLength", _REQUEST_CHARS)) if schema["type"] == "string" else 10


def _items(at: str) -> int:
    """How often a rule may be looked at. KeyError: for a list without a bound."""
    lists = [at[: match.start()] for match in re.finditer(r"\[\]", at)]
    return math.prod(schema_at(SCHEMA, path)["maxItems"] for path in lists)
