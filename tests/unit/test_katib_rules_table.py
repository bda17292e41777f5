"""Every rule of Katib's validation webhook by its number, every default, and what Katib accepts.

The rows are files of tests/data/katib: what is changed in one valid object, and what is said.
"""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from trialbus.contracts.katib.spec import ParsedExperiment, parse_experiment
from trialbus.kernel.errors import Refused
from trialbus.testkit.katib_cases import CATALOGUE, Object, at, changed, options

DATA = Path(__file__).parents[1] / "data" / "katib"
VALID = (DATA / "valid.yaml").read_text()
BROKEN: list[Object] = yaml.safe_load((DATA / "broken-rules.yaml").read_text())
ACCEPTED: list[Object] = yaml.safe_load((DATA / "accepted.yaml").read_text())
DEFAULTS: list[Object] = yaml.safe_load((DATA / "defaults.yaml").read_text())

ELSEWHERE = {
    7: "an edit: tests/unit/test_experiment_commands.py",
    8: "an edit: tests/unit/test_experiment_commands.py",
    9: "an edit: tests/unit/test_experiment_commands.py",
    18: "only without a default template: a test of its own, below",
}
# Rule -> Katib's field. Ours is the same one or, below it, the very place.
KATIBS_FIELDS = {
    1: "metadata.name", 2: "spec.maxFailedTrialCount", 3: "spec.maxTrialCount",
    4: "spec.parallelTrialCount", 5: "spec.maxFailedTrialCount", 6: "spec.parallelTrialCount",
    10: "spec.objective", 11: "spec.objective.type", 12: "spec.objective.objectiveMetricName",
    13: "spec.objective.additionalMetricNames", 14: "spec.algorithm",
    15: "spec.algorithm.algorithmName", 16: "spec.earlyStopping.algorithmName",
    17: "spec.resumePolicy", 19: "spec.trialTemplate.primaryContainerName",
    20: "spec.trialTemplate", 21: "spec.trialTemplate.trialParameters", 22: "spec.trialTemplate",
    23: "spec.trialTemplate", 24: "spec.trialTemplate.configMap", 25: "spec.trialTemplate",
    26: "spec.trialTemplate.trialParameters[2]", 27: "spec.trialTemplate.trialParameters[2].name",
    28: "spec.trialTemplate.trialParameters[2].reference",
    29: "spec.trialTemplate.trialParameters[2].reference",
    30: "spec.trialTemplate.trialParameters[2].name", 31: "spec.trialTemplate",
    32: "spec.trialTemplate", 33: "spec.trialTemplate", 34: "spec.trialTemplate",
    35: "spec.trialTemplate", 36: "spec", 37: "spec", 38: "spec.parameters[0].parameterType",
    39: "spec.parameters[0].feasibleSpace.distribution", 40: "spec.parameters[0].feasibleSpace",
    41: "spec.parameters[0].feasibleSpace.list", 42: "spec.parameters[0].feasibleSpace",
    43: "spec.parameters[1].feasibleSpace", 44: "spec.metricsCollectorSpec.collector.kind",
    45: "spec.metricsCollectorSpec.source", 46: "spec.metricsCollectorSpec.source.fileSystemPath",
    47: "spec.metricsCollectorSpec.source.httpGet", 48: "spec.metricsCollectorSpec",
    49: "spec.metricsCollectorSpec.source.filter",
}  # fmt: skip


def valid() -> Object:
    document: Object = yaml.safe_load(VALID)
    return document


def number(case: Object) -> int | None:
    """The number of Katib's rule; None: the rule is ours."""
    first = str(case["rule"]).split()[0]
    return int(first) if first.isdigit() else None


def problems(obj: object, **how: Any) -> list[tuple[str, str]]:
    with pytest.raises(Refused) as caught:
        parse_experiment(obj, catalogue=CATALOGUE, **how)
    return [(problem.field, problem.message) for problem in caught.value.problems]


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: f"{case['rule']} {case['field']}")
def test_a_broken_rule_is_named_by_its_field(case: Object, tmp_path: Path) -> None:
    obj = changed(valid(), copy.deepcopy(case))
    found = problems(obj, **options(case, tmp_path))
    assert any(field == case["field"] and case["words"] in words for field, words in found), found


def test_every_rule_of_katib_has_a_row_or_a_reason() -> None:
    rows = {number(case) for case in BROKEN} - {None}
    assert rows | ELSEWHERE.keys() == set(range(1, 50))
    assert not rows & ELSEWHERE.keys()


@pytest.mark.parametrize(
    "case", [case for case in BROKEN if number(case)], ids=lambda case: str(case["rule"])
)
def test_the_field_is_katibs_or_below_it(case: Object) -> None:
    rule = number(case)
    assert rule is not None
    assert case["field"].startswith(KATIBS_FIELDS[rule])


def test_rule_18_a_template_is_required_only_without_a_default_one() -> None:
    obj = valid()
    del obj["spec"]["trialTemplate"]
    assert parse_experiment(obj, catalogue=CATALOGUE).spec.template is None
    found = problems(obj, default_template_allowed=False)
    assert found == [("spec.trialTemplate", "must be specified: no default template is configured")]


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: str(case["case"]))
def test_what_katib_accepts_is_taken_and_parses_to_itself(case: Object, tmp_path: Path) -> None:
    how = options(case, tmp_path)
    parsed: ParsedExperiment = parse_experiment(
        changed(valid(), copy.deepcopy(case)), catalogue=CATALOGUE, **how
    )
    assert parse_experiment(parsed.source, catalogue=CATALOGUE, **how) == parsed


@pytest.mark.parametrize("case", DEFAULTS, ids=lambda case: str(case["case"]))
def test_what_is_left_out_is_filled_in_as_katib_does(case: Object, tmp_path: Path) -> None:
    obj = changed(valid(), copy.deepcopy(case))
    source = parse_experiment(obj, catalogue=CATALOGUE, **options(case, tmp_path)).source
    assert at(source, case["field"]) == case["value"]
