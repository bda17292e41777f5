"""Values of metrics that are no numbers, such as the genotype that a DARTS trial ends with.

Katib takes any text as a value. Here it must say something, and it is bounded: whoever reads it
later keeps it whole in memory and shows it in a line.
"""

from trialbus.kernel.limits import MAX_TEXT_CHARS

# What programs write where they have no value.
_NO_VALUES = frozenset(
    {"n/a", "na", "nan", "inf", "infinity", "none", "null", "undefined", "unavailable"}
)
_MARKS = " ,;:.!?()[]{}<>'\"%"


def metric_text(written: str) -> str:
    """What is kept of a value that is no number; "": it is no value at all.

    A text has a letter. What begins as numbers do is none: `0.5%`, `1_000` and `--1` are numbers
    that went wrong, and must not win over right ones. It is one printable line; of a longer one
    than `MAX_TEXT_CHARS` the beginning is kept, and how long it was.
    """
    text = _printable(written).strip()
    if not text or text[0] in "+-.," or text[0].isnumeric():
        return ""
    if not any(map(str.isalpha, text[:MAX_TEXT_CHARS])) or _says_nothing(text):
        return ""
    if len(text) <= MAX_TEXT_CHARS:
        return text
    return f"{text[:MAX_TEXT_CHARS]}... (cut: {len(text)} characters)"


def _printable(text: str) -> str:
    """Without colours and line ends, and without lone halves of surrogate pairs, which JSON can
    write and UTF-8 cannot."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " for char in text)


def _says_nothing(text: str) -> bool:
    return text[:MAX_TEXT_CHARS].strip(_MARKS).casefold() in _NO_VALUES
