"""The structural schemas of Katib's kinds, held to Kubernetes' rules and to real objects."""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from trialbus.contracts.katib.schemas import EXPERIMENT, KINDS, SUGGESTION, TRIAL, structural_schema

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = sorted(REPOSITORY.glob("examples/katib/*.yaml"))
VIEWS = yaml.safe_load((REPOSITORY / "tests/data/katib/views.yaml").read_text())
Schema = dict[str, Any]


def field(schema: Schema, path: str) -> Schema:
    """`spec.parameters[].name` -> its schema."""
    for name in path.split("."):
        schema = schema["properties"][name.removesuffix("[]")]
        schema = schema["items"] if name.endswith("[]") else schema
    return schema


def of(kind: str, path: str) -> Schema:
    kinds = {it.name: it for it in KINDS}
    return field(structural_schema(kinds[kind]), path)


def as_json_schema(node: Any) -> Any:
    """Kubernetes' words for null and free objects in those of JSON Schema; what is unknown is
    pruned by Kubernetes, and refused here."""
    if isinstance(node, list):
        return [as_json_schema(item) for item in node]
    if not isinstance(node, dict):
        return node
    made = {name: as_json_schema(value) for name, value in node.items()}
    if node.get("nullable") is True and isinstance(node.get("type"), str):
        made["type"] = [node["type"], "null"]
    if isinstance(node.get("properties"), dict):
        made["additionalProperties"] = False
    return made


def problems(kind: Any, obj: Any) -> list[str]:
    validator = jsonschema.Draft4Validator(as_json_schema(structural_schema(kind)))
    return [".".join(map(str, error.absolute_path)) for error in validator.iter_errors(obj)]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_katibs_own_experiments_keep_to_the_schema(path: Path) -> None:
    assert problems(EXPERIMENT, yaml.safe_load(path.read_text())) == []


def test_views_keep_to_the_schema() -> None:
    for status in VIEWS["status"].values():
        assert problems(EXPERIMENT, {"status": status}) == []
    assert problems(TRIAL, VIEWS["trial"]) == []
    status = {"suggestionCount": 1, "suggestions": [{"name": "a", "labels": {"b": "c"}}]}
    assert problems(SUGGESTION, {"spec": {"requests": 1}, "status": status}) == []


@pytest.mark.parametrize(
    ("spec", "where"),
    [
        ({"objective": {"type": "best"}}, "spec.objective.type"),
        ({"parameters": [{"parameterType": "int"}]}, "spec.parameters.0"),
        ({"parameters": [{"name": "a", "parameterType": "unknown"}]},
         "spec.parameters.0.parameterType"),
        ({"parallelTrialCount": 0}, "spec.parallelTrialCount"),
        ({"maxFailedTrialCount": -1}, "spec.maxFailedTrialCount"),
        ({"resumePolicy": "Always"}, "spec.resumePolicy"),
        ({"suspend": "no"}, "spec.suspend"),
        ({"trialTemplate": {"trialSpec": "Job"}}, "spec.trialTemplate.trialSpec"),
        ({"metricsCollectorSpec": {"collector": {"kind": "None"}}},
         "spec.metricsCollectorSpec.collector.kind"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_found_where_it_stands(spec: Schema, where: str) -> None:
    assert problems(EXPERIMENT, {"spec": spec}) == [where]


def test_null_is_as_good_as_nothing_where_katib_takes_it() -> None:
    spec = {"parameters": None, "maxTrialCount": None, "objective": {"goal": None}}
    assert problems(EXPERIMENT, {"spec": spec, "status": {"completionTime": None}}) == []


BY_NAME = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
WHOLE = {"x-kubernetes-list-type": "atomic"}
SET = {"x-kubernetes-list-type": "set"}


@pytest.mark.parametrize(
    ("kind", "path", "expected"),
    [
        ("Experiment", "spec.parameters", {"type": "array", **BY_NAME}),
        ("Experiment", "spec.parameters[]", {"type": "object", "required": ["name"]}),
        ("Experiment", "spec.parallelTrialCount", {"format": "int32", "minimum": 1}),
        ("Experiment", "spec.objective.goal", {"type": "number", "format": "double"}),
        ("Experiment", "spec.objective.additionalMetricNames", SET),
        ("Experiment", "spec.nasConfig.operations", WHOLE),
        ("Experiment", "spec.nasConfig.graphConfig.inputSizes", WHOLE),
        ("Experiment", "spec.nasConfig.graphConfig.inputSizes[]", {"format": "int32"}),
        ("Experiment", "spec.trialTemplate.trialSpec",
         {"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
        ("Experiment", "spec.metricsCollectorSpec.collector.customCollector",
         {"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
        ("Experiment", "spec.metricsCollectorSpec.collector.kind",
         {"enum": ["StdOut", "File", "TensorFlowEvent", "PrometheusMetric", "Custom", "Push"]}),
        ("Experiment", "spec.metricsCollectorSpec.source.httpGet.port",
         {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}),
        ("Experiment", "status.conditions",
         {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}),
        ("Experiment", "status.conditions[]", {"required": ["type", "status"]}),
        ("Experiment", "status.startTime", {"type": "string", "format": "date-time"}),
        ("Experiment", "status.trialMetricsUnavailable", {"format": "int32"}),
        ("Experiment", "metadata", {"type": "object"}),
        ("Suggestion", "status.suggestions", BY_NAME),
        ("Suggestion", "status.suggestions[].earlyStoppingRules[].comparison",
         {"enum": ["equal", "less", "greater"]}),
        ("Trial", "spec.runSpec", {"x-kubernetes-preserve-unknown-fields": True}),
        ("Trial", "spec.primaryPodLabels", {"additionalProperties": {"type": "string"}}),
    ],
)  # fmt: skip
def test_a_field_has_its_type_and_katibs_markers(kind: str, path: str, expected: Schema) -> None:
    schema = of(kind, path)
    assert {name: schema.get(name) for name in expected} == expected


def fields_without_a_sentence(schema: Schema, path: str = "") -> Iterator[str]:
    for name, inner in schema.get("properties", {}).items():
        where = f"{path}.{name}"
        if "description" not in inner and where != ".metadata":
            yield where
        yield from fields_without_a_sentence(inner, where)
        yield from fields_without_a_sentence(inner.get("items", {}), where)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_field_has_a_sentence_in_one_line(kind: Any) -> None:
    schema = structural_schema(kind)
    assert list(fields_without_a_sentence(schema)) == []
    assert "\\n" not in str(schema)


def test_a_missing_sentence_is_found() -> None:
    schema = deepcopy(structural_schema(TRIAL))
    del field(schema, "spec.parameterAssignments[].name")["description"]
    assert list(fields_without_a_sentence(schema)) == [".spec.parameterAssignments.name"]
