"""Checks of somebody else's descriptions that fail: an answer at submission, never a crash."""

from pathlib import Path
from typing import Any

import pytest

from trialbus.contracts.katib.spec import parse_experiment
from trialbus.contracts.yaml_input import load_document
from trialbus.kernel.catalogue import (
    AlgorithmDescription,
    Catalogue,
    Setting,
    StoppingRuleDescription,
    check_settings,
)
from trialbus.kernel.errors import Problem, Refused
from trialbus.kernel.spec import Place

EXAMPLE = Path(__file__).parents[2] / "examples" / "quick-start.yaml"
WIDTH = Setting(name="width", kind="float", check=lambda value: 1 / (value - value) > 0)


def refused(check: Any) -> list[Problem]:
    document = load_document(EXAMPLE.read_bytes())
    document["spec"]["algorithm"] = {"algorithmName": "own"}
    own = AlgorithmDescription(
        name="own",
        check=check,
        parameter_types=frozenset({"double", "int", "categorical"}),
        distributions=frozenset({"uniform", "logUniform"}),
    )
    known = Catalogue(algorithms={"own": own}, stopping_rules={})
    with pytest.raises(Refused) as caught:
        parse_experiment(document, catalogue=known, place=Place.ONE_MACHINE)
    return list(caught.value.problems)


def test_what_is_no_problem_is_said() -> None:
    [problem] = refused(lambda _submission: ["a text"])
    assert problem.field == "spec.algorithm"
    said = "the algorithm own failed: TypeError: its check yields something that is no Problem"
    assert problem.message == said


def test_a_check_that_raises_is_said() -> None:
    [problem] = refused(lambda submission: submission.nothing)
    assert problem.message.startswith("the algorithm own failed: AttributeError: ")


def test_a_settings_check_that_raises_is_said_of_the_setting() -> None:
    own = AlgorithmDescription(name="own", settings=(WIDTH,))
    [problem] = check_settings(own, [("width", "2")])
    assert problem.index == 0
    reason = "ZeroDivisionError: float division by zero"
    assert problem.message == f"failed to validate width(2): {reason}"


def test_a_rule_that_cannot_compare_its_settings_is_said() -> None:
    own = StoppingRuleDescription(name="own", wrong_together=lambda values: str(values["lower"]))
    [problem] = check_settings(own, [])
    assert (problem.index, problem.message) == (
        None,
        "the stopping rule own failed: KeyError: 'lower'",
    )
