"""The values of one parameter as an axis: an interval, a grid or a list of choices."""

import math
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Protocol

from trialbus.kernel.distributions import DistributionKind, Truncated

Value = float | int | str

# Wide enough that min + k * step is exact for every double and every 64-bit integer in use.
EXACT = Context(prec=60)


class Axis(Protocol):
    """The law: `from_unit(to_unit(v)) == v` for every value of a finite axis."""

    @property
    def size(self) -> int | None:
        """How many values there are; None: a continuum."""

    @property
    def is_numeric(self) -> bool:
        """Whether neighbours on the axis are alike, so that a distance means something."""

    def from_unit(self, u: float) -> Value:
        """The value at share `u` in [0, 1] of the probability."""

    def to_unit(self, value: Value) -> float:
        """The middle of the value's share of the unit interval."""

    def value_at(self, index: int) -> Value:
        """The `index`-th of a finite axis, from 0."""

    def index_of(self, value: Value) -> int:
        """The inverse of `value_at`."""

    def text(self, value: Value) -> str:
        """What a trial is given."""

    def parse(self, text: str) -> Value:
        """The inverse of `text`. ValueError: not a value of this axis."""


def _outside(text: object) -> ValueError:
    return ValueError(f"{text!r} is not a value of this parameter")


@dataclass(frozen=True, slots=True)
class Interval:
    """Every double in [low, high]; a single one if they are equal."""

    distribution: Truncated

    @classmethod
    def of(cls, kind: DistributionKind, low: float, high: float) -> "Interval":
        return cls(Truncated.over(kind, low, high, (low, high)))

    @property
    def size(self) -> int | None:
        return 1 if self.distribution.low == self.distribution.high else None

    @property
    def is_numeric(self) -> bool:
        return True

    def from_unit(self, u: float) -> float:
        return self.distribution.quantile(u)

    def to_unit(self, value: Value) -> float:
        return self.distribution.share_below(float(value))

    def value_at(self, index: int) -> float:  # noqa: ARG002
        return self.distribution.low

    def index_of(self, value: Value) -> int:  # noqa: ARG002
        return 0

    def text(self, value: Value) -> str:
        return repr(value)

    def parse(self, text: str) -> float:
        value = float(text)
        if not self.distribution.low <= value <= self.distribution.high:
            raise _outside(text)
        return value


@dataclass(frozen=True, slots=True)
class Grid:
    """low + k * step for k in 0..count-1, exact as decimals, so 0.1 + 0.2 shows as 0.3.

    Each value owns the stretch of half a step to both sides: uniform makes them equally likely.
    """

    low: Decimal
    step: Decimal
    count: int
    is_integer: bool
    distribution: Truncated
    is_uniform: bool

    @classmethod
    def of(
        cls, kind: DistributionKind, low: Decimal, high: Decimal, step: Decimal, is_integer: bool
    ) -> "Grid":
        count = int(EXACT.divide_int(EXACT.subtract(high, low), step)) + 1
        last = EXACT.fma(step, count - 1, low)
        half = EXACT.divide(step, Decimal(2))
        start, end = float(EXACT.subtract(low, half)), float(EXACT.add(last, half))
        if kind.is_log:
            # Half a step below the first value may reach 0: no lower than half the first value.
            start = max(start, float(low) / 2)
        distribution = Truncated.over(kind, float(low), float(high), (start, end))
        return cls(low, step, count, is_integer, distribution, kind is DistributionKind.UNIFORM)

    @property
    def size(self) -> int | None:
        return self.count

    @property
    def is_numeric(self) -> bool:
        return True

    def from_unit(self, u: float) -> Value:
        if self.is_uniform:
            index = int(u * self.count)
        else:
            offset = self.distribution.quantile(u) - float(self.low)
            index = math.floor(offset / float(self.step) + 0.5)
        return self.value_at(min(max(index, 0), self.count - 1))

    def to_unit(self, value: Value) -> float:
        index = self.index_of(value)
        if self.is_uniform:
            return (index + 0.5) / self.count
        middle, half = float(value), float(self.step) / 2
        start = max(middle - half, self.distribution.low)
        end = min(middle + half, self.distribution.high)
        return self.distribution.share_below(start) / 2 + self.distribution.share_below(end) / 2

    def value_at(self, index: int) -> Value:
        exact = EXACT.fma(self.step, index, self.low)
        # Adding 0.0 turns a negative zero into zero.
        return int(exact) if self.is_integer else float(exact) + 0.0

    def index_of(self, value: Value) -> int:
        offset = EXACT.subtract(Decimal(repr(value)), self.low)
        return int(EXACT.divide(offset, self.step).to_integral_value())

    def text(self, value: Value) -> str:
        return repr(value)

    def parse(self, text: str) -> Value:
        value = int(text) if self.is_integer else float(text)
        # Not of integers: past 2^53 the bounds as doubles are other numbers.
        if not self.is_integer and not float(self.low) <= value <= self.distribution.high:
            raise _outside(text)
        index = self.index_of(value)
        if not 0 <= index < self.count or self.value_at(index) != value:
            raise _outside(text)
        return value


@dataclass(frozen=True, slots=True)
class Choices:
    """Listed texts, all equally likely (as in Katib), passed on as they were written.

    Numbers are put in their order, so that a model may use that 16 lies between 8 and 32.
    """

    texts: tuple[str, ...]
    is_numeric: bool
    positions: dict[str, int]

    @classmethod
    def of(cls, texts: tuple[str, ...], *, ordered: bool) -> "Choices":
        in_order = tuple(sorted(texts, key=float)) if ordered else texts
        return cls(in_order, ordered, {text: i for i, text in enumerate(in_order)})

    @property
    def size(self) -> int | None:
        return len(self.texts)

    def from_unit(self, u: float) -> str:
        return self.texts[min(int(u * len(self.texts)), len(self.texts) - 1)]

    def to_unit(self, value: Value) -> float:
        return (self.index_of(value) + 0.5) / len(self.texts)

    def value_at(self, index: int) -> str:
        return self.texts[index]

    def index_of(self, value: Value) -> int:
        return self.positions[str(value)]

    def text(self, value: Value) -> str:
        return str(value)

    def parse(self, text: str) -> str:
        if text not in self.positions:
            raise _outside(text)
        return text
