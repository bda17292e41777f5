"""Rules may be anybody's code: what one raises ends its own judging, and nothing else."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

from trialbus.kernel.limits import MAX_MESSAGE_CHARS
from trialbus_early_stopping.core.evidence import Verdict
from trialbus_early_stopping.core.rule import ComparingRule, StoppingRule

# Ends, by raising TookTooLong, what computes in it for too long.
TimeLimit = Callable[[], AbstractContextManager[None]]


class RuleFailed(Exception):
    """The rule raised, took too long, or gave no verdict: what it said."""


class TookTooLong(BaseException):
    """Not to be caught by a rule's own `except Exception`."""


def no_limit() -> AbstractContextManager[None]:
    return nullcontext()


@contextmanager
def guarded(limit: TimeLimit) -> Iterator[None]:
    """Around every call of a rule."""
    try:
        with limit():
            yield
    except (Exception, SystemExit, TookTooLong) as error:
        raise RuleFailed(_said(error)) from error


def check_rule(rule: StoppingRule) -> StoppingRule:
    """Raises TypeError."""
    if not isinstance(rule, StoppingRule):
        raise TypeError(f"its factory gave {type(rule).__name__}, not a StoppingRule")
    return rule


def check_watermark(rule: ComparingRule, finished: int) -> None:
    """That it has moved on, else it would be told the same trials for ever. Raises ValueError."""
    if rule.watermark != finished:
        message = f"stays at finish number {rule.watermark}, although it was told {finished}"
        raise ValueError(message)


def check_verdict(verdict: Verdict) -> Verdict:
    """That it can be stored. Raises TypeError, ValueError."""
    if not isinstance(verdict, Verdict):
        raise TypeError(f"gave {type(verdict).__name__}, not a Verdict")
    if not isinstance(verdict.reason, str) or len(verdict.reason) > MAX_MESSAGE_CHARS:
        raise ValueError(f"the reason is no text of at most {MAX_MESSAGE_CHARS} characters")
    _check_storable(verdict.reason)
    seen = verdict.evidence
    _check_number("best", seen.best)
    if seen.median is not None:
        _check_number("median", seen.median)
    _check_numbers(seen.numbers)
    return verdict


def _check_numbers(numbers: Mapping[str, float]) -> None:
    for name, number in numbers.items():
        if not isinstance(name, str) or not name or set(name) & {".", "$", "\0"}:
            raise ValueError(f"not the name of a number: {name!r:.100}")
        _check_storable(name)
        _check_number(name, number)


def _check_storable(text: str) -> None:
    """Raises UnicodeEncodeError at half a surrogate pair."""
    text.encode()


def _check_number(name: str, number: object) -> None:
    if not isinstance(number, int | float):
        raise TypeError(f"{name} is no number: {number!r:.100}")


def _said(error: BaseException) -> str:
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - an error of its own kind may fail even here
        message = "(no message)"
    kind = "" if isinstance(error, TookTooLong) else type(error).__name__
    said = ": ".join(filter(None, (kind, message)))[:MAX_MESSAGE_CHARS]
    # Half a surrogate pair cannot be stored.
    return said.encode(errors="replace").decode()
