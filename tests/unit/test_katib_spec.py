"""An Experiment of Katib becomes a specification, or is refused with every problem at once.

The rules one by one, by their numbers in Katib's validation webhook: test_katib_rules_table.py.
"""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from trialbus.contracts.katib.spec import ParsedExperiment, parse_experiment
from trialbus.contracts.yaml_input import load_document
from trialbus.kernel.catalogue import check_settings
from trialbus.kernel.errors import Refused
from trialbus.kernel.objective import ObjectiveType, Strategy
from trialbus.kernel.space_rules import Parameter
from trialbus.kernel.spec import AtGoal, CollectorKind, ResumePolicy
from trialbus.runtime import catalogue as runtime_catalogue
from trialbus.testkit.katib_cases import CATALOGUE, Object, put

EXAMPLES = Path(__file__).parents[2] / "examples"
# Katib's own have a test of their own.
OUR_EXAMPLES = [
    path
    for path in sorted(EXAMPLES.rglob("*.yaml"))
    if path.parent.name != "katib" and "pipelines" not in path.parts
]
DATA = Path(__file__).parents[1] / "data" / "katib"
VALID = (DATA / "valid.yaml").read_text()


def valid() -> Object:
    document: Object = yaml.safe_load(VALID)
    return document


def parse(obj: object, **options: Any) -> ParsedExperiment:
    return parse_experiment(obj, catalogue=CATALOGUE, **options)


def problems(obj: object, **options: Any) -> dict[str, str]:
    with pytest.raises(Refused) as caught:
        parse(obj, **options)
    return {problem.field: problem.message for problem in caught.value.problems}


SPACE = "spec.parameters[0].feasibleSpace"


MAIN = "spec.trialTemplate.trialSpec.spec.template.spec.containers[0]"
FILTER = "spec.metricsCollectorSpec.source.filter.metricsFormat"


@pytest.mark.parametrize(
    ("path", "value", "field", "words"),
    [
        ("metadata.name", "abc\n", "metadata.name", "lower case"),
        (f"{SPACE}.min", "0" * 101, f"{SPACE}.min", "longer than 100"),
        (
            f"{MAIN}.args",
            ["${trialParameters.rate}" * 20_000],
            "spec.trialTemplate",
            "longer than",
        ),
        (FILTER, ["(a)(b)", "(" * 450 + "a" + ")" * 450], f"{FILTER}[1]", "at most 100 groups"),
        (FILTER, ["(a)(b)"] * 101, FILTER, "at most 100 filters"),
    ],
)
def test_what_is_too_long_is_named_by_its_field(
    path: str, value: object, field: str, words: str
) -> None:
    obj = valid()
    obj["spec"]["metricsCollectorSpec"] = {"source": {"filter": {}}}
    put(obj, path, value)
    assert words in problems(obj)[field]


def problems_list(obj: object, **options: Any) -> list[tuple[str, str]]:
    with pytest.raises(Refused) as caught:
        parse(obj, **options)
    return [(problem.field, problem.message) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("path", "value", "field", "message"),
    [
        (
            "spec.parameters[0].parameterType",
            "float",
            "spec.parameters[0].parameterType",
            "float: must be one of double, int, discrete, categorical",
        ),
        (
            "spec.algorithm.algorithmSettings",
            [{"name": "random_sate", "value": "1"}],
            "spec.algorithm.algorithmSettings[0]",
            "unknown setting random_sate for algorithm random; did you mean random_state?",
        ),
        (
            "spec.algorithm.algorithmSettings",
            [{"name": "zzz", "value": "1"}],
            "spec.algorithm.algorithmSettings[0]",
            "unknown setting zzz for algorithm random; known: random_state",
        ),
    ],
)
def test_a_mistake_is_shown_with_what_would_be_right(
    path: str, value: object, field: str, message: str
) -> None:
    obj = valid()
    put(obj, path, value)
    assert problems(obj)[field] == message


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
    parsed = parse(obj, base_dir=Path("/some/dir"))
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
    assert spec.working_dir == "/some/dir"
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


