"""A parameter in Katib's fields, as the user wrote them, and every problem in them.

Katib's webhook checks only that fields are present; the rest fails there at the first trial, or
never.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from trialbus.kernel.axes import EXACT
from trialbus.kernel.distributions import DistributionKind

PARAMETER_TYPES = ("double", "int", "discrete", "categorical")
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
# Katib's integers are Go's int; a trial's own program would overflow beyond.
MAX_INTEGER = 2**63 - 1
# Halves, widths and logarithms of such numbers neither overflow nor vanish.
MAX_MAGNITUDE = 1e300
MIN_LOG_BOUND = Decimal("1e-300")
# More steps than a double can count: neighbours would be the same number.
MAX_STEPS = 2**53

Found = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One search parameter in Katib's words: all values are texts, kept as written; "": absent."""

    name: str
    type: str
    min: str = ""
    max: str = ""
    step: str = ""
    list: tuple[str, ...] = ()
    distribution: str = "uniform"


def is_number(text: str) -> bool:
    """A decimal number up to 1e300; no underscores, blanks, nan or inf."""
    return NUMBER.fullmatch(text) is not None and abs(float(text)) <= MAX_MAGNITUDE


def is_integer(text: str) -> bool:
    return INTEGER.fullmatch(text) is not None and len(text) <= 20 and abs(int(text)) <= MAX_INTEGER


def problems(parameter: Parameter) -> tuple[Found, ...]:
    """Everything that is wrong with one parameter: (field below the parameter, message)."""
    return tuple(_problems(parameter))


def problems_of(parameters: Sequence[Parameter]) -> tuple[Found, ...]:
    """The problems of all, and names used twice: (`[i].field`, message)."""
    found = [
        (f"[{i}].{suffix}", message)
        for i, parameter in enumerate(parameters)
        for suffix, message in problems(parameter)
    ]
    first: dict[str, int] = {}
    for i, parameter in enumerate(parameters):
        if first.setdefault(parameter.name, i) != i:
            found.append((f"[{i}].name", f"the name {parameter.name} is already used"))
    return tuple(found)


def _problems(parameter: Parameter) -> Iterator[Found]:
    if not parameter.name:
        yield "name", "must not be empty"
    if parameter.type in {"double", "int"}:
        yield from _range_problems(parameter)
    elif parameter.type in {"discrete", "categorical"}:
        yield from _list_problems(parameter)
    else:
        yield "parameterType", f"must be one of {', '.join(PARAMETER_TYPES)}"
    if not _is_distribution(parameter.distribution):
        names = ", ".join(kind.value for kind in DistributionKind)
        yield "feasibleSpace.distribution", f"must be one of {names}"


def _is_distribution(name: str) -> bool:
    try:
        DistributionKind.named(name)
    except ValueError:
        return False
    return True


def _list_problems(parameter: Parameter) -> Iterator[Found]:
    if not parameter.list:
        yield "feasibleSpace.list", f"must not be empty for parameterType: {parameter.type}"
    for text in _repeated(parameter.list):
        yield "feasibleSpace.list", f"{text} is listed more than once"
    for field in ("min", "max", "step"):
        if getattr(parameter, field):
            message = f"is not supported for parameterType: {parameter.type}"
            yield f"feasibleSpace.{field}", message


def _repeated(texts: Iterable[str]) -> list[str]:
    return [text for text, times in Counter(texts).items() if times > 1]


def _range_problems(parameter: Parameter) -> Iterator[Found]:
    if parameter.list:
        yield "feasibleSpace.list", f"is not supported for parameterType: {parameter.type}"
    unreadable = list(_unreadable(parameter))
    yield from unreadable
    if unreadable:
        return
    low, high = Decimal(parameter.min), Decimal(parameter.max)
    if low > high:
        yield "feasibleSpace.min", f"{parameter.min} is greater than max {parameter.max}"
        return
    yield from _step_problems(parameter, EXACT.subtract(high, low))
    if low < MIN_LOG_BOUND and parameter.distribution in {"logUniform", "logNormal"}:
        yield "feasibleSpace.min", f"must be above 0 for the distribution {parameter.distribution}"


def _unreadable(parameter: Parameter) -> Iterator[Found]:
    readable = is_integer if parameter.type == "int" else is_number
    kind = "an integer of 64 bits" if parameter.type == "int" else "a finite number"
    for field in ("min", "max", "step"):
        text = getattr(parameter, field)
        if not text and field != "step":
            yield f"feasibleSpace.{field}", f"must be given for parameterType: {parameter.type}"
        elif text and not readable(text):
            yield f"feasibleSpace.{field}", f"{text} is not {kind}"


def _step_problems(parameter: Parameter, width: Decimal) -> Iterator[Found]:
    if not parameter.step:
        return
    step = Decimal(parameter.step)
    if step <= 0:
        yield "feasibleSpace.step", f"must be above 0, not {parameter.step}"
    elif step > width > 0:
        yield "feasibleSpace.step", f"{parameter.step} is wider than the range from min to max"
    elif parameter.type == "double" and width / step > MAX_STEPS:
        yield "feasibleSpace.step", f"{parameter.step} is too small for the range from min to max"
