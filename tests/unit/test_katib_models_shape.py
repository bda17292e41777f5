"""What Katib's SDK sends otherwise than it means is put right before it is looked at."""

from typing import Any

import pytest

from trialbus.contracts.katib.shape import check_shape


def experiment(space: Any) -> dict[str, Any]:
    return {"spec": {"parameters": [{"name": "a", "feasibleSpace": space}]}}


def checked(space: Any) -> tuple[Any, list[str]]:
    """What is left of the space, and where there are problems."""
    given = experiment(space)
    rest, problems = check_shape(given)
    assert given == experiment(space)
    return rest["spec"]["parameters"][0].get("feasibleSpace"), [it.field for it in problems]


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        (["sgd", "adam"], ["sgd", "adam"]),
        ([32, 0.1, 1e-05], ["32", "0.1", "1e-05"]),
        ([], []),
    ],
)
def test_values_sent_as_a_distribution_are_the_list(sent: list[Any], meant: list[str]) -> None:
    assert checked({"distribution": sent}) == ({"list": meant}, [])
    assert checked({"distribution": sent, "list": None}) == ({"list": meant}, [])


def test_a_distribution_that_is_a_list_beside_a_list_is_wrong() -> None:
    space = {"list": ["a"], "distribution": ["b"]}
    where = "spec.parameters[0].feasibleSpace.distribution"
    assert checked(space) == ({"list": ["a"]}, [where])


def test_what_is_no_text_and_no_number_is_wrong_in_the_list() -> None:
    rest, where = checked({"distribution": ["a", True]})
    assert rest == {"list": ["a", ""]}
    assert where == ["spec.parameters[0].feasibleSpace.list[1]"]


@pytest.mark.parametrize("spec", [None, [], {"parameters": None}, {"parameters": {"a": 1}},
                                  {"parameters": [None, 1, {"feasibleSpace": ["a"]}]}])  # fmt: skip
def test_any_other_shape_is_judged_as_ever(spec: Any) -> None:
    rest, _ = check_shape({"spec": spec})
    assert rest.keys() <= {"spec"}