@pytest.mark.parametrize("path", OUR_EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_are_valid(path: Path) -> None:
    document = load_document(path.read_bytes())
    parsed = parse_experiment(
        document, catalogue=runtime_catalogue.load_catalogue(), base_dir=path.parent
    )
    assert parsed.name == document["metadata"]["name"]


def test_katibs_metadata_references_are_taken() -> None:
    obj = valid()
    references = ["Name", "Namespace", "Kind", "APIVersion", "Labels[my.key]", "Annotations[k/e-y]"]
    job = obj["spec"]["trialTemplate"]["trialSpec"]
    job["metadata"] = {"labels": {"my.key": "1"}, "annotations": {"k/e-y": "2"}}
    main = job["spec"]["template"]["spec"]["containers"][0]
    main["env"] = []
    for i, reference in enumerate(references):
        parameter = {"name": f"m{i}", "reference": f"${{trialSpec.{reference}}}"}
        obj["spec"]["trialTemplate"]["trialParameters"].append(parameter)
        main["env"].append({"name": f"M{i}", "value": f"${{trialParameters.m{i}}}"})
    assert parse(obj).spec.template is not None


def test_a_list_where_katibs_client_puts_it_is_understood() -> None:
    obj = valid()
    obj["spec"]["parameters"][1]["feasibleSpace"] = {"distribution": ["sgd", "adam"]}
    assert parse(obj) == parse(valid())
    obj["spec"]["parameters"][1]["parameterType"] = ["categorical"]
    assert set(problems(obj)) == {
        "spec.parameters[1].parameterType",
        "spec.parameters[1].feasibleSpace.distribution",
    }


def test_numbers_in_such_a_list_are_texts_as_in_the_rest_of_the_clients_ranges() -> None:
    obj = valid()
    obj["spec"]["parameters"][1]["feasibleSpace"] = {"distribution": [32, 0.1, "adam"]}
    assert parse(obj).spec.parameters[1].list == ("32", "0.1", "adam")


def test_a_flood_of_problems_is_cut_off_quickly() -> None:
    obj = valid()
    obj["spec"] |= {f"objectiv{i}": 1 for i in range(9000)}
    assert len(problems(obj)) == 100


class _Entry:
    def __init__(self, name: str, described: object, value: str = "a.module:NAME") -> None:
        self.name, self.value, self._described = name, value, described

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


class _Broken(_Entry):
    def load(self) -> object:
        raise ModuleNotFoundError("No module named 'torch'")


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (_Entry("own", "text"), "TypeError: it is no AlgorithmDescription"),
        (_Entry("own", CATALOGUE.algorithms["random"]), "ValueError: it describes random"),
        (_Broken("own", None), "ModuleNotFoundError: No module named 'torch'"),
    ],
)
def test_an_entry_that_is_broken_refuses_who_names_it_and_nobody_else(
    entry: _Entry, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [_Entry("random", CATALOGUE.algorithms["random"]), entry]
    found = {"trialbus.algorithms": entries, "trialbus.stopping_rules": []}
    monkeypatch.setattr(runtime_catalogue, "entry_points", lambda group: found[group])
    catalogue = runtime_catalogue.load_catalogue()
    parse_experiment(valid(), catalogue=catalogue)
    named = valid()
    named["spec"]["algorithm"] = {"algorithmName": "own"}
    with pytest.raises(Refused) as caught:
        parse_experiment(named, catalogue=catalogue)
    [problem] = caught.value.problems
    assert problem.field == "spec.algorithm.algorithmName"
    assert problem.message == f"own = a.module:NAME cannot be loaded: {reason}"


def test_a_name_that_two_packages_claim_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever came last would be taken otherwise, in place of the built-in one too."""
    random = CATALOGUE.algorithms["random"]
    entries = [_Entry("random", random), _Entry("random", random, value="theirs:RANDOM")]
    found = {"trialbus.algorithms": entries, "trialbus.stopping_rules": []}
    monkeypatch.setattr(runtime_catalogue, "entry_points", lambda group: found[group])
    with pytest.raises(Refused) as caught:
        parse_experiment(valid(), catalogue=runtime_catalogue.load_catalogue())
    [problem] = caught.value.problems
    assert problem.message == "random is the name of a.module:NAME and theirs:RANDOM"


def test_a_rule_whose_entry_is_broken_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"trialbus.stopping_rules": [_Broken("own", None)]}
    monkeypatch.setattr(runtime_catalogue, "entry_points", lambda group: found.get(group, []))
    [rule] = runtime_catalogue.load_catalogue().stopping_rules.values()
    [problem] = check_settings(rule, [("any", "1")])
    assert "cannot be loaded: ModuleNotFoundError: No module named 'torch'" in problem.message
