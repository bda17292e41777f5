"""The search space: parameters as the user wrote them, points, and the unit cube behind them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import starmap

from trialbus.kernel.axes import Axis, Choices, Grid, Interval, Value
from trialbus.kernel.distributions import DistributionKind
from trialbus.kernel.space_rules import Parameter, is_number, problems_of

__all__ = ["Parameter", "Point", "SearchSpace", "Value", "axis_of", "typed"]

Point = tuple[Value, ...]


def axis_of(parameter: Parameter) -> Axis:
    """The axis of one valid parameter. Discrete and categorical ones ignore `distribution`."""
    kind = DistributionKind.named(parameter.distribution)
    match parameter.type:
        case "double" if not parameter.step:
            return Interval.of(kind, float(parameter.min), float(parameter.max))
        case "double" | "int":
            low, high = Decimal(parameter.min), Decimal(parameter.max)
            step = Decimal(parameter.step or "1")
            return Grid.of(kind, low, high, step, is_integer=parameter.type == "int")
        case "discrete":
            return Choices.of(parameter.list, ordered=all(map(is_number, parameter.list)))
        case _:
            return Choices.of(parameter.list, ordered=False)


def typed(parameter: Parameter, text: str) -> float | int | str:
    """An assigned value as what its parameter's type says, for programs."""
    match parameter.type:
        case "double":
            return float(text)
        case "int":
            return int(text)
        case "discrete" if is_number(text):
            return int(text) if text.lstrip("+-").isdigit() else float(text)
        case _:
            return text


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """Valid parameters. A point is a tuple of values in their order.

    The laws: a point made here lies within bounds and on the step grid; `point(assignments(p))`
    is p; in a finite space `point_at` maps 0..cardinality-1 one to one, `index_of` is its inverse.
    """

    parameters: tuple[Parameter, ...]
    axes: tuple[Axis, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if problems := problems_of(self.parameters):
            raise ValueError("; ".join(starmap("{}: {}".format, problems)))
        object.__setattr__(self, "axes", tuple(map(axis_of, self.parameters)))

    def from_unit(self, cube: Sequence[float]) -> Point:
        """The point at `cube` in [0, 1]^n; uniform cubes give points by their distributions."""
        return tuple(axis.from_unit(u) for axis, u in zip(self.axes, cube, strict=True))

    def to_unit(self, point: Point) -> tuple[float, ...]:
        return tuple(axis.to_unit(v) for axis, v in zip(self.axes, point, strict=True))

    def cardinality(self) -> int | None:
        """How many points there are; None: a continuum."""
        sizes = [axis.size for axis in self.axes]
        known = [size for size in sizes if size is not None]
        return math.prod(known) if len(known) == len(sizes) else None

    def point_at(self, index: int) -> Point:
        """The `index`-th point of a finite space; the last parameter turns fastest."""
        values: list[Value] = []
        for axis in reversed(self.axes):
            index, digit = divmod(index, axis.size or 1)
            values.append(axis.value_at(digit))
        return tuple(reversed(values))

    def index_of(self, point: Point) -> int:
        """The inverse of `point_at`."""
        index = 0
        for axis, value in zip(self.axes, point, strict=True):
            index = index * (axis.size or 1) + axis.index_of(value)
        return index

    def key(self, point: Point) -> tuple[str, ...]:
        """The texts that a trial is given: the shortest that read back as the same values. Equal
        for points that a trial cannot tell apart."""
        return tuple(axis.text(v) for axis, v in zip(self.axes, point, strict=True))

    def parse(self, texts: Sequence[str]) -> Point:
        """The inverse of `key`. ValueError: a text is not a value of its parameter."""
        return tuple(axis.parse(text) for axis, text in zip(self.axes, texts, strict=True))

    def assignments(self, point: Point) -> dict[str, str]:
        """The texts of `key` by name."""
        return dict(zip((p.name for p in self.parameters), self.key(point), strict=True))

    def point(self, assignments: Mapping[str, str]) -> Point:
        """The inverse of `assignments`. ValueError: a name is missing or a value is outside."""
        missing = [p.name for p in self.parameters if p.name not in assignments]
        if missing:
            raise ValueError(f"no value for {', '.join(missing)}")
        return self.parse([assignments[p.name] for p in self.parameters])
