"""Search spaces in Python: what the Experiment says, and what the function gets back."""

from typing import Any

import pytest

import trialbus
from trialbus.client.calling import caller_of
from trialbus.client.space import Described


class Net: ...


def test_a_space_is_what_katib_calls_it() -> None:
    space = Described(
        {
            "lr": trialbus.log(1e-5, 0.1),
            "momentum": trialbus.uniform(0, 1, step=0.1),
            "layers": trialbus.integer(1, 4),
            "width": trialbus.integer(16, 256, log=True),
            "batch": [16, 32.5, 64],
            "optimizer": ["sgd", "adam"],
            "net": [Net, None, (1, 2)],
        }
    )
    assert space.as_katib() == [
        {
            "name": "lr",
            "parameterType": "double",
            "feasibleSpace": {"min": "1e-05", "max": "0.1", "distribution": "logUniform"},
        },
        {
            "name": "momentum",
            "parameterType": "double",
            "feasibleSpace": {"min": "0.0", "max": "1.0", "step": "0.1"},
        },
        {
            "name": "layers",
            "parameterType": "int",
            "feasibleSpace": {"min": "1", "max": "4"},
        },
        {
            "name": "width",
            "parameterType": "int",
            "feasibleSpace": {"min": "16", "max": "256", "distribution": "logUniform"},
        },
        {
            "name": "batch",
            "parameterType": "discrete",
            "feasibleSpace": {"list": ["16", "32.5", "64"]},
        },
        {
            "name": "optimizer",
            "parameterType": "categorical",
            "feasibleSpace": {"list": ["sgd", "adam"]},
        },
        {
            "name": "net",
            "parameterType": "categorical",
            "feasibleSpace": {"list": [repr(Net), "None", "(1, 2)"]},
        },
    ]


def test_the_function_gets_the_very_objects() -> None:
    space = Described({"net": [Net, None], "flag": [True, False], "batch": [16, 32.5], "n": [1.0]})
    given = {"net": repr(Net), "flag": "False", "batch": 16, "n": 1}
    values = space.values(given)
    assert values["net"] is Net
    assert values["flag"] is False
    assert (values["batch"], values["n"]) == (16, 1.0)
    assert isinstance(values["n"], float)


@pytest.mark.parametrize(
    "make",
    [
        lambda: trialbus.uniform(2, 1),
        lambda: trialbus.log(0, 1),
        lambda: trialbus.integer(1.5, 2),  # type: ignore[arg-type]
        lambda: trialbus.uniform(0, float("inf")),
        lambda: trialbus.choice([]),
        lambda: trialbus.choice("abc"),
        lambda: trialbus.choice(["1", 1]),
        lambda: Described({}),
    ],
)
def test_what_is_no_space_is_refused(make: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        make()


def test_what_is_no_description_is_named() -> None:
    with pytest.raises(TypeError, match=r"x: 3 is neither"):
        Described({"x": 3})  # type: ignore[dict-item]


def by_name(x: float, y: float = 2.0) -> object:
    return ("by name", x, y)


def in_a_dict(parameters: dict[str, float]) -> object:
    return ("dict", parameters)


def with_trial(x: float, y: float, trial: object) -> object:
    return ("by name", x, y, trial)


def dict_with_trial(config: dict[str, float], *, trial: object) -> object:
    return ("dict", config, trial)


def anything(**values: float) -> object:
    return values


@pytest.mark.parametrize(
    ("objective", "result"),
    [
        (by_name, ("by name", 1, 3)),
        (in_a_dict, ("dict", {"x": 1, "y": 3})),
        (with_trial, ("by name", 1, 3, "the trial")),
        (dict_with_trial, ("dict", {"x": 1, "y": 3}, "the trial")),
        (anything, {"x": 1, "y": 3}),
    ],
)
def test_a_function_is_called_as_its_signature_says(objective: Any, result: object) -> None:
    assert caller_of(objective, ("x", "y"))({"x": 1, "y": 3}, "the trial") == result


def test_a_parameter_called_trial_is_a_parameter() -> None:
    def objective(trial: int) -> int:
        return trial

    assert caller_of(objective, ("trial",))({"trial": 5}, object()) == 5


def test_a_function_that_cannot_be_called_so_is_told_before_anything_starts() -> None:
    def objective(x: float, z: float) -> float:
        return x + z

    with pytest.raises(TypeError, match=r"objective\(x: float, z: float\).*x, y by name"):
        caller_of(objective, ("x", "y"))
