"""Success and failure conditions: whether a text is a GJSON path.

The library that evaluates paths takes every text and finds nothing at a wrong one, so a trial
would never be done. Syntax: https://github.com/tidwall/gjson/blob/master/SYNTAX.md. Refused is what
cannot mean what its writer meant: unbalanced brackets and quotes, queries without a value,
modifiers that do not exist, empty parts; and what that library does not know or does not bear.
"""

import json
import re
from collections.abc import Iterator

from trialbus.contracts.katib.models import MAX_VALUE_CHARS, TrialTemplate
from trialbus.contracts.katib.shape import did_you_mean
from trialbus.kernel.errors import Problem
from trialbus.kernel.job_templates import TEMPLATE_FIELD

MODIFIERS = (
    "dig", "flatten", "fromstr", "group", "join", "keys", "pretty", "reverse", "this", "tostr",
    "ugly", "valid", "values",
)  # fmt: skip
# Known to Go's library, but the one here finds nothing with them: the trial would fail unjudged.
_NOT_HERE = frozenset({"dig", "fromstr", "group", "keys", "tostr", "values"})
_MAX_DEPTH = 16
# Of one key or pattern: looking for it costs the length of the text to the power of their number.
_MAX_STARS = 3
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SELECTOR_NAME = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[\w-]+):')
_MODIFIER = re.compile(r"@(\w*)")
_OPERATOR = re.compile(r"!=|!%|<=|>=|==|[<>=%]")
_BARE_VALUE = re.compile(r'[^"()\[\]]+')
_LITERALS = json.JSONDecoder()


def condition_problems(template: TrialTemplate) -> Iterator[Problem]:
    """Of `successCondition` and `failureCondition`, where they are given."""
    conditions = {
        "successCondition": template.success_condition,
        "failureCondition": template.failure_condition,
    }
    for name, text in conditions.items():
        wrong = path_problem(text) if text else None
        if wrong is not None:
            message = f"is no GJSON path: {wrong}"
            yield Problem(field=f"{TEMPLATE_FIELD}.{name}", message=message)


def path_problem(text: str) -> str | None:
    """What is wrong with a GJSON path, in words; None: nothing."""
    if len(text) > MAX_VALUE_CHARS:
        return f"longer than {MAX_VALUE_CHARS} characters"
    # `..` at the start reads the document as lines of JSON.
    start = 2 if text.startswith("..") else 0
    try:
        _Reader(text).path(start, len(text), "", depth=0)
    except _Wrong as wrong:
        return str(wrong)
    return None


class _Wrong(ValueError):
    """The path is wrong, in these words."""


