"""Go's regular expressions, which metric filters are written in.

Go's engine and RE2 share syntax and meaning (the leftmost match, the first alternative), and both
take time linear in the text. Here is what RE2's own Python names do not tell: which groups lie
within no other, and the one escape that RE2 has and Go has not.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import re2  # type: ignore[import-untyped]

# Of a valid expression, what may hold a parenthesis that is none, and the parentheses.
_PIECE = re.compile(
    r"\\Q.*?(?:\\E|$)"
    r"|(?P<byte>\\C)"
    r"|\\."
    r"|\[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\]"
    r"|\(\?[imsU-]+\)"
    r"|(?P<open>\((?!\?)|\(\?P?<)"
    r"|(?P<group>\()"
    r"|(?P<close>\))",
    re.DOTALL,
)
# Where RE2's words say less than a user of other engines needs.
_CLEARER = {
    "invalid perl operator": "Go's expressions have no such group",
    "invalid escape sequence": "Go's expressions have no such escape",
    "bad repetition operator": "invalid nested repetition operator",
}


class GoRegexpError(ValueError):
    """The expression is wrong, or asks for what Go's expressions do not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoRegexp:
    """A Go expression made ready: `compiled` by RE2, and the numbers of the groups that lie within
    no other, in order."""

    compiled: Any
    top_groups: tuple[int, ...]

    def matches(self, text: str) -> Iterator[Any]:
        """All matches that do not overlap, as Go's `FindAllStringSubmatch` gives them."""
        found: Iterator[Any] = self.compiled.finditer(text)
        return found


def compile_go_regexp(source: str) -> GoRegexp:
    """Raises `GoRegexpError`. Classes like `\\w` are ASCII, as in Go."""
    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(source, options)
    except UnicodeEncodeError as exc:
        raise GoRegexpError("invalid UTF-8") from exc
    except re2.error as exc:
        raise GoRegexpError(_message(exc)) from exc
    return GoRegexp(compiled=compiled, top_groups=_top_groups(source))


def _message(error: Exception) -> str:
    said = error.args[0] if error.args else ""
    text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
    kind, _, where = text.partition(":")
    return f"{_CLEARER.get(kind, kind)}{':' if where else ''}{where}"


def _top_groups(source: str) -> tuple[int, ...]:
    """source: valid."""
    number = 0
    top = []
    captures: list[bool] = []
    for piece in _PIECE.finditer(source):
        if piece["byte"]:
            raise GoRegexpError("Go's expressions have no such escape: \\C")
        if piece["open"]:
            number += 1
            if not any(captures):
                top.append(number)
            captures.append(True)
        elif piece["group"]:
            captures.append(False)
        elif piece["close"]:
            captures.pop()
    return tuple(top)
