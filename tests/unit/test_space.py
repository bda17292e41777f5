"""The search space: values on their grids, texts without dust, every problem named."""

import math

import pytest

from trialbus.kernel.space import Parameter, SearchSpace
from trialbus.kernel.space_rules import problems, problems_of


def space(**fields: object) -> SearchSpace:
    return SearchSpace((Parameter(name="x", **fields),))  # type: ignore[arg-type]


def texts(one: SearchSpace) -> list[str]:
    cardinality = one.cardinality()
    assert cardinality is not None
    return [one.key(one.point_at(i))[0] for i in range(cardinality)]


def test_decimal_steps_show_no_floating_dust() -> None:
    grid = space(type="double", min="0.1", max="0.7", step="0.1")
    assert texts(grid) == ["0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7"]


def test_steps_start_at_min_and_never_pass_max() -> None:
    # Katib counts multiples of the step from zero: 0, 0.3, 0.6, 0.9 and 3, 6, 9.
    assert texts(space(type="double", min="0.1", max="1.0", step="0.35")) == ["0.1", "0.45", "0.8"]
    assert texts(space(type="int", min="2", max="9", step="3")) == ["2", "5", "8"]


def test_negative_grids_pass_zero_without_a_sign() -> None:
    assert texts(space(type="double", min="-0.2", max="0.2", step="0.1")) == [
        "-0.2",
        "-0.1",
        "0.0",
        "0.1",
        "0.2",
    ]


def test_integers_have_step_one_by_default() -> None:
    assert texts(space(type="int", min="-1", max="2")) == ["-1", "0", "1", "2"]


def test_integers_beyond_a_double_stay_exact() -> None:
    wide = space(type="int", min="0", max=str(2**63 - 1))
    assert wide.key(wide.point_at(2**63 - 1)) == (str(2**63 - 1),)
    assert wide.key(wide.point_at(2**53 + 1)) == (str(2**53 + 1),)
    # As doubles its bounds are 2^63, above both of them.
    narrow = space(type="int", min=str(2**63 - 2), max=str(2**63 - 1))
    assert [narrow.parse([text]) for text in texts(narrow)] == [(2**63 - 2,), (2**63 - 1,)]
    for outside in (2**63 - 3, 2**63, 10**400):
        with pytest.raises(ValueError, match="not a value"):
            narrow.parse([str(outside)])


def test_discrete_numbers_keep_their_text_and_get_their_order() -> None:
    batch = space(type="discrete", list=("128", "16", "1e2", "016.5"))
    assert texts(batch) == ["16", "016.5", "1e2", "128"]
    assert batch.axes[0].is_numeric


def test_discrete_texts_that_are_no_numbers_stay_as_listed() -> None:
    mixed = space(type="discrete", list=("big", "2"))
    assert texts(mixed) == ["big", "2"]
    assert not mixed.axes[0].is_numeric


@pytest.mark.parametrize(
    ("distribution", "low", "high", "median"),
    [
        ("uniform", "0", "10", 5.0),
        ("logUniform", "0.001", "10", 0.1),
        ("normal", "0", "10", 5.0),
        ("logNormal", "0.001", "10", 0.1),
    ],
)
def test_the_middle_of_the_unit_interval_is_the_median(
    distribution: str, low: str, high: str, median: float
) -> None:
    one = space(type="double", min=low, max=high, distribution=distribution)
    assert one.from_unit([0.5])[0] == pytest.approx(median)
    assert one.from_unit([0.0])[0] == pytest.approx(float(low))
    assert one.from_unit([1.0])[0] == pytest.approx(float(high))


def test_normal_has_a_sixth_of_the_range_as_deviation_and_its_tails_cut() -> None:
    one = space(type="double", min="0", max="6", distribution="normal")
    # mu 3, sigma 1, cut at 3 sigma: P(x < 2) = (Phi(-1) - Phi(-3)) / (Phi(3) - Phi(-3)).
    phi = [0.15865525393145707, 0.0013498980316301035]
    share = (phi[0] - phi[1]) / (1 - 2 * phi[1])
    assert one.to_unit((2.0,))[0] == pytest.approx(share)
    assert one.from_unit([share])[0] == pytest.approx(2.0)


def test_uniform_grids_have_equal_cells() -> None:
    grid = space(type="int", min="1", max="4")
    assert [grid.from_unit([u])[0] for u in (0.0, 0.249, 0.251, 0.499, 0.75, 1.0)] == [
        *(1, 1, 2, 2, 4, 4)
    ]


def test_log_grids_weigh_each_value_by_half_a_step_to_both_sides() -> None:
    # Edges 0.5, 1.5, 2.5, 3.5: shares ln 3, ln 5/3, ln 7/5 of ln 7.
    grid = space(type="int", min="1", max="3", distribution="logUniform")
    first = math.log(3) / math.log(7)
    second = first + math.log(5 / 3) / math.log(7)
    assert [grid.from_unit([u])[0] for u in (first - 0.001, first + 0.001)] == [1, 2]
    assert [grid.from_unit([u])[0] for u in (second - 0.001, second + 0.001)] == [2, 3]