class _Reader:
    """Reads parts of `text`; each method takes where to begin and says where it ended."""

    def __init__(self, text: str) -> None:
        self._text = text

    def path(self, at: int, end: int, closing: str, depth: int) -> int:
        """Parts with `.` and `|` between them, up to `end` or a character of `closing`."""
        if depth > _MAX_DEPTH:
            raise _Wrong(f"brackets are nested deeper than {_MAX_DEPTH}")
        while True:
            at = self._part(at, end, closing, depth)
            if at >= end or self._text[at] in closing:
                return at
            if self._text[at] not in ".|":
                raise _Wrong(f". or | is expected before {self._rest(at)}")
            at += 1

    def _part(self, at: int, end: int, closing: str, depth: int) -> int:
        first = self._text[at : at + 1] if at < end else ""
        match first:
            case "" | "." | "|":
                raise _Wrong(f"a part is empty at position {at + 1}")
            case "@":
                return self._modifier(at, end, closing)
            case "!":
                raise _Wrong(f"{self._rest(at)}: a literal, !value, is not supported")
            case "[" | "{":
                return self._selectors(at, end, depth)
            case "#" if self._text.startswith("#[", at, end):
                raise _Wrong(f"{self._rest(at)}: a query is written #(name==value)")
            case "#" if self._text.startswith("#(", at, end):
                return self._query(at, end, depth)
            case _ if first in closing:
                raise _Wrong(f"a part is empty at position {at + 1}")
            case _:
                return self._key(at, end, closing)

    def _key(self, at: int, end: int, closing: str) -> int:
        begin = at
        while at < end and self._text[at] not in f".|{closing}":
            if self._text[at] == "\\":
                at += 1
            elif self._text[at] in '()[]{}"':
                raise _Wrong(
                    f"{self._rest(at)}: a bracket or quote belongs to a query, #(name==value), or "
                    "needs a backslash before it"
                )
            at += 1
        self._check_stars(begin, min(at, end))
        return min(at, end)

    def _modifier(self, at: int, end: int, closing: str) -> int:
        match = _MODIFIER.match(self._text, at, end)
        name = match[1] if match else ""
        if name not in MODIFIERS:
            hint = did_you_mean(name, MODIFIERS) or f"; modifiers: {', '.join(MODIFIERS)}"
            raise _Wrong(f"there is no modifier @{name}{hint}")
        if name in _NOT_HERE:
            raise _Wrong(f"the modifier @{name} is not supported")
        at += 1 + len(name)
        if self._text[at : at + 1] != ":" or at >= end:
            return at
        at += 1
        first = self._text[at : at + 1]
        if first in _CLOSING or first == '"':
            return self._json(at, end)
        while at < end and self._text[at] not in f".|{closing}":
            at += 1
        return at

    def _json(self, at: int, end: int) -> int:
        try:
            found: tuple[object, int] = _LITERALS.raw_decode(self._text[:end], at)
        except (ValueError, RecursionError):
            raise _Wrong(f"{self._rest(at)} is no JSON value") from None
        return found[1]

    def _selectors(self, at: int, end: int, depth: int) -> int:
        """`[path,path]` or `{"name":path,path}`."""
        close = _CLOSING[self._text[at]]
        named = close == "}"
        at += 1
        while True:
            name = _SELECTOR_NAME.match(self._text, at, end) if named else None
            at = self.path(name.end() if name else at, end, f",{close}", depth + 1)
            if at >= end:
                raise _Wrong(f"{close} is missing")
            if self._text[at] == close:
                return at + 1
            at += 1

    def _query(self, at: int, end: int, depth: int) -> int:
        """`#(path operator value)` and `#(...)#`, which finds all."""
        begin, at = at + 2, self._end_of_query(at + 1, end)
        operator = self._operator(begin, at)
        left = (begin, operator.start() if operator else at)
        start, stop = self._stripped(*left)
        if start < stop:
            self.path(start, stop, "", depth + 1)
        elif operator is None:
            raise _Wrong("a query is empty: #(name==value)")
        if operator is not None:
            self._value(*self._stripped(operator.end(), at))
        at += 1
        return at + 1 if at < end and self._text[at] == "#" else at

    def _end_of_query(self, at: int, end: int) -> int:
        """Where the bracket at `at` is closed."""
        open_, opened = [self._text[at]], at
        at += 1
        while at < end:
            character = self._text[at]
            if character == "\\":
                at += 1
            elif character == '"':
                at = self._end_of_quoted(at, end) - 1
            elif character in "([":
                open_.append(character)
            elif character in ")]":
                if _CLOSING[open_.pop()] != character:
                    raise _Wrong(f"{self._rest(at)}: another bracket is open")
                if not open_:
                    return at
            at += 1
        raise _Wrong(f"{_CLOSING[open_[-1]]} is missing after {self._rest(opened)}")

    def _end_of_quoted(self, at: int, end: int) -> int:
        match = _QUOTED.match(self._text, at, end)
        if match is None:
            raise _Wrong(f"a quote is missing after {self._rest(at)}")
        return match.end()

    def _operator(self, at: int, end: int) -> re.Match[str] | None:
        """The first comparison outside of quotes and inner brackets."""
        depth = 0
        while at < end:
            character = self._text[at]
            if character == "\\":
                at += 1
            elif character == '"':
                at = self._end_of_quoted(at, end) - 1
            elif character in "([":
                depth += 1
            elif character in ")]":
                depth -= 1
            elif depth == 0 and (match := _OPERATOR.match(self._text, at, end)):
                return match
            at += 1
        return None

    def _value(self, start: int, end: int) -> None:
        text = self._text[start:end]
        if not text:
            raise _Wrong("a query compares with nothing: #(name==value)")
        if not (_QUOTED.fullmatch(text) or _BARE_VALUE.fullmatch(text)):
            raise _Wrong(f"{text:.40} is no value: a text in quotes, a number, true or false")
        self._check_stars(start, end)

    def _check_stars(self, start: int, end: int) -> None:
        if self._text.count("*", start, end) > _MAX_STARS:
            raise _Wrong(f"{self._rest(start)}: more than {_MAX_STARS} of * in one pattern")

    def _stripped(self, start: int, end: int) -> tuple[int, int]:
        text = self._text[start:end]
        return start + len(text) - len(text.lstrip()), end - len(text) + len(text.rstrip())

    def _rest(self, at: int) -> str:
        return f"{self._text[at : at + 40]!r}"
