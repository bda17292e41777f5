"""What CMA-ES writes to its points, so that a restored instance knows how they came about."""

from collections.abc import Iterable

from trialbus.kernel.suggestion import Mark

GENERATION = "trialbus.io/generation"
RESTART = "trialbus.io/restart"
DRAWN = "trialbus.io/drawn"
AT_RANDOM = "at-random"
PASSED_OVER = "trialbus.io/passed-over"
# Kubernetes takes no longer values of labels.
MAX_VALUE_CHARS = 63
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def marked(
    *, generation: int, restart: int = 0, passed_over: str = "", at_random: bool = False
) -> Mark:
    """generation: updates of the distribution before the point was drawn; restart: runs before the
    present one; passed_over: see `distances`; at_random: not drawn from the distribution."""
    labels = [(GENERATION, str(generation))]
    if restart:
        labels.append((RESTART, str(restart)))
    if passed_over:
        labels.append((PASSED_OVER, passed_over))
    if at_random:
        labels.append((DRAWN, AT_RANDOM))
    return Mark(labels=tuple(labels))


def generation_of(mark: Mark) -> int | None:
    """None: the point is not of this algorithm's making."""
    text = mark.label(GENERATION)
    return None if text is None else int(text)


def is_random(mark: Mark) -> bool:
    return mark.label(DRAWN) == AT_RANDOM


def passed_over_by(mark: Mark, index: int) -> frozenset[int]:
    """The running trials that the update just before point `index` did not wait for."""
    text = mark.label(PASSED_OVER) or ""
    return frozenset(index - int(distance, 36) for distance in text.split(".") if distance)


def distances(indexes: Iterable[int], index: int) -> str | None:
    """How far back from point `index` they are, to base 36; None: too many for a label."""
    text = ".".join(_base_36(index - each) for each in indexes)
    return text if len(text) <= MAX_VALUE_CHARS else None


def _base_36(number: int) -> str:
    digits = ""
    while number or not digits:
        number, digit = divmod(number, len(DIGITS))
        digits = DIGITS[digit] + digits
    return digits
