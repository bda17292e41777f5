"""Laws of the search space that hold for every parameter and every point of the unit cube."""

from decimal import Decimal

from hypothesis import example, given, settings
from hypothesis import strategies as st

from trialbus.kernel.space import Parameter, SearchSpace
from trialbus.kernel.space_rules import problems

DISTRIBUTIONS = ("uniform", "logUniform", "normal", "logNormal")
UNITS = st.floats(0, 1)


@st.composite
def ranges(draw: st.DrawFn) -> Parameter:
    """Doubles and integers, with and without steps, log scales only above zero."""
    kind = draw(st.sampled_from(("double", "int")))
    distribution = draw(st.sampled_from(DISTRIBUTIONS))
    is_log = distribution.startswith("log")
    places = 0 if kind == "int" else draw(st.integers(0, 6))
    unit = Decimal(1).scaleb(-places)
    low = draw(st.integers(1 if is_log else -(10**6), 10**6)) * unit
    width = draw(st.integers(0, 10**6)) * unit
    step = ""
    if width and draw(st.booleans()):
        step = str(draw(st.integers(1, int(width / unit))) * unit)
    return Parameter(
        name="x",
        type=kind,
        min=str(low),
        max=str(low + width),
        step=step,
        distribution=distribution,
    )


LISTS = st.builds(
    Parameter,
    name=st.just("x"),
    type=st.sampled_from(("discrete", "categorical")),
    list=st.lists(
        st.text(min_size=1) | st.integers().map(str), min_size=1, max_size=8, unique=True
    ).map(tuple),
)
PARAMETERS = ranges() | LISTS


@given(PARAMETERS, UNITS)
def test_every_point_of_the_unit_interval_is_a_value_that_reads_back(
    parameter: Parameter, u: float
) -> None:
    assert problems(parameter) == ()
    space = SearchSpace((parameter,))
    point = space.from_unit([u])
    (text,) = space.key(point)
    assert space.parse([text]) == point
    if parameter.list:
        assert text in parameter.list
        return
    assert Decimal(parameter.min) <= Decimal(text) <= Decimal(parameter.max)
    if parameter.step or parameter.type == "int":
        # Exact in decimals: the text itself lies on the grid.
        assert (Decimal(text) - Decimal(parameter.min)) % Decimal(parameter.step or "1") == 0


@given(PARAMETERS, UNITS)
@example(
    Parameter(name="x", type="double", min="1", max="2", step="1", distribution="logNormal"), 0.0
)
def test_to_unit_is_the_way_back(parameter: Parameter, u: float) -> None:
    (axis,) = SearchSpace((parameter,)).axes
    value = axis.from_unit(u)
    place = axis.to_unit(value)
    assert 0.0 <= place <= 1.0
    if axis.size is not None:
        assert axis.from_unit(place) == value
    else:
        again = axis.from_unit(place)
        span = float(parameter.max) - float(parameter.min)
        assert abs(float(again) - float(value)) <= 1e-6 * span


@given(ranges(), UNITS, UNITS)
def test_larger_shares_are_larger_values(parameter: Parameter, u: float, v: float) -> None:
    (axis,) = SearchSpace((parameter,)).axes
    low, high = axis.from_unit(min(u, v)), axis.from_unit(max(u, v))
    assert float(low) <= float(high)


FINITE = st.lists(
    ranges().filter(lambda p: p.type == "int" or bool(p.step)) | LISTS, min_size=1, max_size=4
).map(
    lambda found: SearchSpace(
        tuple(
            Parameter(
                name=f"p{i}",
                type=p.type,
                min=p.min,
                max=p.max,
                step=p.step,
                list=p.list,
                distribution=p.distribution,
            )
            for i, p in enumerate(found)
        )
    )
)


@settings(max_examples=50)
@given(FINITE, st.data())
def test_point_at_and_index_of_undo_each_other(space: SearchSpace, data: st.DataObject) -> None:
    cardinality = space.cardinality()
    assert cardinality is not None
    index = data.draw(st.integers(0, cardinality - 1))
    point = space.point_at(index)
    assert space.index_of(point) == index
    assert space.point(space.assignments(point)) == point