def test_a_range_of_no_width_is_a_constant() -> None:
    constant = space(type="double", min="3", max="3", distribution="logNormal")
    assert constant.cardinality() == 1
    assert constant.from_unit([0.9]) == (3.0,)


def test_points_are_numbered_with_the_last_parameter_fastest() -> None:
    two = SearchSpace(
        (
            Parameter(name="a", type="categorical", list=("x", "y")),
            Parameter(name="b", type="int", min="1", max="3"),
        )
    )
    assert two.cardinality() == 6
    assert [two.point_at(i) for i in range(4)] == [("x", 1), ("x", 2), ("x", 3), ("y", 1)]
    assert two.index_of(("y", 1)) == 3


def test_assignments_name_the_texts_and_read_back() -> None:
    two = SearchSpace(
        (
            Parameter(name="lr", type="double", min="0.01", max="0.05"),
            Parameter(name="opt", type="categorical", list=("sgd", "adam")),
        )
    )
    assert two.assignments((0.03, "adam")) == {"lr": "0.03", "opt": "adam"}
    assert two.point({"lr": "0.03", "opt": "adam", "other": "1"}) == (0.03, "adam")
    with pytest.raises(ValueError, match="no value for opt"):
        two.point({"lr": "0.03"})
    with pytest.raises(ValueError, match="not a value"):
        two.point({"lr": "0.06", "opt": "adam"})


def test_values_off_the_grid_are_not_read() -> None:
    grid = space(type="int", min="2", max="9", step="3")
    for text in ("3", "9", "11", "-1"):
        with pytest.raises(ValueError, match="not a value"):
            grid.parse([text])


MIN, MAX, STEP, LIST = (f"feasibleSpace.{name}" for name in ("min", "max", "step", "list"))


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"type": "double", "min": "1", "max": "0"}, [MIN]),
        ({"type": "double", "min": "a", "max": "nan"}, [MIN, MAX]),
        ({"type": "double", "min": "1_0", "max": " 20"}, [MIN, MAX]),
        ({"type": "double", "min": "0", "max": "1e999"}, [MAX]),
        ({"type": "double", "max": "1"}, [MIN]),
        ({"type": "int", "min": "0.5", "max": "3"}, [MIN]),
        ({"type": "int", "min": "0", "max": str(2**63)}, [MAX]),
        ({"type": "int", "min": "0", "max": "9" * 5000}, [MAX]),
        ({"type": "int", "min": "0", "max": "3", "step": "0"}, [STEP]),
        ({"type": "double", "min": "0", "max": "1", "step": "-0.1"}, [STEP]),
        ({"type": "double", "min": "0", "max": "1", "step": "2"}, [STEP]),
        ({"type": "double", "min": "0", "max": "1", "step": "1e-300"}, [STEP]),
        ({"type": "double", "min": "0", "max": "1", "distribution": "logUniform"}, [MIN]),
        ({"type": "int", "min": "-1", "max": "1", "distribution": "logNormal"}, [MIN]),
        ({"type": "double", "min": "0", "max": "1", "list": ("1",)}, [LIST]),
        ({"type": "categorical"}, [LIST]),
        ({"type": "discrete", "list": ("1", "2", "1")}, [LIST]),
        ({"type": "categorical", "list": ("a",), "min": "1", "step": "1"}, [MIN, STEP]),
        ({"type": "unknown"}, ["parameterType"]),
        (
            {"type": "int", "min": "0", "max": "1", "distribution": "cauchy"},
            ["feasibleSpace.distribution"],
        ),
        ({"type": "int", "min": "0", "max": "1", "distribution": "unknown"}, []),
        ({"type": "int", "min": "0", "max": "1", "distribution": ""}, []),
        ({"type": "double", "min": "+.5", "max": "1.e3"}, []),
        ({"type": "double", "min": "2", "max": "2"}, []),
    ],
)
def test_every_problem_is_found_at_its_field(fields: dict[str, object], where: list[str]) -> None:
    found = problems(Parameter(name="x", **fields))  # type: ignore[arg-type]
    assert [field for field, _ in found] == where
    assert all(message for _, message in found)


def test_names_must_differ_and_not_be_empty() -> None:
    x = Parameter(name="x", type="int", min="0", max="1")
    nameless = Parameter(name="", type="int", min="0", max="1")
    found = problems_of([x, x, nameless])
    assert [field for field, _ in found] == ["[2].name", "[1].name"]
    with pytest.raises(ValueError, match="already used"):
        SearchSpace((x, x))
