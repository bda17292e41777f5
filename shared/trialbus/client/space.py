"""Search spaces as Python says them, and as an Experiment does.

A space maps names to `uniform`, `log`, `integer` or `choice`; a list is a choice.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Numbers from low to high, both included. step: 0 for none."""

    low: float
    high: float
    step: float = 0.0
    log: bool = False
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some values, of any type; numbers are known to be ordered."""

    values: tuple[Any, ...]


Parameter = Range | Choice
Space = Mapping[str, Parameter | Sequence[Any]]


def uniform(low: float, high: float, *, step: float | None = None) -> Range:
    """A float between low and high; step: on a grid that begins at low. Raises ValueError."""
    return _checked(Range(low=float(low), high=float(high), step=float(step or 0.0)))


def log(low: float, high: float) -> Range:
    """A float whose logarithm is uniform: learning rates, weights of penalties. low is above 0.
    Raises ValueError."""
    return _checked(Range(low=float(low), high=float(high), log=True))


def integer(low: int, high: int, *, step: int = 1, log: bool = False) -> Range:
    """A whole number from low to high, both included. log: its logarithm is uniform. Raises
    ValueError."""
    if any(int(it) != it for it in (low, high, step)):
        raise ValueError(f"integer({low}, {high}, step={step}): whole numbers only")
    return _checked(Range(low=low, high=high, step=step, log=log, whole=True))


def choice(values: Sequence[Any]) -> Choice:
    """One of the values. Raises ValueError for none, or the same twice."""
    if isinstance(values, str) or not values:
        raise ValueError(f"choice({values!r}): a list with at least one value")
    texts = [_text(value) for value in values]
    if len(set(texts)) != len(texts):
        raise ValueError(f"choice({values!r}): the same value twice")
    return Choice(tuple(values))


class Described:
    """A whole space. Raises ValueError, TypeError for what is none."""

    def __init__(self, space: Space) -> None:
        if not space:
            raise ValueError("the space has no parameters")
        self._parameters: dict[str, Parameter] = {
            str(name): _parameter(name, each) for name, each in space.items()
        }

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._parameters)

    def as_katib(self) -> list[Json]:
        """`spec.parameters` of an Experiment."""
        return [
            {"name": name, "parameterType": _kind(each), "feasibleSpace": _feasible(each)}
            for name, each in self._parameters.items()
        ]

    def values(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """What a trial was given, as the space's own objects."""
        return {
            name: _own(each, parameters[name])
            for name, each in self._parameters.items()
            if name in parameters
        }


def _checked(found: Range) -> Range:
    if not (math.isfinite(found.low) and math.isfinite(found.high) and found.low <= found.high):
        raise ValueError(f"{found.low} to {found.high}: finite numbers, the smaller one first")
    if found.log and found.low <= 0:
        raise ValueError(f"{found.low} to {found.high}: a logarithm needs numbers above 0")
    if found.step < 0 or (found.whole and found.step < 1):
        raise ValueError(f"a step of {found.step}: must be above 0")
    return found


def _parameter(name: str, each: Parameter | Sequence[Any]) -> Parameter:
    if isinstance(each, Range | Choice):
        return each
    if isinstance(each, Sequence) and not isinstance(each, str | bytes):
        return choice(each)
    raise TypeError(f"{name}: {each!r} is neither a list nor uniform, log, integer or choice")


def _kind(each: Parameter) -> str:
    if isinstance(each, Range):
        return "int" if each.whole else "double"
    return "discrete" if all(map(_is_number, each.values)) else "categorical"


def _feasible(each: Parameter) -> Json:
    if isinstance(each, Choice):
        return {"list": [_text(value) for value in each.values]}
    write = (lambda number: repr(int(number))) if each.whole else repr
    found = {"min": write(each.low), "max": write(each.high)}
    if each.step and not (each.whole and each.step == 1):
        found["step"] = write(each.step)
    if each.log:
        found["distribution"] = "logUniform"
    return found


def _own(each: Parameter, value: Any) -> Any:
    """Of a choice the very object: a text may stand for a tuple, a class or None."""
    if isinstance(each, Range):
        return int(value) if each.whole else float(value)
    for known in each.values:
        if _text(known) == value or (_is_number(known) and known == value):
            return known
    return value


def _is_number(value: Any) -> bool:
    """NaN and the like are only names of themselves."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)
